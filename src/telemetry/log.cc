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
#include <cstring>
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

// Printable ASCII without anything to escape, as nearly every text is. Looks at all of it rather
// than stopping early, which lets the compiler look at many bytes at once.
bool IsPlain(std::string_view text) {
  bool plain = true;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    plain &= (byte >= 0x20) & (byte < 0x7F) & (byte != '"') & (byte != '\\');
  }
  return plain;
}

// Of all attributes of a request together; nearly always less.
constexpr std::size_t kAttributesKept = 512;

// Places of the queue keep their memory for the next record, but not what a hostile text took.
void FreeLong(ExchangeRecord& record) {
  for (std::string* text :
       {&record.operation, &record.model, &record.model_served, &record.upstream, &record.action}) {
    if (text->capacity() > kTextBytesMax) std::string().swap(*text);
  }
  if (record.attributes.capacity() > kAttributesKept) record.attributes = Attributes();
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

// The date that `days` after 1970-01-01 is in the proleptic Gregorian calendar, counted in eras of
// 400 years that begin on 1 March, so that the leap day is the last of its year.
struct Date {
  std::int64_t year;
  std::int64_t month;
  std::int64_t day;
};

Date DateOf(std::int64_t days) {
  const std::int64_t z = days + 719'468;
  const std::int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const std::int64_t day_of_era = z - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const std::int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * shifted_month + 2) / 5 + 1};
}

// Puts the pieces of one line side by side in an array and checks no bounds: what each may put is
// bounded, and the array is large enough for the longest exchange line. With a growing string the
// hundred and twenty pieces of a line cost twice as much.
class LineWriter {
 public:
  template <std::size_t kSize>
  void Literal(const char (&text)[kSize]) {
    std::memcpy(to_, text, kSize - 1);
    to_ += kSize - 1;
  }
  // A name of our own, a few letters.
  void Known(std::string_view text) {
    std::memcpy(to_, text.data(), text.size());
    to_ += text.size();
  }
  void Flag(bool value) { value ? Literal("true") : Literal("false"); }
  void Number(std::int64_t value) { to_ = std::to_chars(to_, to_ + kNumberBytes, value).ptr; }
  // `prefix` and the id as a JSON string, or null for none.
  void Id(std::string_view prefix, const Id128& id) {
    if (id.empty()) return Literal("null");
    *to_++ = '"';
    Known(prefix);
    const auto text = IdText(id);
    Known({text.data(), text.size()});
    *to_++ = '"';
  }
  // Any text as a JSON string, cut at kTextBytesMax; or null for none.
  void Text(std::string_view text) {
    if (text.empty()) return Literal("null");
    if (text.size() <= kTextBytesMax && IsPlain(text)) {
      *to_++ = '"';
      Known(text);
      *to_++ = '"';
      return;
    }
    std::string escaped;
    AppendJsonText(text, kTextBytesMax, escaped);
    Known(escaped);
  }
  // "2026-01-31T23:59:59.123456Z".
  void Time(Instant instant) {
    constexpr std::int64_t kDayNs = 86'400LL * 1'000'000'000;
    std::int64_t days = instant.ns / kDayNs;
    std::int64_t in_day = instant.ns % kDayNs;
    if (in_day < 0) {
      in_day += kDayNs;
      --days;
    }
    const Date date = DateOf(days);
    const std::int64_t seconds = in_day / 1'000'000'000;
    Digits<4>(date.year);
    *to_++ = '-';
    Digits<2>(date.month);
    *to_++ = '-';
    Digits<2>(date.day);
    *to_++ = 'T';
    Digits<2>(seconds / 3600);
    *to_++ = ':';
    Digits<2>(seconds / 60 % 60);
    *to_++ = ':';
    Digits<2>(seconds % 60);
    *to_++ = '.';
    Digits<6>(in_day % 1'000'000'000 / 1000);
    *to_++ = 'Z';
  }

  std::string_view view() const { return {line_, static_cast<std::size_t>(to_ - line_)}; }

 private:
  // The years that an Instant reaches, 1677 to 2262, have four digits.
  template <int kCount>
  void Digits(std::int64_t value) {
    for (int i = kCount; i-- > 0; value /= 10) to_[i] = static_cast<char>('0' + value % 10);
    to_ += kCount;
  }

  static constexpr std::size_t kNumberBytes = 20;  // of INT64_MIN
  // Escaped, a byte becomes six; quotes and an ellipsis come to that.
  static constexpr std::size_t kEscapedBytes = 6 * kTextBytesMax + 8;
  // The attributes, and ten texts besides.
  static constexpr std::size_t kTexts = 10 + config::kDimensions;
  static constexpr std::size_t kTheRest = 1792;  // names, ids, the time and 21 numbers
  char line_[kTexts * kEscapedBytes + kTheRest];
  char* to_ = line_;
};

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
  if (text.size() <= bytes_max && IsPlain(text)) {
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
  LineWriter text;
  text.Time(instant);
  return std::string(text.view());
}

void AppendExchangeLine(const ExchangeRecord& record, std::string& out) {
  const Duration overhead = record.total - record.upstream_time - record.queue_time;
  LineWriter line;
  line.Literal("{\"ts\":\"");
  line.Time(record.started_at + record.total);
  line.Literal("\",\"level\":\"");
  line.Known(Name(LevelOf(record)));
  line.Literal("\",\"msg\":\"exchange\",\"request_id\":");
  line.Id("req_", record.request);
  line.Literal(",\"key_id\":");
  line.Id("key_", record.key);
  line.Literal(",\"operation\":");
  line.Text(record.operation);
  line.Literal(",\"model\":");
  line.Text(record.model);
  line.Literal(",\"model_served\":");
  line.Text(record.model_served);
  line.Literal(",\"upstream\":");
  line.Text(record.upstream);
  line.Literal(",\"attempts\":");
  line.Number(record.attempts);
  if (!record.sticky.empty()) {
    line.Literal(",\"sticky\":\"");
    line.Known(record.sticky);
    line.Literal("\"");
  }
  if (!record.changes.empty()) {
    line.Literal(",\"changes\":");
    line.Text(record.changes);
  }
  if (!record.attributes.empty()) {
    line.Literal(",\"attributes\":{");
    bool first = true;
    record.attributes.ForEach([&](config::Dimension dimension, std::string_view value) {
      if (!std::exchange(first, false)) line.Literal(",");
      line.Literal("\"");
      line.Known(Name(dimension));
      line.Literal("\":");
      line.Text(value);
    });
    line.Literal("}");
  }
  for (const auto& [name, text] : {std::pair(std::string_view("action"), &record.action),
                                   {"policy_refused", &record.policy_refused},
                                   {"policy_degraded", &record.policy_degraded},
                                   {"policies_shadow", &record.policies_shadow}}) {
    if (text->empty()) continue;
    line.Literal(",\"");
    line.Known(name);
    line.Literal("\":");
    line.Text(*text);
  }
  line.Literal(",\"status\":");
  line.Number(record.status);
  line.Literal(",\"ending\":\"");
  line.Known(Name(record.ending));
  line.Literal("\",\"refusal\":");
  line.Text(record.refusal == Refusal::kNone ? std::string_view() : TextOf(record.refusal).name);
  line.Literal(",\"stream\":");
  line.Flag(record.stream);
  line.Literal(",\"sandbox\":");
  line.Flag(record.sandbox);
  line.Literal(",\"input_tokens\":");
  line.Number(record.usage.input_tokens);
  line.Literal(",\"cached_tokens\":");
  line.Number(record.usage.cached_input_tokens);
  line.Literal(",\"output_tokens\":");
  line.Number(record.usage.output_tokens);
  line.Literal(",\"reasoning_tokens\":");
  line.Number(record.usage.reasoning_tokens);
  if (record.usage.audio_ms != 0) {
    line.Literal(",\"audio_ms\":");
    line.Number(record.usage.audio_ms);
  }
  line.Literal(",\"usage_source\":\"");
  line.Known(Name(record.usage.source));
  line.Literal("\",\"held_nano_usd\":");
  line.Number(record.held.n);
  line.Literal(",\"charged_nano_usd\":");
  line.Number(record.charged.n);
  line.Literal(",\"overrun_nano_usd\":");
  line.Number(record.overrun.n);
  if (record.wallet) {
    line.Literal(",\"wallet_unit\":\"");
    line.Known(record.wallet->unit);
    line.Literal("\",\"multiplier_ppm\":");
    line.Number(record.wallet->multiplier_ppm);
    line.Literal(",\"wallet_held\":");
    line.Number(record.wallet->held);
    line.Literal(",\"wallet_charged\":");
    line.Number(record.wallet->charged);
    line.Literal(",\"wallet_overrun\":");
    line.Number(record.wallet->overrun);
    line.Literal(",\"wallet_left\":");
    line.Number(record.wallet->left);
  }
  line.Literal(",\"total_us\":");
  line.Number(record.total.ns / 1000);
  if (record.queue_time.ns != 0) {
    line.Literal(",\"queue_us\":");
    line.Number(record.queue_time.ns / 1000);
  }
  line.Literal(",\"upstream_us\":");
  line.Number(record.upstream_time.ns / 1000);
  line.Literal(",\"first_byte_us\":");
  line.Number(record.first_byte.ns / 1000);
  line.Literal(",\"durable_us\":");
  line.Number(record.durable_time.ns / 1000);
  line.Literal(",\"overhead_us\":");
  line.Number(std::max<std::int64_t>(overhead.ns, 0) / 1000);
  line.Literal("}\n");
  out += line.view();
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

void Log::Exchange(const ExchangeRecord& record) {
  if (!options_.exchanges || LevelOf(record) < options_.least) return;
  Put([&](Item& item) {
    item.record = record;
    item.is_line = false;
  });
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
  Put([&](Item& item) {
    item.line = std::move(line);
    item.is_line = true;
  });
}

template <class Fill>
void Log::Put(Fill&& fill) {
  if (!ring_.Push(fill)) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // Only the first line after the writer went to sleep pays for waking it. The fence pairs with
  // Run's: either the writer sees the line before it sleeps, or we see that it lowered the flag.
  std::atomic_thread_fence(std::memory_order_seq_cst);
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
  pthread_setname_np(pthread_self(), "weir-log");
  for (;;) {
    wake_.wait(0, std::memory_order_seq_cst);
    // Awake, it looks again for as long as lines come.
    bool wrote = true;
    while (wrote && !stop_.load(std::memory_order_seq_cst)) {
      std::this_thread::sleep_for(kGather);
      wrote = WriteQueued();
    }
    // Lowered before the queue and the order to stop are read: what comes from here on raises it
    // again.
    wake_.store(0, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool stopping = stop_.load(std::memory_order_seq_cst);
    WriteQueued();
    if (stopping) return;
  }
}

// True when there was something.
bool Log::WriteQueued() {
  std::size_t written = 0;
  for (;;) {
    batch_.clear();
    std::size_t taken = 0;
    const auto take = [&](Item& item) {
      if (item.is_line) {
        batch_ += item.line;
        std::string().swap(item.line);
      } else {
        AppendExchangeLine(item.record, batch_);
        FreeLong(item.record);
      }
    };
    while (batch_.size() < kBatchBytes && ring_.Pop(take)) ++taken;
    if (taken == 0) return written > 0;
    written += taken;
    const std::int64_t dropped = dropped_.load(std::memory_order_relaxed);
    if (dropped > reported_) {
      AppendHead(options_.now(), Level::kWarning, "log lines were dropped", batch_);
      fmt::format_to(std::back_inserter(batch_), ",\"dropped_lines\":{}}}\n", dropped - reported_);
    }
    if (WriteAll(batch_)) {
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
