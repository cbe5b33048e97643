#include "server/courier.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "base/id.h"
#include "base/task.h"
#include "net/loop.h"
#include "net/upstream_pool.h"
#include "server/dispatcher.h"
#include "server/events.h"
#include "store/pepper.h"

namespace weir::server {
namespace {

using store::EndpointState;
using telemetry::Event;
using telemetry::Level;
using Verdict = store::Attempt::Verdict;

// How long the thread sleeps at most while something is pending, so that a clock that was set, or a
// retry that is sooner than the last one thought, is late by no more.
constexpr Duration kRoundMax = Seconds(1);
constexpr Duration kPruneInterval = Seconds(60);
constexpr Duration kIdleConnection = Seconds(60);
// Between two log lines about the same trouble.
constexpr Duration kComplainInterval = Seconds(60);

constexpr std::array<std::string_view, 4> kOutcomeNames = {"delivered", "retry", "failed",
                                                           "disabled"};

std::array<std::uint8_t, 32> Digest(std::string_view text) {
  std::array<std::uint8_t, 32> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

// What was offered and is not on disk yet.
struct Batch {
  std::vector<Event> events;
  std::optional<std::int64_t> position;

  bool empty() const { return events.empty() && !position; }
};

}  // namespace

// The thread and all that is used on it.
struct Courier::State {
  explicit State(Options given) : options(std::move(given)) {}

  const Options options;

  mutable std::mutex mutex;  // of these
  std::vector<EndpointPtr> endpoints;
  Batch queue;
  bool posted = false;    // the thread knows that there is something in the queue, or will look
  bool gap = false;       // an event of the journal was dropped: positions stand still
  bool stopping = false;  // nothing is taken any more

  std::atomic<bool> any{false};                         // endpoints
  std::atomic<bool> running{false};                     // there is a thread
  std::array<std::atomic<std::int64_t>, 4> outcomes{};  // by Verdict
  std::atomic<std::int64_t> dropped{0};

  std::optional<std::int64_t> taken;  // set by Start
  // Opened once, for good; `outbox` is what other threads see of it.
  std::unique_ptr<store::WebhookStore> store;
  std::atomic<store::WebhookStore*> outbox{nullptr};

  // What follows is the thread's own. It is there before the first endpoint is, so whoever has
  // found an endpoint, or `any`, may post to it.
  struct Sender {
    net::Loop loop;
    net::UpstreamPool outside{loop, net::Reach::kPublicOnly};
    net::UpstreamPool anywhere{loop, net::Reach::kAnywhere};
    std::unique_ptr<Dispatcher> dispatcher;
    Signal wake;
    bool ended = false;  // Keep() has
  };
  std::unique_ptr<Sender> sender;
  Batch batch;  // taken from the queue, and refused by the disk
  Tick prune_at;
  Tick complain_disk_at;
  Tick complain_dropped_at;
  std::int64_t dropped_told = 0;
  bool poked = false;  // an attempt ended, and a round is posted for it
  std::thread thread;

  Result<void> OpenStore();
  void StartThread();
  Result<std::vector<EndpointPtr>> MakeEndpoints(const std::vector<config::Webhook>& webhooks);
  Result<void> Configure(const std::vector<config::Webhook>& webhooks);

  std::vector<EndpointPtr> Endpoints() const {
    const std::lock_guard lock(mutex);
    return endpoints;
  }
  EndpointPtr FindEndpoint(std::string_view name) const {
    const std::lock_guard lock(mutex);
    const auto found = std::ranges::find(endpoints, name, [](const auto& e) { return e->name; });
    return found == endpoints.end() ? nullptr : *found;
  }
  bool Fits(const Event& event);
  bool Enqueue(std::vector<Event> events, std::optional<std::int64_t> position);
  std::vector<store::WebhookStore::Addition> Addressed(const std::vector<Event>& events) const;
  void Poke();

  // On the thread.
  Task<void> Keep();
  std::optional<Duration> Round();
  void WriteQueue();
  void OnRecorded(const store::Attempt& attempt, const store::WebhookStore::Change& change);
  void OnProblem(const Error& error);
  void TellDropped();
};

Result<void> Courier::State::OpenStore() {
  if (store != nullptr) return {};
  auto opened = store::WebhookStore::Open(options.path, options.store);
  if (!opened) return std::unexpected(opened.error());
  store = *std::move(opened);
  outbox.store(store.get());
  return {};
}

Result<std::vector<EndpointPtr>> Courier::State::MakeEndpoints(
    const std::vector<config::Webhook>& webhooks) {
  std::vector<EndpointPtr> made;
  for (const config::Webhook& webhook : webhooks) {
    auto endpoint = MakeEndpoint(webhook);
    if (!endpoint) return std::unexpected(endpoint.error());
    made.push_back(*std::move(endpoint));
  }
  return made;
}

Result<void> Courier::State::Configure(const std::vector<config::Webhook>& webhooks) {
  auto next = MakeEndpoints(webhooks);
  if (!next) return std::unexpected(next.error());
  if (!next->empty()) {
    if (auto opened = OpenStore(); !opened) return opened;
    std::vector<store::WebhookStore::Known> known;
    for (const config::Webhook& webhook : webhooks) {
      known.push_back({.name = webhook.name, .url_digest = Digest(webhook.url)});
    }
    if (auto done = store->Configure(known, options.wall_now()); !done) return done;
  }
  const bool some = !next->empty();
  if (some && !running.load()) StartThread();
  {
    const std::lock_guard lock(mutex);
    endpoints = *next;
  }
  any.store(some, std::memory_order_release);
  if (!some && store != nullptr) {
    // What happens while nobody is told is not told later.
    if (auto forgotten = store->ForgetPosition(); !forgotten) return forgotten;
  }
  if (running.load()) {
    sender->loop.Post([this, configured = *std::move(next)] {
      sender->dispatcher->Configure(configured);
      Poke();
    });
  }
  return {};
}

void Courier::State::StartThread() {
  sender = std::make_unique<Sender>();
  sender->dispatcher = std::make_unique<Dispatcher>(
      Dispatcher::Ports{*store, sender->outside, sender->anywhere, sender->loop},
      Dispatcher::Hooks{.recorded = [this](const auto& attempt,
                                           const auto& change) { OnRecorded(attempt, change); },
                        .problem = [this](const Error& error) { OnProblem(error); },
                        .room =
                            [this] {
                              // Not from inside of a Turn, which may be what ended the attempt.
                              if (std::exchange(poked, true)) return;
                              sender->loop.Post([this] {
                                poked = false;
                                Poke();
                              });
                            }});
  Spawn(Keep());
  thread = std::thread([this] {
    pthread_setname_np(pthread_self(), "weir-webhooks");
    sender->loop.Run();
  });
  running.store(true);
}

// A round at once; on the thread.
void Courier::State::Poke() {
  if (sender->loop.finishing()) return;
  if (sender->wake.HasWaiter()) {
    sender->wake.Set();
  } else {
    (void)Round();  // Keep() sleeps for a second at most and then looks again
  }
}

Task<void> Courier::State::Keep() {
  while (!sender->loop.finishing()) {
    if (const auto wait = Round()) {
      co_await sender->loop.Sleep(*wait);
    } else {
      co_await sender->wake;
    }
  }
  sender->ended = true;
}

// What is to be done now.    returns  how long nothing will be; none: until somebody says so
std::optional<Duration> Courier::State::Round() {
  WriteQueue();
  const std::optional<Instant> next = sender->dispatcher->Turn();
  const Tick now = sender->loop.Now();
  if (now >= prune_at) {
    prune_at = now + kPruneInterval;
    if (const auto pruned = store->Prune(options.wall_now()); !pruned) OnProblem(pruned.error());
  }
  TellDropped();
  sender->outside.CloseIdle(kIdleConnection);
  sender->anywhere.CloseIdle(kIdleConnection);
  if (!batch.empty()) return kRoundMax;
  if (next) {
    const Duration wait = *next - sender->loop.WallNow();
    return std::clamp(wait, Milliseconds(1), kRoundMax);
  }
  if (sender->outside.idle() + sender->anywhere.idle() > 0) return kRoundMax;
  return std::nullopt;
}

std::vector<store::WebhookStore::Addition> Courier::State::Addressed(
    const std::vector<Event>& events) const {
  const std::vector<EndpointPtr> to = Endpoints();
  std::vector<store::WebhookStore::Addition> additions;
  for (const Event& event : events) {
    store::WebhookStore::Addition addition{.event = event, .endpoints = {}};
    for (const EndpointPtr& endpoint : to) {
      if (endpoint->Wants(event.type)) addition.endpoints.push_back(endpoint->name);
    }
    if (!addition.endpoints.empty()) additions.push_back(std::move(addition));
  }
  return additions;
}

// While the disk refuses a batch the queue behind it fills up, and what does not fit is dropped:
// memory has a bound however long that lasts.
void Courier::State::WriteQueue() {
  while (true) {
    if (batch.empty()) {
      const std::lock_guard lock(mutex);
      posted = false;
      batch = std::exchange(queue, {});
      if (endpoints.empty()) batch.position.reset();
    }
    if (batch.empty()) return;
    const auto added = store->Add(Addressed(batch.events), batch.position, options.wall_now());
    if (!added) {
      OnProblem(added.error());
      return;
    }
    dropped.fetch_add(added->dropped);
    batch = {};
  }
}

void Courier::State::OnRecorded(const store::Attempt& attempt,
                                const store::WebhookStore::Change& change) {
  outcomes.at(static_cast<std::size_t>(attempt.verdict)).fetch_add(1, std::memory_order_relaxed);
  if (options.recorded) options.recorded(attempt);
  if (options.log == nullptr || change.before == change.now) return;
  switch (change.now) {
    case EndpointState::kErring:
      options.log->Write(
          Level::kWarning, "webhook endpoint takes no event, trying again",
          {{"endpoint", attempt.endpoint}, {"status", attempt.status}, {"why", attempt.error}});
      break;
    case EndpointState::kFailing:
      options.log->Write(Level::kError, "webhook endpoint is failing, an event was given up",
                         {{"endpoint", attempt.endpoint},
                          {"delivery", fmt::format("dlv_{}", attempt.delivery.n)},
                          {"status", attempt.status},
                          {"why", attempt.error}});
      break;
    case EndpointState::kDisabled:
      options.log->Write(Level::kError, "webhook endpoint disabled, it answered 410 Gone",
                         {{"endpoint", attempt.endpoint},
                          {"fix", "weir webhooks enable, once it wants events again"}});
      break;
    case EndpointState::kOk:
      options.log->Write(Level::kInfo, "webhook endpoint takes events again",
                         {{"endpoint", attempt.endpoint}});
      break;
  }
}

void Courier::State::OnProblem(const Error& error) {
  const Tick now = sender->loop.Now();
  if (options.log == nullptr || now < complain_disk_at) return;
  complain_disk_at = now + kComplainInterval;
  options.log->Write(Level::kError, "webhook events cannot be kept, trying again",
                     {{"why", error.detail}});
}

void Courier::State::TellDropped() {
  const std::int64_t count = dropped.load();
  const Tick now = sender->loop.Now();
  if (options.log == nullptr || count == dropped_told || now < complain_dropped_at) return;
  complain_dropped_at = now + kComplainInterval;
  options.log->Write(Level::kError, "webhook events dropped: too large, or too many wait",
                     {{"events", count - std::exchange(dropped_told, count)}});
}

bool Courier::State::Fits(const Event& event) {
  if (event.data.size() <= telemetry::kEventDataBytesMax) return true;
  dropped.fetch_add(1);
  return false;
}

// False: at least one of them was dropped.
bool Courier::State::Enqueue(std::vector<Event> events, std::optional<std::int64_t> position) {
  std::int64_t lost = 0;
  bool wake = false;
  {
    const std::lock_guard lock(mutex);
    if (stopping) return true;
    for (Event& event : events) {
      if (queue.events.size() < options.queue_max) {
        queue.events.push_back(std::move(event));
      } else {
        ++lost;
      }
    }
    if (position) {
      gap = gap || lost > 0;
      if (!gap) queue.position = position;
    }
    wake = !queue.empty() && !std::exchange(posted, true);
  }
  dropped.fetch_add(lost);
  if (wake) sender->loop.Post([this] { Poke(); });
  return lost == 0;
}

Courier::Courier(std::unique_ptr<State> state) : state_(std::move(state)) {}
Courier::~Courier() { Stop(); }

Result<std::unique_ptr<Courier>> Courier::Start(const std::vector<config::Webhook>& webhooks,
                                                Options options) {
  std::unique_ptr<Courier> courier(new Courier(std::make_unique<State>(std::move(options))));
  State& state = *courier->state_;
  std::error_code ignored;
  if (!webhooks.empty() || std::filesystem::exists(state.options.path, ignored)) {
    if (auto opened = state.OpenStore(); !opened) return std::unexpected(opened.error());
    const auto taken = state.store->Position();
    if (!taken) return std::unexpected(taken.error());
    if (!webhooks.empty()) state.taken = *taken;
  }
  if (auto done = state.Configure(webhooks); !done) return std::unexpected(done.error());
  return courier;
}

Result<void> Courier::Configure(const std::vector<config::Webhook>& webhooks) {
  return state_->Configure(webhooks);
}

void Courier::Offer(Event event) {
  State& state = *state_;
  if (!state.any.load(std::memory_order_acquire) || !state.Fits(event)) return;
  std::vector<Event> one;
  one.push_back(std::move(event));
  state.Enqueue(std::move(one), std::nullopt);
}

void Courier::Take(std::vector<Event> events, std::int64_t position) {
  State& state = *state_;
  if (!state.any.load(std::memory_order_acquire)) return;
  std::erase_if(events, [&](const Event& event) { return !state.Fits(event); });
  state.Enqueue(std::move(events), position);
}

void Courier::Keep(Event event) {
  State& state = *state_;
  if (!state.any.load(std::memory_order_acquire) || !state.Fits(event)) return;
  std::vector<Event> one;
  one.push_back(std::move(event));
  const auto added =
      state.outbox.load()->Add(state.Addressed(one), std::nullopt, state.options.wall_now());
  if (!added) {
    state.Enqueue(std::move(one), std::nullopt);
    return;
  }
  state.dropped.fetch_add(added->dropped);
  state.sender->loop.Post([&state] { state.Poke(); });
}

std::optional<std::int64_t> Courier::taken() const { return state_->taken; }

bool Courier::has_endpoints() const { return state_->any.load(std::memory_order_acquire); }

Result<store::Delivery> Courier::Test(std::string_view endpoint) {
  State& state = *state_;
  const auto conflict = [](std::string detail) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller, std::move(detail));
  };
  const EndpointPtr known = state.FindEndpoint(endpoint);
  if (known == nullptr) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such endpoint");
  }
  const auto record = state.outbox.load()->Endpoint(endpoint);
  if (!record) return std::unexpected(record.error());
  if (*record && (*record)->disabled_at) return conflict("the endpoint is disabled");
  const auto random = store::SystemRandom32();
  if (!random) return std::unexpected(random.error());
  const Instant now = state.options.wall_now();
  const std::vector<store::WebhookStore::Addition> one = {
      {.event = WebhookTestEvent(known->name, now, *random), .endpoints = {known->name}}};
  const auto added = state.outbox.load()->Add(one, std::nullopt, now);
  if (!added) return std::unexpected(added.error());
  if (added->deliveries == 0) return conflict("too many deliveries to the endpoint are pending");
  auto delivery = state.outbox.load()->Find(added->last);
  state.sender->loop.Post([&state] { state.Poke(); });
  if (!delivery) return std::unexpected(delivery.error());
  if (!*delivery) return conflict("the delivery is gone already");
  return **std::move(delivery);
}

Result<store::Delivery> Courier::Retry(store::DeliveryId id) {
  State& state = *state_;
  store::WebhookStore* const outbox = state.outbox.load();
  if (outbox == nullptr) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such delivery");
  }
  const auto found = outbox->Find(id);
  if (!found) return std::unexpected(found.error());
  if (*found && state.FindEndpoint((*found)->endpoint) == nullptr) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                "the endpoint is not in the configuration");
  }
  auto again = outbox->Retry(id, state.options.wall_now());
  if (again) state.sender->loop.Post([&state] { state.Poke(); });
  return again;
}

Result<std::int64_t> Courier::Enable(std::string_view endpoint) {
  State& state = *state_;
  if (state.FindEndpoint(endpoint) == nullptr) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such endpoint");
  }
  auto enabled = state.outbox.load()->Enable(endpoint, state.options.wall_now());
  if (enabled) state.sender->loop.Post([&state] { state.Poke(); });
  return enabled;
}

Result<std::vector<EndpointView>> Courier::Endpoints() const {
  std::vector<EndpointView> views;
  for (const EndpointPtr& endpoint : state_->Endpoints()) {
    auto record = state_->outbox.load()->Endpoint(endpoint->name);
    if (!record) return std::unexpected(record.error());
    views.push_back({.name = endpoint->name,
                     .origin = endpoint->origin,
                     .events = endpoint->events,
                     .allow_private = endpoint->allow_private,
                     .record = record->value_or(store::EndpointRecord{.name = endpoint->name})});
  }
  return views;
}

Result<std::vector<store::Delivery>> Courier::Deliveries(const store::DeliveryQuery& query) const {
  const store::WebhookStore* const outbox = state_->outbox.load();
  if (outbox == nullptr) return std::vector<store::Delivery>();
  return outbox->List(query);
}

void Courier::Register(telemetry::Metrics& metrics) {
  State& state = *state_;
  metrics.AddCollector([this, &state] {
    using Series = telemetry::Metrics::Series;
    std::vector<telemetry::Metrics::Family> families = {
        {.name = "weir_webhook_deliveries_total", .series = {}},
        {.name = "weir_webhook_dropped_total", .series = {{"", state.dropped.load()}}},
        {.name = "weir_webhook_pending", .series = {}},
        {.name = "weir_webhook_endpoints", .series = {}}};
    for (std::size_t i = 0; i < kOutcomeNames.size(); ++i) {
      families[0].series.push_back(Series{fmt::format("outcome=\"{}\"", kOutcomeNames.at(i)),
                                          state.outcomes.at(i).load(std::memory_order_relaxed)});
    }
    std::int64_t pending = 0;
    std::array<std::int64_t, store::kEndpointStateNames.size()> by_state{};
    // A disk that cannot be read has a log line of its own, and no figure.
    for (const EndpointView& view : Endpoints().value_or(std::vector<EndpointView>())) {
      pending += view.record.pending;
      ++by_state.at(static_cast<std::size_t>(view.record.state));
    }
    families[2].series.push_back(Series{"", pending});
    for (std::size_t i = 0; i < by_state.size(); ++i) {
      families[3].series.push_back(
          Series{fmt::format("state=\"{}\"", store::kEndpointStateNames.at(i)), by_state.at(i)});
    }
    return families;
  });
}

void Courier::Stop() {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    if (std::exchange(state.stopping, true)) return;
  }
  state.any.store(false);
  if (!state.running.load()) return;
  State::Sender& sender = *state.sender;
  sender.loop.Stop();
  state.thread.join();
  sender.dispatcher->Stop();
  sender.loop.Finish([&] {
    if (sender.wake.HasWaiter()) sender.wake.Set();
    return sender.ended && sender.dispatcher->idle();
  });
  state.WriteQueue();
}

}  // namespace weir::server
