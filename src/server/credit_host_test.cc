// The credit machine among threads: who is told "durable" and when, what a full and a broken disk
// do, and what a start finds. The journal is in memory and opened by hand where the order of events
// matters, so that nothing here waits for a clock.
#include "server/credit_host.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "ledger/record.h"
#include "store/sqlite_journal.h"

namespace weir::server {
namespace {

using gateway::JournalPosition;

constexpr Instant kNow{1'700'000'000'000'000'000};

// What lies on the disk: outlives the host that writes it.
struct Disk {
  struct Batch {
    std::uint64_t first;
    std::uint32_t count;
    std::vector<std::uint8_t> bytes;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Batch> batches;
  bool gate_open = true;  // Append waits while it is shut
  int waiting = 0;        // Appends that stand at the gate
  int refused = 0;
  store::AppendOutcome outcome = store::AppendOutcome::kDurable;

  void Open(bool open) {
    const std::lock_guard lock(mutex);
    gate_open = open;
    changed.notify_all();
  }
  void Answer(store::AppendOutcome with) {
    const std::lock_guard lock(mutex);
    outcome = with;
  }
  template <class Condition>
  void Await(Condition condition) {
    std::unique_lock lock(mutex);
    changed.wait(lock, condition);
  }
  std::uint64_t Last() {
    const std::lock_guard lock(mutex);
    return batches.empty() ? 0 : batches.back().first + batches.back().count - 1;
  }
};

class MemoryJournal final : public store::Journal {
 public:
  explicit MemoryJournal(Disk& disk) : disk_(disk) {}
  store::AppendOutcome Append(const store::JournalBatch& batch) override {
    std::unique_lock lock(disk_.mutex);
    ++disk_.waiting;
    disk_.changed.notify_all();
    disk_.changed.wait(lock, [&] { return disk_.gate_open; });
    --disk_.waiting;
    if (disk_.outcome == store::AppendOutcome::kDurable) {
      disk_.batches.push_back(
          {batch.first_position, batch.count, {batch.records.begin(), batch.records.end()}});
    } else {
      ++disk_.refused;
    }
    disk_.changed.notify_all();
    return disk_.outcome;
  }
  Result<void> ReadAll(const Visit& visit) override {
    for (const Disk::Batch& batch : disk_.batches) {
      if (auto problem = visit({batch.first, batch.count, batch.bytes})) {
        return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment, *problem);
      }
    }
    return {};
  }
  Result<store::JournalSlice> ReadSome(std::uint64_t after, std::size_t) override {
    const std::lock_guard lock(disk_.mutex);
    store::JournalSlice slice;
    for (const Disk::Batch& batch : disk_.batches) {
      slice.tail.position = batch.first + batch.count - 1;
      if (batch.first <= after) continue;
      slice.batches.push_back(
          {.first_position = batch.first, .count = batch.count, .records = batch.bytes});
    }
    return slice;
  }
  std::string last_problem() const override { return "the disk says no"; }

 private:
  Disk& disk_;
};

// Counts what it was told and lets a test wait for it.
class TestMailbox final : public WorkerMailbox {
 public:
  void NotifyDurable() override {
    const std::lock_guard lock(mutex_);
    ++notified_;
    ++ever_;
    changed_.notify_all();
  }
  // Returns when the worker was notified, once for each notification.
  void Await() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return notified_ > 0; });
    --notified_;
  }
  int ever() {
    const std::lock_guard lock(mutex_);
    return ever_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int notified_ = 0;
  int ever_ = 0;
};

RequestId Request(std::uint64_t n) { return {{1, n}}; }
KeyId Key(std::uint64_t n) { return {{2, n}}; }

// A request that holds and costs one nano-USD for each token of output.
gateway::AdmitCommand Ask(std::uint64_t n, std::int64_t output = 100, std::uint64_t key = 1) {
  gateway::AdmitCommand command{.request = Request(n), .key = Key(key), .limits = {}, .quote = {}};
  command.limits.requests_per_minute = 0;
  command.limits.budget = NanoUsd{1'000'000'000};
  command.quote.price.output = {1000};
  command.quote.output_tokens_bound = output;
  return command;
}
gateway::SettleCommand Done(std::uint64_t n, std::int64_t output) {
  return {Request(n), {.output_tokens = output, .source = UsageSource::kProvider}, true};
}

CreditHost::Options Eager() {
  CreditHost::Options options;
  options.wall_now = [] { return kNow; };
  options.commit_interval = {};
  options.retry_interval = Milliseconds(1);
  return options;
}

std::unique_ptr<CreditHost> StartOn(Disk& disk, CreditHost::Options options = Eager(),
                                    CreditStart* summary = nullptr) {
  CreditStart start;
  auto host = CreditHost::Start(std::make_unique<MemoryJournal>(disk), std::move(options), start);
  EXPECT_TRUE(host) << host.error().detail;
  if (summary != nullptr) *summary = start;
  return host ? std::move(*host) : nullptr;
}

enum class Answer { kNone, kYes, kNo };

Task<void> Wait(CreditPort& port, JournalPosition position, Answer& answer,
                std::vector<std::uint64_t>* order = nullptr) {
  const bool durable = co_await port.Durable(position);
  answer = durable ? Answer::kYes : Answer::kNo;
  if (order != nullptr) order->push_back(position.n);
}

TEST(CreditHost, Durable_WaitsForTheDisk_AndNotAfter) {
  Disk disk;
  auto host = StartOn(disk);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  disk.Open(false);
  const auto reply = port.Admit(Ask(1));
  ASSERT_EQ(reply.refusal, Refusal::kNone);
  Answer answer = Answer::kNone;
  Spawn(Wait(port, reply.position, answer));
  disk.Await([&] { return disk.waiting == 1; });
  port.Resume();  // for nothing: harmless
  EXPECT_EQ(answer, Answer::kNone);
  disk.Open(true);
  mailbox.Await();
  EXPECT_EQ(answer, Answer::kNone);  // only Resume resumes, on the worker's thread
  port.Resume();
  EXPECT_EQ(answer, Answer::kYes);
  EXPECT_EQ(disk.Last(), reply.position.n);

  Answer again = Answer::kNone;
  Spawn(Wait(port, reply.position, again));
  EXPECT_EQ(again, Answer::kYes);
  Answer nothing = Answer::kNone;
  Spawn(Wait(port, {}, nothing));  // a refusal has position 0
  EXPECT_EQ(nothing, Answer::kYes);
  port.Settle(Done(1, 10));
}

TEST(CreditHost, RecordsThatComeDuringACommit_ShareTheNextOne_AndOneWakeUp) {
  Disk disk;
  auto host = StartOn(disk);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  disk.Open(false);
  ASSERT_EQ(port.Admit(Ask(1)).refusal, Refusal::kNone);
  disk.Await([&] { return disk.waiting == 1; });
  std::deque<Answer> answers;
  std::vector<std::uint64_t> order;
  std::vector<JournalPosition> positions;
  for (std::uint64_t n = 2; n <= 50; ++n) positions.push_back(port.Admit(Ask(n)).position);
  // Waited for in another order than they were made in.
  for (auto at = positions.rbegin(); at != positions.rend(); ++at) {
    Spawn(Wait(port, *at, answers.emplace_back(Answer::kNone), &order));
  }
  disk.Open(true);
  while (order.size() < positions.size()) {
    mailbox.Await();
    port.Resume();
  }
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(host->Counters().commits, 2U);
  EXPECT_EQ(host->Counters().records, 52U);  // the budget and the price beside 50 intents
  EXPECT_EQ(mailbox.ever(), 1);
  for (std::uint64_t n = 1; n <= 50; ++n) port.Settle(Done(n, 1));
}

TEST(CreditHost, OnlyWorkersThatWait_AreWoken) {
  Disk disk;
  auto host = StartOn(disk);
  TestMailbox mailbox, other_mailbox;
  CreditPort port(*host, mailbox), other(*host, other_mailbox);
  disk.Open(false);
  const auto mine = port.Admit(Ask(1)).position;
  disk.Await([&] { return disk.waiting == 1; });
  const auto later = other.Admit(Ask(2)).position;
  Answer answer = Answer::kNone, other_answer = Answer::kNone;
  Spawn(Wait(port, mine, answer));
  Spawn(Wait(other, later, other_answer));
  disk.Open(true);
  mailbox.Await();
  other_mailbox.Await();
  port.Resume();
  other.Resume();
  EXPECT_EQ(answer, Answer::kYes);
  EXPECT_EQ(other_answer, Answer::kYes);
  EXPECT_EQ(mailbox.ever(), 1);
  EXPECT_EQ(other_mailbox.ever(), 1);
  port.Settle(Done(1, 1));
  other.Settle(Done(2, 1));
}

TEST(CreditHost, NoSpace_RefusesAndTellsWhoWaits_ThenLosesNothing) {
  Disk disk;
  auto host = StartOn(disk);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  ASSERT_EQ(port.Admit(Ask(1)).refusal, Refusal::kNone);
  disk.Await([&] { return disk.batches.size() == 1; });
  disk.Answer(store::AppendOutcome::kNoSpace);
  disk.Open(false);
  const auto position = port.Admit(Ask(2)).position;
  Answer answer = Answer::kNone;
  Spawn(Wait(port, position, answer));
  disk.Open(true);
  mailbox.Await();
  port.Resume();
  EXPECT_EQ(answer, Answer::kNo);
  EXPECT_FALSE(host->Counters().available);
  const auto refused = port.Admit(Ask(3));
  EXPECT_EQ(refused.refusal, Refusal::kLedgerUnavailable);
  EXPECT_EQ(refused.retry_after, Seconds(1));
  EXPECT_EQ(host->Standing(Key(1))->requests_open, 2);
  // Open requests still settle, in memory; nobody is told that it is durable.
  const auto settled = port.Settle(Done(2, 40));
  EXPECT_EQ(settled.charged.n, 40);
  Answer settled_answer = Answer::kNone;
  Spawn(Wait(port, settled.position, settled_answer));
  EXPECT_EQ(settled_answer, Answer::kNo);
  port.Checkpoint({Request(1), {.output_tokens = 5, .source = UsageSource::kCheckpoint}});

  disk.Answer(store::AppendOutcome::kDurable);
  disk.Await([&] { return disk.batches.size() == 3; });
  EXPECT_EQ(disk.Last(), settled.position.n);  // the settlement too, and the checkpoint not
  while (!host->Counters().available) std::this_thread::yield();
  EXPECT_EQ(port.Admit(Ask(4)).refusal, Refusal::kNone);
  port.Settle(Done(1, 1));
  port.Settle(Done(4, 1));
  EXPECT_GE(host->Counters().failures, 1U);
}

TEST(CreditHost, ReadJournal_OfAQuietGateway_IsWhatIsOnTheDisk) {
  Disk disk;
  auto host = StartOn(disk);
  EXPECT_TRUE(host->ReadJournal(0, 100)->batches.empty());
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  ASSERT_EQ(port.Admit(Ask(1)).refusal, Refusal::kNone);
  disk.Await([&] { return disk.batches.size() == 1; });
  const auto settled = port.Settle(Done(1, 1));
  disk.Await([&] { return disk.batches.size() == 2; });
  const auto all = host->ReadJournal(0, 100).value();
  ASSERT_EQ(all.batches.size(), 2U);
  EXPECT_EQ(all.tail.position, settled.position.n);
  EXPECT_EQ(host->ReadJournal(all.batches[0].count, 100)->batches.size(), 1U);
}

// A commit that is due goes first, so whoever reads sees it.
TEST(CreditHost, ReadJournal_WaitsForTheCommitUnderWay_AndCommitsGoOn) {
  Disk disk;
  auto host = StartOn(disk);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  disk.Open(false);
  const auto admitted = port.Admit(Ask(1)).position;
  disk.Await([&] { return disk.waiting == 1; });
  std::thread reader([&] {
    const auto slice = host->ReadJournal(0, 100);
    ASSERT_TRUE(slice) << slice.error().detail;
    EXPECT_GE(slice->tail.position, admitted.n);
  });
  disk.Open(true);
  reader.join();
  const auto settled = port.Settle(Done(1, 1));
  Answer answer = Answer::kNone;
  Spawn(Wait(port, settled.position, answer));
  while (answer == Answer::kNone) {
    mailbox.Await();
    port.Resume();
  }
  EXPECT_EQ(answer, Answer::kYes);
}

TEST(CreditHost, ReadersAndWriters_OfOneJournal_KeepEachOtherFromNothing) {
  const std::string folder = testing::TempDir() + "host_readers_" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  constexpr std::uint64_t kRequests = 2000;
  std::uint64_t records = 0;
  {
    auto journal = store::SqliteJournal::Open(folder + "/ledger.db", config::Durability::kProcess);
    ASSERT_TRUE(journal) << journal.error().detail;
    CreditStart start;
    auto host = CreditHost::Start(std::move(*journal), Eager(), start);
    ASSERT_TRUE(host) << host.error().detail;
    std::atomic<bool> written{false};
    std::vector<std::thread> readers;
    for (int n = 0; n < 2; ++n) {
      readers.emplace_back([&] {
        for (bool last = false; !last;) {
          last = written.load();
          std::uint64_t position = 0;
          while (true) {
            const auto slice = (*host)->ReadJournal(position, 16 << 10);
            ASSERT_TRUE(slice) << slice.error().detail;
            if (slice->batches.empty()) break;
            for (const auto& batch : slice->batches) {
              ASSERT_EQ(batch.first_position, position + 1) << "no record is left out or twice";
              position += batch.count;
            }
          }
        }
      });
    }
    {
      TestMailbox mailbox;
      CreditPort port(**host, mailbox);
      for (std::uint64_t n = 1; n <= kRequests; ++n) {
        ASSERT_EQ(port.Admit(Ask(n)).refusal, Refusal::kNone);
        port.Settle(Done(n, 1));
      }
      written = true;
      for (std::thread& reader : readers) reader.join();
    }
    records = 2 + 2 * kRequests;  // the budget and the price
  }
  auto journal = store::SqliteJournal::Open(folder + "/ledger.db", {.read_only = true});
  ASSERT_TRUE(journal) << journal.error().detail;
  EXPECT_TRUE((*journal)->ReadAll([](const auto&) { return std::nullopt; }));
  EXPECT_EQ((*journal)->Tail().position, records);
  std::filesystem::remove_all(folder);
}

TEST(CreditHost, ReadJournal_WhileTheDiskTakesNothing_SaysSoInTime_AndIsNoHarm) {
  Disk disk;
  CreditHost::Options options = Eager();
  options.read_deadline = Milliseconds(20);
  auto host = StartOn(disk, std::move(options));
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  disk.Answer(store::AppendOutcome::kNoSpace);
  ASSERT_EQ(port.Admit(Ask(1)).refusal, Refusal::kNone);
  disk.Await([&] { return disk.refused > 0; });
  const auto slice = host->ReadJournal(0, 100);
  ASSERT_FALSE(slice);
  EXPECT_EQ(slice.error().code, ErrorCode::kUnavailable);
  disk.Answer(store::AppendOutcome::kDurable);
  disk.Await([&] { return disk.batches.size() == 1; });
  while (!host->Counters().available) std::this_thread::yield();
  const auto again = host->ReadJournal(0, 100);
  ASSERT_TRUE(again) << again.error().detail;
  EXPECT_EQ(again->batches.size(), 1U);
  EXPECT_EQ(host->RequestsOpen(), 1U);
  port.Settle(Done(1, 1));
  EXPECT_EQ(host->RequestsOpen(), 0U);
  EXPECT_EQ(host->Breakage(ledger::Unit::kNanoUsd), ledger::Amount{0});
}

// A disk that is full until the ballast is given up, and again full until it is restored.
CreditHost::Options WithBallast(Disk& disk, std::atomic<bool>& space, std::atomic<int>& released) {
  CreditHost::Options options = Eager();
  options.release_space = [&] {
    ++released;
    disk.Answer(store::AppendOutcome::kDurable);
    return true;
  };
  options.restore_space = [&] { return space.load(); };
  options.restore_interval = Milliseconds(1);
  return options;
}

TEST(CreditHost, NoSpaceWithBallast_OpenRequestsSettleOnDisk_NewOnesAreRefusedUntilItIsBack) {
  Disk disk;
  std::atomic<bool> space{false};
  std::atomic<int> released{0};
  auto host = StartOn(disk, WithBallast(disk, space, released));
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  ASSERT_EQ(port.Admit(Ask(1)).refusal, Refusal::kNone);
  disk.Await([&] { return disk.batches.size() == 1; });
  disk.Answer(store::AppendOutcome::kNoSpace);

  const auto settled = port.Settle(Done(1, 40));
  Answer answer = Answer::kNone;
  Spawn(Wait(port, settled.position, answer));
  while (answer == Answer::kNone) {
    mailbox.Await();
    port.Resume();
  }
  EXPECT_EQ(answer, Answer::kYes);  // nobody saw that there was no space
  EXPECT_EQ(disk.Last(), settled.position.n);
  EXPECT_EQ(released, 1);
  EXPECT_FALSE(host->Counters().available);
  EXPECT_EQ(port.Admit(Ask(2)).refusal, Refusal::kLedgerUnavailable);

  space = true;
  while (!host->Counters().available) std::this_thread::yield();
  EXPECT_EQ(port.Admit(Ask(2)).refusal, Refusal::kNone);
  port.Settle(Done(2, 1));
}

TEST(CreditHost, BallastUsedUp_IsAsIfThereWereNone) {
  Disk disk;
  std::atomic<bool> space{false};
  CreditHost::Options options = Eager();
  options.release_space = [] { return false; };
  options.restore_space = [&] { return space.load(); };
  auto host = StartOn(disk, options);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  const auto position = port.Admit(Ask(1)).position;
  disk.Await([&] { return disk.batches.size() == 1; });
  disk.Answer(store::AppendOutcome::kNoSpace);
  const auto settled = port.Settle(Done(1, 40));
  Answer answer = Answer::kNone;
  Spawn(Wait(port, settled.position, answer));
  while (answer == Answer::kNone) {
    mailbox.Await();
    port.Resume();
  }
  EXPECT_EQ(answer, Answer::kNo);
  EXPECT_GT(settled.position, position);
  disk.Answer(store::AppendOutcome::kDurable);
}

TEST(CreditHost, StartOnAFullDisk_GivesUpTheBallastToResolve) {
  Disk disk;
  std::atomic<bool> space{false};
  std::atomic<int> released{0};
  {
    auto host = StartOn(disk);
    TestMailbox mailbox;
    CreditPort port(*host, mailbox);
    port.Admit(Ask(1));
    disk.Await([&] { return disk.batches.size() == 1; });
    port.Settle(Done(1, 1));
  }
  disk.batches.resize(1);  // the crash came before the settlement
  disk.Answer(store::AppendOutcome::kNoSpace);
  CreditStart start;
  auto host = StartOn(disk, WithBallast(disk, space, released), &start);
  EXPECT_EQ(start.resolution.voided, 1U);
  EXPECT_EQ(disk.batches.size(), 2U);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  EXPECT_EQ(port.Admit(Ask(2)).refusal, Refusal::kLedgerUnavailable);
}

TEST(CreditHost, QueueBeyondItsBound_RefusesUntilTheDiskMoves) {
  Disk disk;
  CreditHost::Options options = Eager();
  options.queue_bytes_max = 500;
  auto host = StartOn(disk, options);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  disk.Open(false);
  std::uint64_t n = 1;
  while (port.Admit(Ask(n)).refusal == Refusal::kNone) ASSERT_LT(++n, 100U);
  EXPECT_EQ(port.Admit(Ask(n)).refusal, Refusal::kLedgerUnavailable);
  disk.Open(true);
  for (std::uint64_t i = 1; i < n; ++i) port.Settle(Done(i, 1));
}

TEST(CreditHostDeathTest, BrokenJournal_EndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Disk disk;
        auto host = StartOn(disk);
        TestMailbox mailbox;
        CreditPort port(*host, mailbox);
        disk.Answer(store::AppendOutcome::kBroken);
        port.Admit(Ask(1));
        disk.Await([] { return false; });
      },
      "the disk says no");
}

TEST(CreditHost, CheckpointAlone_WaitsForTheNextCommit) {
  Disk disk;
  CreditHost::Options options = Eager();
  options.checkpoint_delay = Seconds(3600);
  auto host = StartOn(disk, options);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  port.Admit(Ask(1));
  disk.Await([&] { return disk.batches.size() == 1; });
  port.Checkpoint({Request(1), {.output_tokens = 5, .source = UsageSource::kCheckpoint}});
  port.Admit(Ask(2));
  disk.Await([&] { return disk.batches.size() == 2; });
  EXPECT_EQ(disk.batches.back().count, 2U);  // the checkpoint rode along
  port.Settle(Done(1, 5));
  port.Settle(Done(2, 5));
}

TEST(CreditHost, CheckpointAlone_IsWrittenAfterItsDelay) {
  Disk disk;
  CreditHost::Options options = Eager();
  options.checkpoint_delay = Milliseconds(1);
  auto host = StartOn(disk, options);
  TestMailbox mailbox;
  CreditPort port(*host, mailbox);
  port.Admit(Ask(1));
  disk.Await([&] { return disk.batches.size() == 1; });
  for (std::int64_t output = 1; output <= 3; ++output) {
    port.Checkpoint({Request(1), {.output_tokens = output, .source = UsageSource::kCheckpoint}});
    const auto batches = static_cast<std::size_t>(output) + 1;
    disk.Await([&] { return disk.batches.size() == batches; });
  }
  port.Settle(Done(1, 5));
}

TEST(CreditHost, Start_ResolvesWhatACrashLeftOpen_Once) {
  Disk disk;
  {
    // The records of a process that was killed: fund, price, three intents, a checkpoint, a
    // settlement.
    gateway::CreditControl machine;
    ledger::RecordBuffer records;
    for (std::uint64_t n = 1; n <= 3; ++n) machine.Admit(Ask(n), kNow, records);
    machine.Checkpoint({Request(2), {.output_tokens = 30, .source = UsageSource::kCheckpoint}},
                       kNow, records);
    machine.Settle(Done(3, 7), kNow, records);
    disk.batches.push_back({1, records.count, records.bytes});
  }
  CreditStart start;
  {
    auto host = StartOn(disk, Eager(), &start);
    EXPECT_EQ(start.records, 7U);
    EXPECT_EQ(start.resolution.settled, 1U);
    EXPECT_EQ(start.resolution.voided, 1U);
    EXPECT_EQ(start.resolution.charged.n, 30);
    EXPECT_EQ(start.totals.charged.n, 37);
    EXPECT_EQ(start.totals.held.n, 0);
    EXPECT_EQ(host->Standing(Key(1))->settled.n, 37);
    TestMailbox mailbox;
    CreditPort port(*host, mailbox);
    EXPECT_EQ(port.Admit(Ask(9)).position.n, 10U);  // after the two resolutions
    port.Settle(Done(9, 0));
  }
  EXPECT_EQ(disk.Last(), 11U);
  StartOn(disk, Eager(), &start);
  EXPECT_EQ(start.records, 11U);
  EXPECT_EQ(start.resolution.settled + start.resolution.voided, 0U);
  EXPECT_EQ(start.totals.charged.n, 37);
}

TEST(CreditHost, Start_OnAJournalItCannotTrust_SaysWhy) {
  const auto expect = [](Disk& disk, std::string_view why) {
    CreditStart start;
    const auto host = CreditHost::Start(std::make_unique<MemoryJournal>(disk), Eager(), start);
    ASSERT_FALSE(host);
    EXPECT_NE(host.error().detail.find(why), std::string::npos) << host.error().detail;
  };
  gateway::CreditControl machine;
  ledger::RecordBuffer records;
  machine.Admit(Ask(1), kNow, records);
  Disk cut;
  cut.batches.push_back({1, 3, {records.bytes.begin(), records.bytes.end() - 1}});
  expect(cut, "truncated");
  Disk longer;
  longer.batches.push_back({1, 1, records.bytes});
  expect(longer, "bytes after the last record");
  Disk twice;
  twice.batches.push_back({1, 3, records.bytes});
  twice.batches.push_back({4, 3, records.bytes});
  expect(twice, "out of order");
  Disk full;
  full.batches.push_back({1, 3, records.bytes});
  full.outcome = store::AppendOutcome::kNoSpace;
  expect(full, "the disk says no");
}

// A worker as net/ makes one: a thread with a queue of things to do, of which one is Resume().
class TestWorker final : public WorkerMailbox {
 public:
  void NotifyDurable() override {
    const std::lock_guard lock(mutex_);
    notified_ = true;
    changed_.notify_one();
  }
  void AwaitAndResume(CreditPort& port) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return notified_; });
    notified_ = false;
    lock.unlock();
    port.Resume();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool notified_ = false;
};

Task<void> Exchange(CreditPort& port, Disk& disk, std::uint64_t n, std::uint64_t key,
                    std::atomic<std::int64_t>& charged, int& open) {
  const auto admitted = port.Admit(Ask(n, 50, key));
  CHECK(admitted.refusal == Refusal::kNone, "the budget is large enough for all");
  CHECK(co_await port.Durable(admitted.position), "the disk works");
  CHECK(disk.Last() >= admitted.position.n, "durable means on disk");
  if (n % 3 == 0) {
    port.Checkpoint({Request(n), {.output_tokens = 5, .source = UsageSource::kCheckpoint}});
  }
  const auto settled = port.Settle(Done(n, static_cast<std::int64_t>(n % 60)));
  CHECK(co_await port.Durable(settled.position), "the disk works");
  CHECK(disk.Last() >= settled.position.n, "durable means on disk");
  charged.fetch_add(settled.charged.n);
  --open;
}

TEST(CreditHost, ManyWorkers_AgreeWithTheDiskAndWithAReplay) {
  constexpr std::uint64_t kWorkers = 4;
  constexpr std::uint64_t kExchanges = 400;
  Disk disk;
  std::atomic<std::int64_t> charged{0};
  CreditHost::Options options = Eager();
  options.commit_interval = Microseconds(50);
  options.checkpoint_delay = Microseconds(100);
  {
    auto host = StartOn(disk, options);
    std::vector<std::thread> threads;
    for (std::uint64_t w = 0; w < kWorkers; ++w) {
      threads.emplace_back([&, w] {
        TestWorker worker;
        CreditPort port(*host, worker);
        int open = 0;
        for (std::uint64_t n = 0; n < kExchanges; ++n) {
          ++open;
          Spawn(Exchange(port, disk, w * kExchanges + n + 1, 1 + n % 3, charged, open));
          while (open >= 8) worker.AwaitAndResume(port);
        }
        while (open > 0) worker.AwaitAndResume(port);
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(host->Totals().charged.n, charged.load());
    EXPECT_EQ(host->Totals().held.n, 0);
    EXPECT_LT(host->Counters().commits, host->Counters().records);
  }
  CreditStart start;
  StartOn(disk, Eager(), &start);
  EXPECT_EQ(start.totals.charged.n, charged.load());
  EXPECT_EQ(start.resolution.settled + start.resolution.voided, 0U);
}

// The claim of the whole, on a real disk: a process with open requests is killed without warning;
// every settlement it reported as durable is there exactly as reported, none is there twice, and
// what was open is charged at most what was delivered.
TEST(CreditHost, KillMinusNine_LosesNoReportedSettlement_AndChargesNoneTwice) {
  const std::string folder = testing::TempDir() + "credit_host_" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/ledger.db";
  struct Report {
    std::uint64_t request;
    std::int64_t charged;
  };
  std::map<std::uint64_t, std::int64_t> reported;
  std::uint64_t next = 1;
  for (int cycle = 0; cycle < 10; ++cycle) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe_fds[0]);
      auto journal = store::SqliteJournal::Open(path, config::Durability::kProcess);
      if (!journal) ::_exit(1);
      CreditStart start;
      auto host = CreditHost::Start(std::move(*journal), Eager(), start);
      if (!host) ::_exit(2);
      TestWorker worker;
      CreditPort port(**host, worker);
      for (std::uint64_t n = next;; n += 2) {
        // Two at a time, of which the second is never settled.
        port.Admit(Ask(n));
        const auto left_open = port.Admit(Ask(n + 1));
        port.Checkpoint({Request(n + 1), {.output_tokens = 3, .source = UsageSource::kCheckpoint}});
        const auto settled = port.Settle(Done(n, static_cast<std::int64_t>(1 + n % 100)));
        CHECK(left_open.refusal == Refusal::kNone, "the budget is large enough for all");
        Answer answer = Answer::kNone;
        Spawn(Wait(port, settled.position, answer));
        while (answer == Answer::kNone) worker.AwaitAndResume(port);
        const Report report{n, settled.charged.n};
        if (::write(pipe_fds[1], &report, sizeof report) != sizeof report) ::_exit(3);
      }
    }
    ::close(pipe_fds[1]);
    Report report{};
    const int until = 3 + cycle * 7 % 20;
    for (int seen = 0; seen < until; ++seen) {
      ASSERT_EQ(::read(pipe_fds[0], &report, sizeof report), static_cast<ssize_t>(sizeof report));
      reported[report.request] = report.charged;
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    while (::read(pipe_fds[0], &report, sizeof report) == sizeof report) {
      reported[report.request] = report.charged;
    }
    ::close(pipe_fds[0]);
    next = (reported.rbegin()->first + 1000) | 1;
  }
  auto journal = store::SqliteJournal::Open(path, config::Durability::kProcess);
  ASSERT_TRUE(journal);
  CreditStart start;
  std::int64_t sum = 0;
  {
    auto host = CreditHost::Start(std::move(*journal), Eager(), start);
    ASSERT_TRUE(host) << host.error().detail;
    EXPECT_EQ(start.totals.held.n, 0);
  }
  journal = store::SqliteJournal::Open(path, config::Durability::kProcess);
  ASSERT_TRUE(journal);
  std::map<std::uint64_t, std::int64_t> resolved;
  const auto read =
      (*journal)->ReadAll([&](const store::JournalBatch& batch) -> std::optional<std::string> {
        std::span<const std::uint8_t> bytes = batch.records;
        while (!bytes.empty()) {
          const auto record = ledger::Decode(bytes).value();
          if (const auto* settle = std::get_if<ledger::SettleRecord>(&record)) {
            EXPECT_TRUE(resolved.emplace(settle->request.low, settle->charged.n).second);
            sum += settle->charged.n;
            if (settle->cause == ledger::ResolveCause::kRecovery) EXPECT_LE(settle->charged.n, 3);
          } else if (const auto* voided = std::get_if<ledger::VoidRecord>(&record)) {
            EXPECT_TRUE(resolved.emplace(voided->request.low, 0).second);
          }
        }
        return std::nullopt;
      });
  ASSERT_TRUE(read) << read.error().detail;
  for (const auto& [request, charged] : reported) {
    ASSERT_TRUE(resolved.contains(request)) << request;
    EXPECT_EQ(resolved[request], charged) << request;
  }
  EXPECT_EQ(start.totals.charged.n, sum);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace weir::server
