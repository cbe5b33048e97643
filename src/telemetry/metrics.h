// What the gateway counts, and the Prometheus text of it.
//
// Each worker writes one shard: cache lines nobody else writes, relaxed atomics with a single
// writer, so counting costs a few plain adds and takes no lock. A scrape sums the shards; it may
// see an exchange half counted, which the next scrape corrects.
//
// Labels are bounded by construction: operations, endings, statuses and refusals are closed lists.
// Models and keys are not labels here. Model names come from callers when a wildcard route exists,
// and keys are unbounded; both are answered by the request log instead.
//
// Figures are integers inside: nanoseconds, tokens, nano-USD. Only the text has decimals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "telemetry/exchange_record.h"

namespace weir::telemetry {

// What is in progress on a worker now.
enum class Live : std::uint8_t {
  kRequests,  // between the head of a request and the end of its reply
};

class Metrics {
 public:
  // `shards`: one per worker, >= 1. `version` is the label of weir_build_info, `started_at` the
  // process start time shown.
  Metrics(std::int32_t shards, std::string_view version, Instant started_at);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Counts one finished exchange. Only the thread that owns `shard` (0 <= shard < shards) may call.
  //   cost   some thirty adds, no allocation, no lock
  void RecordExchange(std::int32_t shard, const ExchangeRecord& record);

  // Moves a gauge of what is in progress by `delta`. Only the thread that owns `shard` may call.
  void Move(std::int32_t shard, Live what, std::int64_t delta);

  // Sum over all workers; any thread. For drain and the status page.
  std::int64_t Now(Live what) const;

  // Registers a figure that is read when a scrape asks for it, on the scraping thread. `name` must
  // be in the table of metrics.cc, from which the reference is made. `labels` is empty or finished
  // label text (`state="active"`); registering one name with several labels makes one family, whose
  // help text is the first one's.
  using Read = std::function<std::int64_t()>;
  void AddGauge(std::string_view name, std::string_view help, std::string_view labels, Read read);
  void AddCounter(std::string_view name, std::string_view help, std::string_view labels, Read read);

  // Registers figures whose series come and go, such as one for each account. `collect` is called
  // once for each scrape, on the scraping thread. Types and help texts are those of the table;
  // whoever collects bounds the number of series. A family is collected in one place only.
  struct Series {
    std::string labels;  // finished label text
    std::int64_t value = 0;
  };
  struct Family {
    std::string_view name;  // in the table of metrics.cc
    std::vector<Series> series;
  };
  using Collect = std::function<std::vector<Family>()>;
  void AddCollector(Collect collect);

  // The exposition text (version 0.0.4, what `promtool check metrics` reads). Any thread but a
  // worker that serves requests: it sums everything and takes a lock.
  std::string Text() const;

 private:
  struct Shard;
  struct Callback {
    std::string name;
    std::string help;
    std::string labels;
    bool counter;
    Read read;
  };

  std::vector<std::unique_ptr<Shard>> shards_;
  std::string version_;
  Instant started_at_;
  mutable std::mutex callbacks_mutex_;
  std::vector<Callback> callbacks_;
  std::vector<Collect> collectors_;
};

// The content type of Text().
inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// One row of the generated metrics reference.
struct MetricDescription {
  std::string_view name;
  std::string_view type;    // counter, gauge, histogram
  std::string_view labels;  // comma separated names, or empty
  std::string_view help;
};
const std::vector<MetricDescription>& MetricDescriptions();

}  // namespace weir::telemetry
