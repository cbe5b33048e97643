// The log: one JSON object per line, one line per exchange, plus the few lines a program says about
// itself.
//
// Whoever logs hands over a value and goes on; one writer thread formats and writes in batches.
// While lines come it looks for them every 20 ms and nobody wakes it; only the first after a pause
// does. The queue is bounded: when the reader of the log is too slow, lines are dropped and
// counted, because a full pipe must not stop callers. The count is a metric and a log line of its
// own.
//
// There is no way to log a body, a key or a header: the only inputs are an ExchangeRecord, which
// has none, and fields a programmer names. Texts that come from outside (model names) are cut at
// kTextBytesMax and escaped, so one line stays one line.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <variant>

#include "base/time.h"
#include "telemetry/exchange_record.h"
#include "telemetry/ring.h"

namespace weir::telemetry {

enum class Level : std::uint8_t { kDebug, kInfo, kWarning, kError };

constexpr std::string_view Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "info";
}

// One member of a log line: {"port", 8080} or {"path", path}.
struct LogField {
  std::string_view name;  // snake_case with its unit; trusted, not escaped
  std::variant<std::int64_t, std::string_view, bool> value;

  LogField(std::string_view n, std::int64_t v) : name(n), value(v) {}
  LogField(std::string_view n, int v) : name(n), value(std::int64_t{v}) {}
  LogField(std::string_view n, bool v) : name(n), value(v) {}
  LogField(std::string_view n, std::string_view v) : name(n), value(v) {}
  LogField(std::string_view n, const char* v) : name(n), value(std::string_view(v)) {}
  LogField(std::string_view n, const std::string& v) : name(n), value(std::string_view(v)) {}
};

inline constexpr std::size_t kTextBytesMax = 256;

struct LogOptions {
  int fd = 2;                           // where lines go; not closed by the log
  bool exchanges = true;                // false: Exchange() does nothing
  Level least = Level::kInfo;           // lines below are not written
  std::size_t queue_lines_max = 16384;  // rounded up to a power of two
  Instant (*now)() = nullptr;           // for Write(); null: the system clock
};

class Log {
 public:
  explicit Log(const LogOptions& options);
  // Writes what is queued, then ends the writer.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Queues the line of one exchange. Any thread; never blocks; drops when the queue is full.
  void Exchange(const ExchangeRecord& record);

  // Queues any other line. Any thread; never blocks. Not for the path of a request: it formats.
  void Write(Level level, std::string_view message, std::initializer_list<LogField> fields = {});

  // Returns when everything queued before the call has been handed to the file descriptor.
  void Flush();

  // Lines lost to a full queue or a failed write since the start.
  std::int64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  // A record, or a line that is formatted already. Both are kept for their memory.
  struct Item {
    ExchangeRecord record;
    std::string line;
    bool is_line = false;
  };
  void Run();
  bool WriteQueued();
  bool WriteAll(std::string_view bytes);
  template <class Fill>
  void Put(Fill&& fill);

  LogOptions options_;
  bool bounded_writes_ = false;  // a pipe or a socket: its reader may stop reading
  Ring<Item> ring_;
  std::string batch_;                   // writer only; kept for its memory
  std::atomic<std::uint32_t> wake_{0};  // 1: the writer is awake, or has been woken
  std::atomic<std::int64_t> dropped_{0};
  std::atomic<std::size_t> written_{0};  // items handed to the descriptor, or lost there
  std::int64_t reported_ = 0;            // of dropped_, what a line has told; writer only
  std::atomic<bool> stop_{false};
  std::thread writer_;
};

// Appends the line of one exchange, newline included. Pure; the writer's format, for tests and for
// whoever wants the same text elsewhere.
void AppendExchangeLine(const ExchangeRecord& record, std::string& out);

// Appends `text` as a JSON string, quotes included: control characters, quotes, backslashes and
// bytes that are not UTF-8 are escaped, and what is beyond `bytes_max` is cut with an ellipsis.
void AppendJsonText(std::string_view text, std::size_t bytes_max, std::string& out);

// "2026-01-31T23:59:59.123456Z".
std::string FormatInstant(Instant instant);

}  // namespace weir::telemetry
