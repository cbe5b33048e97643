#include "telemetry/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace weir::telemetry {

namespace {

// The operations that get a label of their own; any other text counts as the last.
constexpr std::array<std::string_view, 17> kOperations = {"responses",
                                                          "chat_completions",
                                                          "list_models",
                                                          "get_model",
                                                          "get_request",
                                                          "balance",
                                                          "statement",
                                                          "redeem",
                                                          "responses_input_tokens",
                                                          "responses_compact",
                                                          "responses_socket",
                                                          "messages",
                                                          "messages_count_tokens",
                                                          "generate_content",
                                                          "gemini_count_tokens",
                                                          "audio_transcriptions",
                                                          "other"};
constexpr std::size_t kEndings = 6;   // by value of EndingKind; 0 is not used
constexpr std::size_t kStatuses = 6;  // by hundreds; 0 is none sent
constexpr std::size_t kRefusals = 128;
constexpr std::size_t kLives = 1;

constexpr std::array<std::string_view, 5> kTokenKinds = {"input", "cached_input", "cache_write",
                                                         "output", "reasoning"};

// A figure with one writer: a plain add, visible to readers at some later time.
class Count {
 public:
  void Add(std::int64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::int64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// Upper bounds in nanoseconds. The last bucket, +Inf, is not listed.
using Bounds = std::array<std::int64_t, 16>;
constexpr std::int64_t kUs = 1'000;
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kS = 1'000'000'000;

// Whole requests last from a millisecond to many minutes (a long stream).
constexpr Bounds kLongBounds = {5 * kMs,   10 * kMs, 25 * kMs,   50 * kMs, 100 * kMs, 250 * kMs,
                                500 * kMs, 1 * kS,   2500 * kMs, 5 * kS,   10 * kS,   30 * kS,
                                60 * kS,   120 * kS, 300 * kS,   600 * kS};
// What the gateway itself adds is microseconds when well and milliseconds when not.
constexpr Bounds kShortBounds = {10 * kUs,  25 * kUs,   50 * kUs, 100 * kUs, 250 * kUs, 500 * kUs,
                                 1 * kMs,   2500 * kUs, 5 * kMs,  10 * kMs,  25 * kMs,  50 * kMs,
                                 100 * kMs, 250 * kMs,  1 * kS,   5 * kS};

struct Histogram {
  void Observe(const Bounds& bounds, Duration value) {
    const std::int64_t ns = value.ns < 0 ? 0 : value.ns;
    std::size_t bucket = 0;
    while (bucket < bounds.size() && ns > bounds[bucket]) ++bucket;
    buckets[bucket].Add(1);
    sum_ns.Add(ns);
  }

  std::array<Count, std::tuple_size_v<Bounds> + 1> buckets;
  Count sum_ns;
};

enum HistogramIndex : std::size_t { kDuration, kFirstByte, kOverhead, kDurable, kHistograms };

enum DescriptionIndex : std::size_t {
  kRequestsTotal,
  kRefusalsTotal,
  kTokensTotal,
  kAudioTotal,
  kEstimatedTotal,
  kAttemptsTotal,
  kChargedTotal,
  kOverrunTotal,
  kWalletLowTotal,
  kDurationSeconds,
  kFirstByteSeconds,
  kOverheadSeconds,
  kDurableSeconds,
  kRequestsGauge,
  kBuildInfo,
  kStartTime,
};

const std::array kDescriptions = std::to_array<MetricDescription>({
    {"weir_requests_total", "counter", "operation,ending,status",
     "Exchanges that ended, by what was asked, how it ended and the class of the status sent."},
    {"weir_refusals_total", "counter", "operation,refusal",
     "Exchanges that were refused, by reason (see the errors reference)."},
    {"weir_tokens_total", "counter", "kind",
     "Tokens used. cached_input and cache_write are part of input, reasoning is part of output."},
    {"weir_audio_seconds_total", "counter", "",
     "Length of the audio that was transcribed, to the millisecond."},
    {"weir_usage_not_from_provider_total", "counter", "source",
     "Exchanges whose usage is our own count because the upstream gave none."},
    {"weir_upstream_attempts_total", "counter", "", "Calls made to upstreams, retries included."},
    {"weir_charged_nano_usd_total", "counter", "",
     "Charged to keys, each request once, in 1e-9 USD. What wallets pay is not added to it."},
    {"weir_overrun_nano_usd_total", "counter", "",
     "Cost above what was held, which the operator bears, in 1e-9 USD."},
    {"weir_wallet_low_total", "counter", "",
     "Wallets that fell below their package's wallet_low, once until they were above it again."},
    {"weir_request_duration_seconds", "histogram", "",
     "From the first byte of a request to the last byte of its reply."},
    {"weir_first_byte_seconds", "histogram", "",
     "From the first byte of a request to the first byte of its reply."},
    {"weir_overhead_seconds", "histogram", "",
     "Time of a served request that was not spent waiting for an upstream."},
    {"weir_durable_wait_seconds", "histogram", "",
     "Time an exchange waited for the journal to reach the disk."},
    {"weir_requests_in_progress", "gauge", "", "Requests that have no complete reply yet."},
    {"weir_build_info", "gauge", "version", "Always 1; the label says what runs."},
    {"weir_start_time_seconds", "gauge", "", "When the process started, in seconds since 1970."},
    // Read when a scrape asks, by whoever registered them.
    {"weir_open_connections", "gauge", "", "Connections of callers that are open now."},
    {"weir_journal_records_total", "counter", "", "Records handed to the journal."},
    {"weir_journal_commits_total", "counter", "", "Transactions of the journal."},
    {"weir_journal_failures_total", "counter", "", "Appends that found no space."},
    {"weir_request_log_dropped_total", "counter", "", "Rows the request log lost to a full queue."},
    {"weir_log_lines_dropped_total", "counter", "", "Log lines lost to a full queue."},
    {"weir_open_reservations", "gauge", "", "Requests that hold a reservation now."},
    {"weir_keys", "gauge", "", "API keys, revoked ones included."},
    {"weir_wallet_breakage_total", "counter", "unit",
     "What expired unused of grants, by unit: nano_usd, quota_token."},
    {"weir_account_usable", "gauge", "account",
     "1 while the account could take a call, 0 while it rests, is full or switched off. "
     "other: how many of the accounts without a series of their own could."},
    {"weir_account_in_flight", "gauge", "account", "Calls that are under way at the account."},
    {"weir_account_rests_total", "counter", "class",
     "Rests of accounts that began or grew, by what they failed with."},
    {"weir_pool_usable_accounts", "gauge", "pool",
     "Accounts of the pool that can be used or are merely busy."},
    {"weir_pool_resting_accounts", "gauge", "pool", "Accounts of the pool that rest."},
    {"weir_pool_capacity", "gauge", "pool",
     "Calls at once that the usable accounts of the pool allow; 0 is no limit while any is "
     "usable."},
    {"weir_pool_in_flight", "gauge", "pool", "Calls that are under way through the pool."},
    {"weir_pool_waiting", "gauge", "pool", "Calls that wait for an account of the pool."},
    {"weir_sticky_total", "counter", "result",
     "Calls of sessions, by whether they kept their account: kept, away (it rests or is off), "
     "escaped (it is busy, errs or is slow)."},
    {"weir_account_probes_total", "counter", "result",
     "Accounts that were asked for their models, by what the answer showed: served, auth_dead, "
     "server_error, nothing."},
    {"weir_quota_counters", "gauge", "", "Counters of quota policies that are kept now."},
    {"weir_quota_alerts_total", "counter", "",
     "Thresholds of quota policies that were crossed, forecasts included."},
    {"weir_webhook_deliveries_total", "counter", "outcome",
     "Attempts to deliver an event, by what they came to: delivered, retry (it failed and is made "
     "again), failed (it was the last), disabled (the endpoint wants no more)."},
    {"weir_webhook_dropped_total", "counter", "",
     "Events that were not kept to be delivered: too large, or too many waited."},
    {"weir_webhook_pending", "gauge", "", "Deliveries of events that are not done yet."},
    {"weir_webhook_endpoints", "gauge", "state",
     "Webhook endpoints, by how they fare: ok, erring (the last attempt failed), failing (a "
     "delivery was given up and none has arrived since), disabled."},
});

std::size_t OperationIndex(std::string_view name) {
  for (std::size_t i = 0; i + 1 < kOperations.size(); ++i) {
    if (kOperations[i] == name) return i;
  }
  return kOperations.size() - 1;
}

void AppendHead(std::string_view name, std::string_view help, std::string_view type,
                std::string& out) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

bool IsDescribed(std::string_view name, std::string_view type) {
  for (const MetricDescription& d : kDescriptions) {
    if (d.name == name && d.type == type) return true;
  }
  return false;
}

void AppendHead(DescriptionIndex index, std::string& out) {
  const MetricDescription& d = kDescriptions[index];
  AppendHead(d.name, d.help, d.type, out);
}

// Nanoseconds as decimal seconds without trailing zeros: 2500000 -> "0.0025".
std::string SecondsText(std::int64_t ns) {
  std::string text = fmt::format("{}.{:09}", ns / kS, ns % kS);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

struct alignas(64) Metrics::Shard {
  std::array<std::array<std::array<Count, kStatuses>, kEndings>, kOperations.size()> requests;
  std::array<std::array<Count, kRefusals>, kOperations.size()> refusals;
  std::array<Count, kTokenKinds.size()> tokens;
  Count audio_ms;
  std::array<Count, 4> usage_sources;  // by value of UsageSource
  Count attempts;
  Count charged;
  Count overrun;
  Count wallet_low;
  std::array<Histogram, kHistograms> histograms;
  std::array<Count, kLives> live;
  // So that the next allocation does not share the last line of this one.
  std::array<char, 64> pad;
};

Metrics::Metrics(std::int32_t shards, std::string_view version, Instant started_at)
    : version_(version), started_at_(started_at) {
  CHECK(shards >= 1, "every worker needs a shard to count in");
  for (std::int32_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<Shard>());
}

Metrics::~Metrics() = default;

void Metrics::RecordExchange(std::int32_t shard_index, const ExchangeRecord& record) {
  Shard& shard = *shards_[static_cast<std::size_t>(shard_index)];
  const std::size_t operation = OperationIndex(record.operation);
  const auto ending = static_cast<std::size_t>(record.ending);
  const std::size_t status = record.status >= 100 && record.status < 600
                                 ? static_cast<std::size_t>(record.status / 100)
                                 : 0;
  shard.requests[operation][ending < kEndings ? ending : 0][status].Add(1);
  if (record.refusal != Refusal::kNone) {
    shard.refusals[operation][static_cast<std::size_t>(record.refusal) % kRefusals].Add(1);
  }
  const Usage& usage = record.usage;
  shard.tokens[0].Add(usage.input_tokens);
  shard.tokens[1].Add(usage.cached_input_tokens);
  shard.tokens[2].Add(usage.cache_write_tokens);
  shard.tokens[3].Add(usage.output_tokens);
  shard.tokens[4].Add(usage.reasoning_tokens);
  if (usage.audio_ms != 0) shard.audio_ms.Add(usage.audio_ms);
  shard.usage_sources[static_cast<std::size_t>(usage.source) % 4].Add(1);
  shard.attempts.Add(record.attempts);
  shard.charged.Add(record.charged.n);
  shard.overrun.Add(record.overrun.n);
  if (record.wallet && record.wallet->low) shard.wallet_low.Add(1);
  shard.histograms[kDuration].Observe(kLongBounds, record.total);
  if (record.first_byte.ns > 0) {
    shard.histograms[kFirstByte].Observe(kLongBounds, record.first_byte);
  }
  if (record.ending == EndingKind::kServed) {
    shard.histograms[kOverhead].Observe(kShortBounds,
                                        record.total - record.upstream_time - record.queue_time);
  }
  if (record.durable_time.ns > 0) {
    shard.histograms[kDurable].Observe(kShortBounds, record.durable_time);
  }
}

void Metrics::Move(std::int32_t shard, Live what, std::int64_t delta) {
  shards_[static_cast<std::size_t>(shard)]->live[static_cast<std::size_t>(what)].Add(delta);
}

std::int64_t Metrics::Now(Live what) const {
  std::int64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->live[static_cast<std::size_t>(what)].Get();
  return sum;
}

void Metrics::AddGauge(std::string_view name, std::string_view help, std::string_view labels,
                       Read read) {
  CHECK(IsDescribed(name, "gauge"), "a figure that the reference does not have is not found");
  const std::lock_guard lock(callbacks_mutex_);
  callbacks_.push_back(
      {std::string(name), std::string(help), std::string(labels), false, std::move(read)});
}

void Metrics::AddCounter(std::string_view name, std::string_view help, std::string_view labels,
                         Read read) {
  CHECK(IsDescribed(name, "counter"), "a figure that the reference does not have is not found");
  const std::lock_guard lock(callbacks_mutex_);
  callbacks_.push_back(
      {std::string(name), std::string(help), std::string(labels), true, std::move(read)});
}

void Metrics::AddCollector(Collect collect) {
  const std::lock_guard lock(callbacks_mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Metrics::Text() const {
  std::string out;
  out.reserve(16 << 10);
  const auto sum = [this](auto&& pick) {
    std::int64_t total = 0;
    for (const auto& shard : shards_) total += pick(*shard).Get();
    return total;
  };
  const auto line = [&](std::string_view name, std::string_view labels, std::int64_t value) {
    if (labels.empty()) {
      fmt::format_to(std::back_inserter(out), "{} {}\n", name, value);
    } else {
      fmt::format_to(std::back_inserter(out), "{}{{{}}} {}\n", name, labels, value);
    }
  };
  const auto plain = [&](DescriptionIndex index, std::int64_t value) {
    AppendHead(index, out);
    line(kDescriptions[index].name, "", value);
  };

  // Series that never counted are left out, except the good ones: a rate over a series that
  // appears only with the first failure misses that failure.
  AppendHead(kRequestsTotal, out);
  for (std::size_t op = 0; op < kOperations.size(); ++op) {
    for (std::size_t ending = 0; ending < kEndings; ++ending) {
      for (std::size_t status = 0; status < kStatuses; ++status) {
        const std::int64_t n =
            sum([&](const Shard& s) -> const Count& { return s.requests[op][ending][status]; });
        const bool good = ending == static_cast<std::size_t>(EndingKind::kServed) && status == 2;
        if (n == 0 && !good) continue;
        const std::string labels =
            fmt::format(R"(operation="{}",ending="{}",status="{}")", kOperations[op],
                        Name(static_cast<EndingKind>(ending)),
                        status == 0 ? "none" : fmt::format("{}xx", status));
        line(kDescriptions[kRequestsTotal].name, labels, n);
      }
    }
  }
  AppendHead(kRefusalsTotal, out);
  for (std::size_t op = 0; op < kOperations.size(); ++op) {
    for (const RefusalText& text : kRefusalTexts) {
      const std::int64_t n = sum([&](const Shard& s) -> const Count& {
        return s.refusals[op][static_cast<std::size_t>(text.refusal)];
      });
      if (n == 0) continue;
      line(kDescriptions[kRefusalsTotal].name,
           fmt::format(R"(operation="{}",refusal="{}")", kOperations[op], text.name), n);
    }
  }
  AppendHead(kTokensTotal, out);
  for (std::size_t kind = 0; kind < kTokenKinds.size(); ++kind) {
    line(kDescriptions[kTokensTotal].name, fmt::format(R"(kind="{}")", kTokenKinds[kind]),
         sum([&](const Shard& s) -> const Count& { return s.tokens[kind]; }));
  }
  AppendHead(kAudioTotal, out);
  fmt::format_to(
      std::back_inserter(out), "{} {}\n", kDescriptions[kAudioTotal].name,
      SecondsText(sum([](const Shard& s) -> const Count& { return s.audio_ms; }) * (kS / 1000)));
  AppendHead(kEstimatedTotal, out);
  for (const UsageSource source : {UsageSource::kEstimated, UsageSource::kCheckpoint}) {
    line(kDescriptions[kEstimatedTotal].name, fmt::format(R"(source="{}")", Name(source)),
         sum([&](const Shard& s) -> const Count& {
           return s.usage_sources[static_cast<std::size_t>(source)];
         }));
  }
  plain(kAttemptsTotal, sum([](const Shard& s) -> const Count& { return s.attempts; }));
  plain(kChargedTotal, sum([](const Shard& s) -> const Count& { return s.charged; }));
  plain(kOverrunTotal, sum([](const Shard& s) -> const Count& { return s.overrun; }));
  plain(kWalletLowTotal, sum([](const Shard& s) -> const Count& { return s.wallet_low; }));

  const auto histogram = [&](DescriptionIndex description, HistogramIndex index,
                             const Bounds& bounds) {
    AppendHead(description, out);
    const std::string_view name = kDescriptions[description].name;
    // The count is the sum of the buckets read, not a figure of its own: a reader could otherwise
    // see a count that no bucket explains.
    std::int64_t cumulative = 0;
    for (std::size_t i = 0; i <= bounds.size(); ++i) {
      cumulative +=
          sum([&](const Shard& s) -> const Count& { return s.histograms[index].buckets[i]; });
      fmt::format_to(std::back_inserter(out), "{}_bucket{{le=\"{}\"}} {}\n", name,
                     i == bounds.size() ? "+Inf" : SecondsText(bounds[i]), cumulative);
    }
    const std::int64_t sum_ns =
        sum([&](const Shard& s) -> const Count& { return s.histograms[index].sum_ns; });
    fmt::format_to(std::back_inserter(out), "{}_sum {}\n{}_count {}\n", name, SecondsText(sum_ns),
                   name, cumulative);
  };
  histogram(kDurationSeconds, kDuration, kLongBounds);
  histogram(kFirstByteSeconds, kFirstByte, kLongBounds);
  histogram(kOverheadSeconds, kOverhead, kShortBounds);
  histogram(kDurableSeconds, kDurable, kShortBounds);

  plain(kRequestsGauge, Now(Live::kRequests));
  AppendHead(kBuildInfo, out);
  line(kDescriptions[kBuildInfo].name, fmt::format(R"(version="{}")", version_), 1);
  AppendHead(kStartTime, out);
  fmt::format_to(std::back_inserter(out), "{} {}\n", kDescriptions[kStartTime].name,
                 SecondsText(started_at_.ns));

  const std::lock_guard lock(callbacks_mutex_);
  std::vector<bool> done(callbacks_.size(), false);
  for (std::size_t i = 0; i < callbacks_.size(); ++i) {
    if (done[i]) continue;
    AppendHead(callbacks_[i].name, callbacks_[i].help, callbacks_[i].counter ? "counter" : "gauge",
               out);
    for (std::size_t j = i; j < callbacks_.size(); ++j) {
      if (callbacks_[j].name != callbacks_[i].name) continue;
      line(callbacks_[j].name, callbacks_[j].labels, callbacks_[j].read());
      done[j] = true;
    }
  }
  for (const Collect& collect : collectors_) {
    for (const Family& family : collect()) {
      const auto* const described =
          std::ranges::find(kDescriptions, family.name, &MetricDescription::name);
      CHECK(described != kDescriptions.end(),
            "a figure that the reference does not have is not found");
      AppendHead(described->name, described->help, described->type, out);
      for (const Series& series : family.series) line(family.name, series.labels, series.value);
    }
  }
  return out;
}

const std::vector<MetricDescription>& MetricDescriptions() {
  static const std::vector<MetricDescription> all(kDescriptions.begin(), kDescriptions.end());
  return all;
}

}  // namespace weir::telemetry
