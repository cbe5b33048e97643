#include "server/credit_host.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstdio>
#include <deque>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "ledger/record.h"

namespace weir::server {
namespace {

using gateway::JournalPosition;
using SteadyTime = std::chrono::steady_clock::time_point;

// Records in a commit from which on requests count as coming faster than commits.
constexpr std::uint32_t kBusyBatch = 16;
// How often an operator's command looks whether it is on disk. Rare, so that nothing need tell it.
constexpr std::chrono::microseconds kDiskPoll{200};
// What a caller is told when the journal has no space.
constexpr Duration kUnavailableRetryAfter = Seconds(1);
// A destructor that found the disk full tries this often before it gives up.
constexpr int kLastAttempts = 10;
// A buffer that a burst made larger than this gives its memory back.
constexpr std::size_t kBufferBytesKept = 1 << 20;

std::chrono::nanoseconds Chrono(Duration duration) { return std::chrono::nanoseconds(duration.ns); }

Error Because(std::string_view what, Error error) {
  error.detail = std::string(what) + error.detail;
  return error;
}

}  // namespace

// Waiters are kept in the order of their positions, so that a batch wakes a prefix of them. `first`
// is the only part that another thread reads.
//
// Why no wake-up is lost: the worker first publishes `first`, then looks at the host's durable
// position; the journal thread first publishes the durable position, then looks at `first`. Both
// in sequentially consistent order, so at least one of them sees the other.
struct CreditPort::State {
  struct Waiter {
    JournalPosition position;
    std::coroutine_handle<> coroutine;
    bool* durable;
  };
  explicit State(WorkerMailbox& to) : mailbox(to) {}

  WorkerMailbox& mailbox;
  std::vector<Waiter> waiters;                   // by position; the worker's alone
  std::vector<Waiter> woken;                     // Resume's, kept for its memory
  std::atomic<std::uint64_t> first{UINT64_MAX};  // position of waiters.front()
  std::atomic<bool> notified{false};             // a NotifyDurable() is on its way
};

struct CreditHost::State {
  State(std::unique_ptr<store::Journal> to, Options with)
      : journal(std::move(to)),
        options(std::move(with)),
        machine({.keys_expected = options.keys_expected}) {}

  // What the journal thread is doing, as far as it matters to whoever has work for it.
  enum class Sleep : std::uint8_t { kBusy, kUntilDue, kUntilWork };

  const std::unique_ptr<store::Journal> journal;  // the journal thread's, once it runs
  const Options options;

  std::mutex mutex;  // everything down to `readings`
  std::condition_variable wake;
  gateway::CreditControl machine;
  ledger::RecordBuffer queue;     // appended by the machine, not yet taken by the journal thread
  std::uint64_t queue_first = 1;  // position of the first record in the queue
  bool urgent = false;            // the queue holds more than checkpoints
  SteadyTime later_due{};         // with has_due: when what is not urgent must be committed
  bool has_due = false;
  Sleep sleep = Sleep::kBusy;
  bool stopping = false;
  // Shared with who waits, and who may give up.
  struct Reading {
    std::uint64_t after = 0;
    std::size_t bytes_max = 0;
    std::promise<Result<store::JournalSlice>> slice;
  };
  std::deque<std::shared_ptr<Reading>> readings;

  std::atomic<std::uint64_t> durable{0};  // everything up to this position is on disk
  std::atomic<bool> available{true};      // the last append succeeded
  std::atomic<bool> admitting{true};      // false: the ballast is given up and not yet restored
  SteadyTime restore_at{};                // the journal thread's
  std::atomic<std::uint64_t> records{0};
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> failures{0};

  std::mutex ports_mutex;
  std::vector<CreditPort::State*> ports;

  std::thread thread;  // last: it uses all of the above

  // Under `mutex`, after the machine appended records that somebody will wait for. True when the
  // journal thread must be woken; while it works or waits out its interval it looks again by
  // itself, which is what keeps a busy gateway from paying for a wake-up with every request.
  bool NoteUrgent() {
    urgent = true;
    return std::exchange(sleep, Sleep::kBusy) != Sleep::kBusy;
  }

  // Something was queued that may wait `delay` for a commit that is due anyway. True: wake.
  bool NoteLater(Duration delay) {
    const SteadyTime due = std::chrono::steady_clock::now() + Chrono(delay);
    const bool earlier = !has_due || due < later_due;
    if (earlier) later_due = due;
    has_due = true;
    if (sleep == Sleep::kBusy || !earlier) return false;
    sleep = Sleep::kBusy;
    return true;
  }

  bool Wanted() const {
    return urgent || stopping ||
           (queue.count > 0 && has_due && std::chrono::steady_clock::now() >= later_due);
  }

  bool RestoreDue() const {
    return !admitting.load(std::memory_order_relaxed) &&
           std::chrono::steady_clock::now() >= restore_at;
  }

  gateway::GrantReply Give(const ledger::GrantRecord& grant) {
    gateway::GrantReply reply;
    bool wake_it = false;
    {
      const std::lock_guard lock(mutex);
      reply = machine.Give(grant, options.wall_now(), queue);
      if (queue.count > 0) wake_it = NoteUrgent();
    }
    if (wake_it) wake.notify_one();
    return reply;
  }

  // For threads that may wait: until `position` is on disk, or cannot be written.
  Result<void> AwaitDisk(JournalPosition position) {
    while (durable.load() < position.n) {
      if (!available.load()) {
        return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, "the journal has no space");
      }
      std::this_thread::sleep_for(kDiskPoll);
    }
    return {};
  }

  // Waits until there is something to do; false when there is nothing more to come.
  bool AwaitWork(std::unique_lock<std::mutex>& lock) {
    while (!Wanted() && !RestoreDue() && readings.empty()) {
      if (queue.count > 0 && has_due) {
        sleep = Sleep::kUntilDue;
        wake.wait_until(lock, later_due);
      } else if (!admitting.load(std::memory_order_relaxed)) {
        sleep = Sleep::kUntilDue;
        wake.wait_until(lock, restore_at);
      } else {
        sleep = Sleep::kUntilWork;
        wake.wait(lock);
      }
    }
    sleep = Sleep::kBusy;
    return queue.count > 0 || !stopping;
  }

  // Wakes the workers that wait for `position` or an earlier one; or every one that waits.
  void Notify(std::uint64_t position, bool everyone) {
    const std::lock_guard lock(ports_mutex);
    for (CreditPort::State* port : ports) {
      const std::uint64_t waiting = port->first.load();
      if (waiting == UINT64_MAX || (waiting > position && !everyone)) continue;
      if (!port->notified.exchange(true)) port->mailbox.NotifyDurable();
    }
  }

  // The journal has no space: gives up the ballast for it. False when there is none.
  bool GiveUpBallast() {
    if (!options.release_space || !admitting.load() || !options.release_space()) return false;
    // Before anything is written into what was gained: it is for requests that are open already.
    admitting.store(false);
    restore_at = std::chrono::steady_clock::now() + Chrono(options.restore_interval);
    return true;
  }

  void TryRestoreBallast() {
    if (options.restore_space()) {
      admitting.store(true);
    } else {
      restore_at = std::chrono::steady_clock::now() + Chrono(options.restore_interval);
    }
  }

  // Appends until it succeeds. False when it was told to stop and the disk stays full.
  bool AppendBatch(const ledger::RecordBuffer& batch, std::uint64_t first) {
    int last_attempts = 0;
    while (true) {
      const store::AppendOutcome outcome =
          journal->Append({.first_position = first, .count = batch.count, .records = batch.bytes});
      if (outcome == store::AppendOutcome::kBroken) {
        std::fprintf(stderr, "ledger journal: %s\n", journal->last_problem().c_str());
      }
      // What is on disk is unknown and a later success would hide the loss: only a start from the
      // disk is right (store/journal.h).
      CHECK(outcome != store::AppendOutcome::kBroken, "the journal must be what it says it is");
      if (outcome == store::AppendOutcome::kDurable) break;
      failures.fetch_add(1, std::memory_order_relaxed);
      if (GiveUpBallast()) continue;
      available.store(false);
      Notify(UINT64_MAX, true);  // all who wait learn that it cannot be written
      std::unique_lock lock(mutex);
      if (stopping && ++last_attempts > kLastAttempts) return false;
      wake.wait_for(lock, Chrono(options.retry_interval));
    }
    records.fetch_add(batch.count, std::memory_order_relaxed);
    commits.fetch_add(1, std::memory_order_relaxed);
    durable.store(first + batch.count - 1);
    available.store(true);
    Notify(first + batch.count - 1, false);
    return true;
  }

  // One slice for whoever waits longest. Gives the lock up for it.
  void ServeReading(std::unique_lock<std::mutex>& lock) {
    if (readings.empty()) return;
    const std::shared_ptr<Reading> reading = std::move(readings.front());
    readings.pop_front();
    lock.unlock();
    reading->slice.set_value(journal->ReadSome(reading->after, reading->bytes_max));
    lock.lock();
  }

  void RunJournal() {
    CommitUntilStopped();
    const std::lock_guard lock(mutex);
    for (const auto& reading : std::exchange(readings, {})) {
      reading->slice.set_value(
          Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, "the gateway stops"));
    }
  }

  void CommitUntilStopped() {
    ledger::RecordBuffer batch;
    SteadyTime begun{};
    std::unique_lock lock(mutex);
    while (AwaitWork(lock)) {
      if (RestoreDue()) {
        lock.unlock();
        TryRestoreBallast();
        lock.lock();
      }
      // Who reads waits for a commit that is due, and the next commit for one slice at most.
      if (!Wanted()) ServeReading(lock);
      if (!Wanted()) continue;
      if (queue.count == 0) continue;
      // A commit costs the same for one record as for a hundred: soon after the last one, wait for
      // more to come.
      const SteadyTime next =
          begun + Chrono(batch.count >= kBusyBatch ? options.busy_commit_interval
                                                   : options.commit_interval);
      while (!stopping && std::chrono::steady_clock::now() < next) wake.wait_until(lock, next);
      begun = std::chrono::steady_clock::now();
      batch.Clear();
      if (batch.bytes.capacity() > kBufferBytesKept) batch.bytes.shrink_to_fit();
      std::swap(batch, queue);
      const std::uint64_t first = std::exchange(queue_first, queue_first + batch.count);
      urgent = has_due = false;
      // Whatever was crossed has its record in this batch.
      auto alerts = machine.TakeAlerts();
      lock.unlock();
      if (!AppendBatch(batch, first)) return;
      if (!alerts.empty() && options.on_alerts) options.on_alerts(std::move(alerts));
      lock.lock();
      ServeReading(lock);
    }
  }
};

// ---- CreditPort ---------------------------------------------------------------------------------

CreditPort::CreditPort(CreditHost& host, WorkerMailbox& mailbox)
    : host_(host), state_(std::make_unique<State>(mailbox)) {
  const std::lock_guard lock(host_.state_->ports_mutex);
  host_.state_->ports.push_back(state_.get());
}

CreditPort::~CreditPort() {
  CHECK(state_->waiters.empty(), "a coroutine that waits here would never go on");
  const std::lock_guard lock(host_.state_->ports_mutex);
  std::erase(host_.state_->ports, state_.get());
}

gateway::AdmitReply CreditPort::Admit(const gateway::AdmitCommand& command) {
  CreditHost::State& host = *host_.state_;
  gateway::AdmitReply reply;
  bool wake = false;
  {
    const std::lock_guard lock(host.mutex);
    if (!host.available.load(std::memory_order_relaxed) ||
        !host.admitting.load(std::memory_order_relaxed) || host.stopping ||
        host.queue.bytes.size() > host.options.queue_bytes_max) {
      reply.refusal = Refusal::kLedgerUnavailable;
      reply.retry_after = kUnavailableRetryAfter;
      return reply;
    }
    reply = host.machine.Admit(command, host.options.wall_now(), host.queue);
    if (reply.refusal == Refusal::kNone) wake = host.NoteLater(host.options.intent_delay);
  }
  if (wake) host.wake.notify_one();
  return reply;
}

gateway::RateViews CreditPort::Peek(const KeyId& key, const config::KeyLimits& limits) {
  CreditHost::State& host = *host_.state_;
  const std::lock_guard lock(host.mutex);
  return host.machine.Peek(key, limits, host.options.wall_now());
}

gateway::SettleReply CreditPort::Settle(const gateway::SettleCommand& command) {
  CreditHost::State& host = *host_.state_;
  gateway::SettleReply reply;
  bool wake = false;
  {
    const std::lock_guard lock(host.mutex);
    reply = host.machine.Settle(command, host.options.wall_now(), host.queue);
    wake = host.NoteUrgent();
  }
  if (wake) host.wake.notify_one();
  return reply;
}

void CreditPort::Checkpoint(const gateway::CheckpointCommand& command) {
  CreditHost::State& host = *host_.state_;
  bool wake = false;
  {
    const std::lock_guard lock(host.mutex);
    // While nothing can be written checkpoints would only pile up; the settlement tells it all.
    if (!host.available.load(std::memory_order_relaxed)) return;
    host.machine.Checkpoint(command, host.options.wall_now(), host.queue);
    if (host.queue.count > 0) wake = host.NoteLater(host.options.checkpoint_delay);
  }
  if (wake) host.wake.notify_one();
}

gateway::ExtendReply CreditPort::Extend(const gateway::ExtendCommand& command) {
  CreditHost::State& host = *host_.state_;
  gateway::ExtendReply reply;
  bool wake = false;
  {
    const std::lock_guard lock(host.mutex);
    reply = host.machine.Extend(command, host.options.wall_now(), host.queue);
    // Nobody waits for it: what a crash loses of a hold is the operator's, never the customer's.
    if (reply.granted) wake = host.NoteLater(host.options.checkpoint_delay);
  }
  if (wake) host.wake.notify_one();
  return reply;
}

gateway::GrantReply CreditPort::Give(const ledger::GrantRecord& grant) {
  return host_.state_->Give(grant);
}

std::optional<gateway::WalletView> CreditPort::Wallet(const gateway::WalletId& id) {
  return host_.Wallet(id);
}

std::optional<gateway::KeyStanding> CreditPort::Standing(const KeyId& key) {
  return host_.Standing(key);
}

std::vector<gateway::QuotaStanding> CreditPort::Quotas(std::span<const policy::QuotaUse> uses) {
  return host_.Quotas(uses);
}

Task<bool> CreditPort::Durable(JournalPosition position) {
  CreditHost::State& host = *host_.state_;
  if (position.n <= host.durable.load()) co_return true;
  if (!host.available.load()) co_return false;
  {
    // Somebody waits: what is queued up to here is urgent now.
    std::unique_lock lock(host.mutex);
    const bool wake = position.n >= host.queue_first && host.NoteUrgent();
    lock.unlock();
    if (wake) host.wake.notify_one();
  }

  struct Wait {
    CreditPort& port;
    JournalPosition position;
    bool durable = false;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> coroutine) {
      State& state = *port.state_;
      const CreditHost::State& host = *port.host_.state_;
      // Behind all whose position is not later: who came first goes on first.
      const auto at =
          std::ranges::upper_bound(state.waiters, position, {}, &State::Waiter::position);
      state.waiters.insert(at, {position, coroutine, &durable});
      state.first.store(state.waiters.front().position.n);
      // Looked at again now that the journal thread can see us; see State.
      durable = position.n <= host.durable.load();
      if (!durable && host.available.load()) return true;
      std::erase_if(state.waiters,
                    [&](const State::Waiter& waiter) { return waiter.coroutine == coroutine; });
      state.first.store(state.waiters.empty() ? UINT64_MAX : state.waiters.front().position.n);
      return false;
    }
    bool await_resume() const noexcept { return durable; }
  };
  co_return co_await Wait{*this, position};
}

void CreditPort::Resume() {
  State& state = *state_;
  const CreditHost::State& host = *host_.state_;
  // Before the positions are read: a batch that ends from here on notifies anew.
  state.notified.store(false);
  const bool available = host.available.load();
  const std::uint64_t durable = host.durable.load();
  // Taken out before anyone is resumed, because whoever goes on may come back to wait.
  std::vector<State::Waiter> woken = std::move(state.woken);
  woken.clear();
  const auto end = available ? std::ranges::upper_bound(state.waiters, JournalPosition{durable}, {},
                                                        &State::Waiter::position)
                             : state.waiters.end();
  woken.assign(state.waiters.begin(), end);
  state.waiters.erase(state.waiters.begin(), end);
  state.first.store(state.waiters.empty() ? UINT64_MAX : state.waiters.front().position.n);
  for (const State::Waiter& waiter : woken) {
    *waiter.durable = waiter.position.n <= durable;
    waiter.coroutine.resume();
  }
  state.woken = std::move(woken);
}

// ---- CreditHost ---------------------------------------------------------------------------------

CreditHost::CreditHost(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<CreditHost>> CreditHost::Start(std::unique_ptr<store::Journal> journal,
                                                      Options options, CreditStart& start) {
  CHECK(options.wall_now != nullptr, "the host needs a wall clock");
  const SteadyTime begun = std::chrono::steady_clock::now();
  auto state = std::make_unique<State>(std::move(journal), std::move(options));
  start = {};
  const auto read =
      state->journal->ReadAll([&](const store::JournalBatch& batch) -> std::optional<std::string> {
        std::span<const std::uint8_t> bytes = batch.records;
        for (std::uint32_t i = 0; i < batch.count; ++i) {
          const auto record = ledger::Decode(bytes);
          if (!record) {
            return "record " + std::to_string(i + 1) + ": " + std::string(Name(record.error()));
          }
          if (auto problem = state->machine.Replay(*record)) return problem;
          ++start.records;
        }
        if (!bytes.empty()) return "bytes after the last record";
        return std::nullopt;
      });
  if (!read)
    return std::unexpected(Because("the ledger's journal cannot be replayed: ", read.error()));

  start.tail = state->journal->Tail();
  std::uint64_t first = state->machine.last_position().n + 1;
  start.resolution = state->machine.ResolveOpen(state->options.wall_now(), state->queue);
  if (state->queue.count > 0) {
    const store::JournalBatch batch{
        .first_position = first, .count = state->queue.count, .records = state->queue.bytes};
    store::AppendOutcome outcome = state->journal->Append(batch);
    if (outcome == store::AppendOutcome::kNoSpace && state->GiveUpBallast()) {
      outcome = state->journal->Append(batch);
    }
    if (outcome != store::AppendOutcome::kDurable) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  "the requests that were open at the crash cannot be resolved: " +
                      state->journal->last_problem());
    }
    first += state->queue.count;
    state->queue.Clear();
  }
  state->queue_first = first;
  state->durable.store(first - 1);
  start.totals = state->machine.Totals();
  start.alerts = state->machine.TakeAlerts();
  start.replay_time = {
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begun)
          .count()};
  auto* running = state.get();
  std::unique_ptr<CreditHost> host(new CreditHost(std::move(state)));
  running->thread = std::thread([running] { running->RunJournal(); });
  return host;
}

CreditHost::~CreditHost() {
  {
    const std::lock_guard lock(state_->ports_mutex);
    CHECK(state_->ports.empty(), "a CreditPort does not outlive its host");
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
}

Result<gateway::GrantReply> CreditHost::Give(const ledger::GrantRecord& grant) {
  const gateway::GrantReply reply = state_->Give(grant);
  if (auto written = state_->AwaitDisk(reply.position); !written) {
    return std::unexpected(written.error());
  }
  return reply;
}

Result<gateway::RevokeReply> CreditHost::Revoke(const gateway::GrantId& grant) {
  gateway::RevokeReply reply;
  bool wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    reply = state_->machine.Revoke(grant, state_->options.wall_now(), state_->queue);
    if (state_->queue.count > 0) wake = state_->NoteUrgent();
  }
  if (wake) state_->wake.notify_one();
  if (auto written = state_->AwaitDisk(reply.position); !written) {
    return std::unexpected(written.error());
  }
  return reply;
}

void CreditHost::Sweep() {
  bool wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->machine.Sweep(state_->options.wall_now(), state_->queue);
    if (state_->queue.count > 0) {
      wake = state_->NoteLater(state_->options.checkpoint_delay);
    }
  }
  if (wake) state_->wake.notify_one();
}

std::optional<gateway::WalletView> CreditHost::Wallet(const gateway::WalletId& id) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.ViewWallet(id, state_->options.wall_now());
}

std::optional<ledger::GrantRecord> CreditHost::FindGrant(const gateway::GrantId& id) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.wallets().Find(id);
}

std::vector<gateway::WalletEntry> CreditHost::Entries(const gateway::WalletId& id,
                                                      std::uint64_t before, std::size_t limit) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.wallets().Entries(id, before, limit);
}

std::optional<gateway::KeyStanding> CreditHost::Standing(const KeyId& key) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.Standing(key);
}

std::int64_t CreditHost::QuotaCounters() {
  const std::lock_guard lock(state_->mutex);
  return static_cast<std::int64_t>(state_->machine.quotas().size());
}

gateway::CreditTotals CreditHost::Totals() {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.Totals();
}

std::size_t CreditHost::RequestsOpen() {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.requests_open();
}

ledger::Amount CreditHost::Breakage(ledger::Unit unit) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.wallets().Breakage(unit);
}

Result<store::JournalSlice> CreditHost::ReadJournal(std::uint64_t after, std::size_t bytes_max) {
  const auto reading = std::make_shared<State::Reading>();
  reading->after = after;
  reading->bytes_max = bytes_max;
  auto slice = reading->slice.get_future();
  bool wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, "the gateway stops");
    }
    state_->readings.push_back(reading);
    wake = std::exchange(state_->sleep, State::Sleep::kBusy) != State::Sleep::kBusy;
  }
  if (wake) state_->wake.notify_one();
  if (slice.wait_for(Chrono(state_->options.read_deadline)) == std::future_status::ready) {
    return slice.get();
  }
  const std::lock_guard lock(state_->mutex);
  std::erase(state_->readings, reading);
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              "the journal's disk takes nothing; try again once it has space");
}

std::vector<gateway::QuotaStanding> CreditHost::Quotas(std::span<const policy::QuotaUse> uses) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.LookQuotas(uses, state_->options.wall_now());
}

Instant CreditHost::QuotaAvailableAt(const policy::Standing& standing, std::int64_t amount) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.QuotaAvailableAt(standing, amount, state_->options.wall_now());
}

std::int64_t CreditHost::UsualOutput(const KeyId& key, config::PriceId price) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.UsualOutputOf(key, price);
}

CreditHost::QuotaPage CreditHost::ListCounters(std::string_view policy, std::uint32_t from,
                                               std::size_t limit) {
  // Of a million counters none is looked for long under the lock that requests wait for.
  constexpr std::uint32_t kStep = 4096;
  const auto is_of = [policy](std::string_view id) {
    return policy.empty() || id == policy ||
           (id.size() > policy.size() && id.starts_with(policy) && id[policy.size()] == '/');
  };
  QuotaPage page;
  while (true) {
    const std::lock_guard lock(state_->mutex);
    const std::size_t numbers = state_->machine.quotas().numbers();
    for (std::uint32_t i = 0; i < kStep && from < numbers; ++i, ++from) {
      const auto view = state_->machine.ViewQuota(from);
      if (!view || !is_of(view->policy)) continue;
      if (page.counters.size() == limit) {
        page.next = from;
        return page;
      }
      QuotaCounter& counter =
          page.counters.emplace_back(std::string(view->policy), std::string(view->values), *view);
      counter.view.policy = counter.view.values = {};  // of the table, which is left
    }
    if (from >= numbers) return page;
  }
}

CreditHost::JournalCounters CreditHost::Counters() {
  return {.records = state_->records.load(std::memory_order_relaxed),
          .commits = state_->commits.load(std::memory_order_relaxed),
          .failures = state_->failures.load(std::memory_order_relaxed),
          .available = state_->available.load(std::memory_order_relaxed) &&
                       state_->admitting.load(std::memory_order_relaxed)};
}

}  // namespace weir::server
