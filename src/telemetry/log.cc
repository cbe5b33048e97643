#include "telemetry/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <iterator>
#include <utility>

namespace weir::telemetry {

namespace {

// How long the writer lets lines gather once one has come: one wake-up and one write then serve
// them all.
constexpr auto kGather = std::chrono::milliseconds(20);
constexpr std::size_t kBatchBytes = 256 << 10;
// A pipe that poll() calls writable takes this much without blocking (pipe(7), PIPE_BUF).
constexpr std::size_t kPipeBytes = 4096;
// How long the end of the program waits for a reader that does not read, in polls of 100 ms.
constexpr int kLastPolls = 10;

Instant SystemNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

// One code point at `at`, or length 0 when the bytes there are not UTF-8 (RFC 3629: no overlong
// form, no surrogate, nothing above U+10FFFF).
struct CodePoint {
  std::uint32_t value = 0;
  std::size_t length = 0;
};

CodePoint DecodeUtf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[at + i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  std::size_t length = 0;
  std::uint32_t value = 0;
  std::uint32_t least = 0;
  if ((first & 0xE0) == 0xC0) {
    length = 2, value = first & 0x1FU, least = 0x80;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3, value = first & 0x0FU, least = 0x800;
  } else if ((first & 0xF8) == 0xF0) {
    length = 4, value = first & 0x07U, least = 0x10000;
  } else {
    return {};
  }
  if (text.size() - at < length) return {};
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3FU);
  }
  if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return {};
  return {value, length};
}

// Characters that would change how a terminal or a viewer shows the line: controls, line and
// paragraph separators, and the marks that reverse the direction of text.
bool MustEscape(std::uint32_t c) {
  return c < 0x20 || c == 0x7F || (c >= 0x80 && c < 0xA0) || (c >= 0x200E && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

Level LevelOf(const ExchangeRecord& record) {
  if (record.refusal == Refusal::kInternal || record.refusal == Refusal::kLedgerUnavailable) {
    return Level::kError;
  }
  if (record.ending == EndingKind::kUpstreamFailed || record.ending == EndingKind::kCut) {
    return Level::kWarning;
  }
  return Level::kInfo;
}

void AppendHead(Instant at, Level level, std::string_view message, std::string& out) {
  out += R"({"ts":")";
  out += FormatInstant(at);
  out += R"(","level":")";
  out += Name(level);
  out += R"(","msg":)";
  AppendJsonText(message, 4 * kTextBytesMax, out);
}

}  // namespace

void AppendJsonText(std::string_view text, std::size_t bytes_max, std::string& out) {
  // Nearly every text is plain: printable ASCII without anything to escape, in one append.
  const auto plain = [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7F &&
           c != '"' && c != '\\';
  };
  if (text.size() <= bytes_max && std::ranges::all_of(text, plain)) {
    out += '"';
    out += text;
    out += '"';
    return;
  }
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    const std::size_t length = c.length == 0 ? 1 : c.length;
    if (at + length > bytes_max) {
      out += "\xE2\x80\xA6";  // an ellipsis
      break;
    }
    if (c.length == 0) {
      out += "\\ufffd";
    } else if (c.value == '"' || c.value == '\\') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (MustEscape(c.value)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c.value);
    } else {
      out.append(text.substr(at, length));
    }
    at += length;
  }
  out += '"';
}

std::string FormatInstant(Instant instant) {
  constexpr std::int64_t kDayNs = 86'400LL * 1'000'000'000;
  std::int64_t days = instant.ns / kDayNs;
  std::int64_t in_day = instant.ns % kDayNs;
  if (in_day < 0) {
    in_day += kDayNs;
    --days;
  }
  // Days since 1970-01-01 to a date of the proleptic Gregorian calendar, in eras of 400 years that
  // begin on 1 March, so that the leap day is the last of its year.
  const std::int64_t z = days + 719'468;
  const std::int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const std::int64_t day_of_era = z - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const std::int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  const std::int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  const std::int64_t seconds = in_day / 1'000'000'000;
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", year, month, day, seconds / 3600,
                     seconds / 60 % 60, seconds % 60, in_day % 1'000'000'000 / 1000);
}

void AppendExchangeLine(const ExchangeRecord& record, std::string& out) {
  const auto text = [&](std::string_view name, std::string_view value) {
    out += ",\"";
    out += name;
    out += "\":";
    if (value.empty()) {
      out += "null";
    } else {
      AppendJsonText(value, kTextBytesMax, out);
    }
  };
  const auto number = [&](std::string_view name, std::int64_t value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
    out += ",\"";
    out += name;
    out += "\":";
    out.append(digits, end);
  };
  const auto flag = [&](std::string_view name, bool value) {
    out += ",\"";
    out += name;
    out += value ? "\":true" : "\":false";
  };
  const auto micros = [&](std::string_view name, Duration value) { number(name, value.ns / 1000); };

  const Duration overhead = record.total - record.upstream_time;
  AppendHead(record.started_at + record.total, LevelOf(record), "exchange", out);
  text("request_id", record.request.empty() ? "" : "req_" + ToString(record.request));
  text("key_id", record.key.empty() ? "" : "key_" + ToString(record.key));
  text("operation", record.operation);
  text("model", record.model);
  text("model_served", record.model_served);
  text("upstream", record.upstream);
  number("attempts", record.attempts);
  number("status", record.status);
  text("ending", Name(record.ending));
  text("refusal", record.refusal == Refusal::kNone ? "" : TextOf(record.refusal).name);
  flag("stream", record.stream);
  flag("sandbox", record.sandbox);
  number("input_tokens", record.usage.input_tokens);
  number("cached_tokens", record.usage.cached_input_tokens);
  number("output_tokens", record.usage.output_tokens);
  number("reasoning_tokens", record.usage.reasoning_tokens);
  text("usage_source", Name(record.usage.source));
  number("held_nano_usd", record.held.n);
  number("charged_nano_usd", record.charged.n);
  number("overrun_nano_usd", record.overrun.n);
  micros("total_us", record.total);
  micros("upstream_us", record.upstream_time);
  micros("first_byte_us", record.first_byte);
  micros("durable_us", record.durable_time);
  micros("overhead_us", overhead.ns < 0 ? Duration{} : overhead);
  out += "}\n";
}

Log::Log(const LogOptions& options) : options_(options), ring_(options.queue_lines_max) {
  if (options_.now == nullptr) options_.now = SystemNow;
  struct stat status{};
  if (fstat(options_.fd, &status) == 0) {
    bounded_writes_ = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode);
  }
  // The writer takes no signal: those are the server's, and a reader that went away must be an
  // error of write() here instead of the end of the process.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  writer_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Log::~Log() {
  stop_.store(true, std::memory_order_seq_cst);
  wake_.store(1, std::memory_order_seq_cst);
  wake_.notify_one();
  writer_.join();
}

void Log::Exchange(ExchangeRecord record) {
  if (!options_.exchanges || LevelOf(record) < options_.least) return;
  Put(Item(std::move(record)));
}

void Log::Write(Level level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < options_.least) return;
  std::string line;
  AppendHead(options_.now(), level, message, line);
  for (const LogField& field : fields) {
    fmt::format_to(std::back_inserter(line), ",\"{}\":", field.name);
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      AppendJsonText(*text, 4 * kTextBytesMax, line);
    } else if (const auto* flag = std::get_if<bool>(&field.value)) {
      line += *flag ? "true" : "false";
    } else {
      fmt::format_to(std::back_inserter(line), "{}", std::get<std::int64_t>(field.value));
    }
  }
  line += "}\n";
  Put(Item(std::move(line)));
}

void Log::Put(Item item) {
  if (!ring_.Push(item)) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // Only the first line after the writer went to sleep pays for waking it.
  if (wake_.load(std::memory_order_seq_cst) == 0 &&
      wake_.exchange(1, std::memory_order_seq_cst) == 0) {
    wake_.notify_one();
  }
}

void Log::Flush() {
  const std::size_t target = ring_.claimed();
  for (;;) {
    const std::size_t written = written_.load(std::memory_order_acquire);
    if (written >= target) return;
    wake_.store(1, std::memory_order_seq_cst);
    wake_.notify_one();
    written_.wait(written, std::memory_order_acquire);
  }
}

void Log::Run() {
  for (;;) {
    wake_.wait(0, std::memory_order_seq_cst);
    if (!stop_.load(std::memory_order_acquire)) std::this_thread::sleep_for(kGather);
    // Lowered before the queue and the order to stop are read: what comes from here on raises it
    // again.
    wake_.store(0, std::memory_order_seq_cst);
    const bool stopping = stop_.load(std::memory_order_seq_cst);
    WriteQueued();
    if (stopping) return;
  }
}

void Log::WriteQueued() {
  std::string batch;
  for (;;) {
    batch.clear();
    std::size_t taken = 0;
    Item item;
    while (batch.size() < kBatchBytes && ring_.Pop(item)) {
      if (const auto* record = std::get_if<ExchangeRecord>(&item)) {
        AppendExchangeLine(*record, batch);
      } else if (const auto* line = std::get_if<std::string>(&item)) {
        batch += *line;
      }
      ++taken;
    }
    if (taken == 0) return;
    const std::int64_t dropped = dropped_.load(std::memory_order_relaxed);
    if (dropped > reported_) {
      AppendHead(options_.now(), Level::kWarning, "log lines were dropped", batch);
      fmt::format_to(std::back_inserter(batch), ",\"dropped_lines\":{}}}\n", dropped - reported_);
    }
    if (WriteAll(batch)) {
      reported_ = dropped;
    } else {
      dropped_.fetch_add(static_cast<std::int64_t>(taken), std::memory_order_relaxed);
    }
    written_.fetch_add(taken, std::memory_order_release);
    written_.notify_all();
  }
}

// False when the bytes could not be written: the reader is gone, the disk is full, or the program
// ends and the reader has stopped reading.
bool Log::WriteAll(std::string_view bytes) {
  int polls_left = kLastPolls;
  while (!bytes.empty()) {
    if (bounded_writes_) {
      pollfd ready{options_.fd, POLLOUT, 0};
      const int count = poll(&ready, 1, 100);
      if (count == 0 && stop_.load(std::memory_order_acquire) && --polls_left == 0) return false;
      if (count == 0 || (count < 0 && errno == EINTR)) continue;
    }
    const std::size_t size = bounded_writes_ ? std::min(bytes.size(), kPipeBytes) : bytes.size();
    const ssize_t written = write(options_.fd, bytes.data(), size);
    if (written > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0 || (errno != EINTR && errno != EAGAIN)) {
      return false;
    } else if (errno == EAGAIN) {
      bounded_writes_ = true;  // a terminal that someone made non-blocking: wait for it, too
    }
  }
  return true;
}

}  // namespace weir::telemetry
