#include "config/scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <span>

namespace weir::config {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array<Unit, 5> kByteUnits{
    {{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}};
constexpr std::int64_t kNsPerDay = 86'400'000'000'000;
constexpr std::array<Unit, 6> kTimeUnits{{{"us", 1'000},
                                          {"ms", 1'000'000},
                                          {"s", 1'000'000'000},
                                          {"m", 60'000'000'000},
                                          {"h", 3'600'000'000'000},
                                          {"d", kNsPerDay}}};

std::optional<std::int64_t> ParseWithUnit(std::string_view text, std::span<const Unit> units) {
  const auto digits =
      static_cast<std::size_t>(std::ranges::find_if_not(text, IsDigit) - text.begin());
  const auto count = ParseCount(text.substr(0, digits));
  if (!count) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.name != text.substr(digits)) continue;
    std::int64_t value = 0;
    if (__builtin_mul_overflow(*count, unit.factor, &value)) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

std::string FormatWithUnit(std::int64_t value, std::span<const Unit> units) {
  for (std::size_t i = units.size(); i-- > 0;) {
    if (value != 0 && value % units[i].factor == 0) {
      return std::to_string(value / units[i].factor) + std::string(units[i].name);
    }
  }
  return std::to_string(value);
}

// Takes exactly `digits` digits from the front of `text`.
bool TakeNumber(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits) return false;
  value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (!IsDigit(text[i])) return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool Take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// ".5" -> 500,000,000. At most nine digits: there is nothing below a nanosecond.
bool TakeFraction(std::string_view& text, std::int64_t& ns) {
  ns = 0;
  if (!Take(text, '.')) return true;
  std::int64_t weight = 100'000'000;
  bool any = false;
  while (!text.empty() && IsDigit(text.front())) {
    if (weight == 0) return false;
    ns += (text.front() - '0') * weight;
    weight /= 10;
    any = true;
    text.remove_prefix(1);
  }
  return any;
}

// "2027-01-31", a day of `year_min`..2261, as seconds since 1970.
bool TakeDate(std::string_view& text, int year_min, std::int64_t& seconds) {
  int year = 0;
  int month = 0;
  int day = 0;
  if (!TakeNumber(text, 4, year) || !Take(text, '-') || !TakeNumber(text, 2, month) ||
      !Take(text, '-') || !TakeNumber(text, 2, day)) {
    return false;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || year < year_min || year > 2261) return false;
  seconds = std::chrono::sys_days(date).time_since_epoch().count() * std::int64_t{86'400};
  return true;
}

// "Z" or "+01:00", as seconds to take off.
bool TakeZone(std::string_view& text, std::int64_t& seconds) {
  seconds = 0;
  if (Take(text, 'Z') || Take(text, 'z')) return true;
  const bool negative = text.starts_with('-');
  if (!negative && !text.starts_with('+')) return false;
  text.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  if (!TakeNumber(text, 2, hours) || !Take(text, ':') || !TakeNumber(text, 2, minutes))
    return false;
  if (hours > 23 || minutes > 59) return false;
  seconds = (hours * 60 + minutes) * 60;
  if (negative) seconds = -seconds;
  return true;
}

std::string Padded(std::int64_t value, std::size_t width) {
  std::string text = std::to_string(value);
  return std::string(width - std::min(width, text.size()), '0') + text;
}

// The date of a moment, in seconds since 1970.
std::string DateText(std::int64_t seconds) {
  const std::chrono::sys_days day{std::chrono::days{seconds / 86'400}};
  const std::chrono::year_month_day date{day};
  return Padded(static_cast<int>(date.year()), 4) + "-" +
         Padded(static_cast<unsigned>(date.month()), 2) + "-" +
         Padded(static_cast<unsigned>(date.day()), 2);
}

std::optional<std::uint16_t> ParsePort(std::string_view text, bool zero_allowed) {
  if (text.size() > 5) return std::nullopt;
  const auto port = ParseCount(text);
  if (!port || *port < (zero_allowed ? 0 : 1) || *port > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

bool IsIpv4(std::string_view text) {
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && !Take(text, '.')) return false;
    const auto end = std::min(text.find('.'), text.size());
    const auto value = ParseCount(text.substr(0, end));
    if (end > 3 || !value || *value < 0 || *value > 255) return false;
    text.remove_prefix(end);
  }
  return text.empty();
}

// Groups of one to four hex digits, eight of them or fewer around one "::".
bool IsIpv6(std::string_view text) {
  int groups = 0;
  bool gap = false;
  if (text.starts_with("::")) {
    gap = true;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    const auto end = std::min(text.find(':'), text.size());
    const std::string_view group = text.substr(0, end);
    const bool hex = std::ranges::all_of(group, [](char c) {
      return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    });
    if (group.empty() || group.size() > 4 || !hex) {
      if (end != text.size() || !IsIpv4(group)) return false;
      groups += 2;  // the last 32 bits written as an IPv4 address
      text = {};
      break;
    }
    ++groups;
    text.remove_prefix(end);
    if (text.empty()) break;
    text.remove_prefix(1);
    if (text.starts_with(':')) {
      if (gap) return false;
      gap = true;
      text.remove_prefix(1);
    } else if (text.empty()) {
      return false;  // ends in one ':'
    }
  }
  return gap ? groups < 8 : groups == 8;
}

bool IsHostName(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  std::size_t label = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.') {
      if (label == 0 || text[i - 1] == '-') return false;
      label = 0;
      continue;
    }
    if (!IsLetter(c) && !IsDigit(c) && c != '_' && (c != '-' || label == 0)) return false;
    if (++label > 63) return false;
  }
  if (label == 0 || text.back() == '-') return false;
  // A name whose last label is a number is an address or a mistyped one: 127.0.0.256, 0x7f.1, 10.
  const std::string_view last = text.substr(text.rfind('.') + 1);
  return !IsDigit(last.front()) || IsIpv4(text);
}

}  // namespace

std::optional<std::int64_t> ParseCount(std::string_view text) {
  std::string_view digits = text;
  if (digits.starts_with('-')) digits.remove_prefix(1);
  if (digits.empty() || !std::ranges::all_of(digits, IsDigit)) return std::nullopt;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;  // octal to some readers
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> ParseBytes(std::string_view text) {
  return ParseWithUnit(text, kByteUnits);
}

std::optional<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration{};
  const auto ns = ParseWithUnit(text, kTimeUnits);
  if (!ns) return std::nullopt;
  return Duration{*ns};
}

std::optional<Instant> ParseTime(std::string_view text) {
  std::int64_t seconds = 0;
  if (!TakeDate(text, 1970, seconds)) return std::nullopt;
  std::int64_t ns = 0;
  if (!text.empty()) {
    int hour = 0;
    int minute = 0;
    int second = 0;
    std::int64_t zone = 0;
    if ((!Take(text, 'T') && !Take(text, 't') && !Take(text, ' ')) || !TakeNumber(text, 2, hour) ||
        !Take(text, ':') || !TakeNumber(text, 2, minute) || !Take(text, ':') ||
        !TakeNumber(text, 2, second) || !TakeFraction(text, ns) || !TakeZone(text, zone) ||
        !text.empty()) {
      return std::nullopt;
    }
    if (hour > 23 || minute > 59 || second > 59) return std::nullopt;
    seconds += (hour * 60 + minute) * 60 + second - zone;
  }
  if (seconds < 0) return std::nullopt;
  return Instant{Seconds(seconds).ns + ns};
}

std::optional<std::int64_t> ParseLocalTime(std::string_view text) {
  std::int64_t seconds = 0;
  if (!TakeDate(text, 1900, seconds)) return std::nullopt;
  if (text.empty()) return seconds;
  int hour = 0;
  int minute = 0;
  int second = 0;
  if ((!Take(text, 'T') && !Take(text, 't') && !Take(text, ' ')) || !TakeNumber(text, 2, hour) ||
      !Take(text, ':') || !TakeNumber(text, 2, minute) ||
      (Take(text, ':') && !TakeNumber(text, 2, second)) || !text.empty()) {
    return std::nullopt;
  }
  if (hour > 23 || minute > 59 || second > 59) return std::nullopt;
  return seconds + (hour * 60 + minute) * 60 + second;
}

std::optional<Listen> ParseAddress(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = ParsePort(text.substr(colon + 1), true);
  std::string_view host = text.substr(0, colon);
  if (!port) return std::nullopt;
  if (host == "localhost") host = "127.0.0.1";
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!IsIpv6(host)) return std::nullopt;
  } else if (!IsIpv4(host)) {
    return std::nullopt;
  }
  return Listen{std::string(host), *port};
}

std::optional<Url> ParseUrl(std::string_view text) {
  Url url;
  if (text.starts_with("https://")) {
    text.remove_prefix(8);
  } else if (text.starts_with("http://")) {
    text.remove_prefix(7);
    url.tls = false;
    url.port = 80;
  } else {
    return std::nullopt;
  }
  const auto slash = std::min(text.find('/'), text.size());
  std::string_view authority = text.substr(0, slash);
  std::string_view path = text.substr(slash);

  std::string_view host = authority;
  std::string_view port_text;
  bool port_given = false;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
    if (!IsIpv6(host)) return std::nullopt;
    port_given = Take(authority, ':');
    if (!port_given && !authority.empty()) return std::nullopt;
    port_text = authority;
  } else {
    const auto colon = authority.find(':');
    host = authority.substr(0, colon);
    port_given = colon != std::string_view::npos;
    if (port_given) port_text = authority.substr(colon + 1);
    if (!IsHostName(host)) return std::nullopt;
  }
  if (port_given) {
    const auto port = ParsePort(port_text, false);
    if (!port) return std::nullopt;
    url.port = *port;
  }

  if (path.ends_with('/')) path.remove_suffix(1);
  if (path.size() > 512 || path.contains("//")) return std::nullopt;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (!IsLetter(c) && !IsDigit(c) && c != '/' && c != '-' && c != '_' && c != '.' && c != '~') {
      return std::nullopt;
    }
  }
  for (std::string_view rest = path; !rest.empty();) {
    rest.remove_prefix(1);  // its '/'
    const auto end = std::min(rest.find('/'), rest.size());
    const std::string_view segment = rest.substr(0, end);
    if (segment.empty() || segment == "." || segment == "..") return std::nullopt;
    rest.remove_prefix(end);
  }
  url.host = host;
  std::ranges::transform(url.host, url.host.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  url.path = path;
  return url;
}

std::optional<Proxy> ParseProxy(std::string_view text) {
  auto url = ParseUrl(text);
  if (!url || url->tls || !url->path.empty()) return std::nullopt;
  // ParseUrl fills in port 80, which no proxy is at: whoever left the port out forgot it.
  const auto colon = text.rfind(':');
  const bool port_given =
      colon > text.find("//") && text.find(']', colon) == std::string_view::npos;
  if (!port_given) return std::nullopt;
  return Proxy{std::move(url->host), url->port};
}

std::string FormatBytes(std::int64_t bytes) {
  return FormatWithUnit(bytes, std::span(kByteUnits).subspan(2));
}

std::string FormatDuration(Duration duration) {
  // A day is written 24h; days begin to be easier to read with the second.
  const std::size_t units = duration.ns > kNsPerDay ? kTimeUnits.size() : kTimeUnits.size() - 1;
  return FormatWithUnit(duration.ns, std::span(kTimeUnits).first(units));
}

std::string FormatTime(Instant instant) {
  const std::int64_t seconds = instant.ns / Seconds(1).ns;
  std::string text = DateText(seconds) + "T" + Padded(seconds / 3600 % 24, 2) + ":" +
                     Padded(seconds / 60 % 60, 2) + ":" + Padded(seconds % 60, 2);
  std::string fraction = Padded(instant.ns % Seconds(1).ns, 9);
  fraction.resize(fraction.find_last_not_of('0') + 1);
  if (!fraction.empty()) text += "." + fraction;
  return text + "Z";
}

std::string FormatLocalTime(std::int64_t seconds) {
  const std::int64_t of_day = (seconds % 86'400 + 86'400) % 86'400;
  std::string text = DateText(seconds - of_day) + "T" + Padded(of_day / 3600, 2) + ":" +
                     Padded(of_day / 60 % 60, 2);
  if (of_day % 60 != 0) text += ":" + Padded(of_day % 60, 2);
  return text;
}

std::string FormatAddress(const Listen& listen) {
  const bool v6 = listen.host.contains(':');
  return (v6 ? "[" + listen.host + "]" : listen.host) + ":" + std::to_string(listen.port);
}

std::optional<Multiplier> ParseMultiplier(std::string_view text) {
  if (text.starts_with('x')) text.remove_prefix(1);
  // Both have six decimals.
  const auto millionths = ParseUsdPerMillion(text);
  if (!millionths) return std::nullopt;
  return Multiplier{millionths->p};
}

std::string FormatMultiplier(const Multiplier& multiplier) {
  return FormatUsdPerMillion({multiplier.ppm});
}

std::string FormatProxy(const Proxy& proxy) {
  return fmt::format("http://{}:{}", proxy.host.contains(':') ? "[" + proxy.host + "]" : proxy.host,
                     proxy.port);
}

std::string FormatUrl(const Url& url) {
  if (url.host.empty()) return {};
  std::string text = url.tls ? "https://" : "http://";
  text += url.host.contains(':') ? "[" + url.host + "]" : url.host;
  if (url.port != (url.tls ? 443 : 80)) text += ":" + std::to_string(url.port);
  return text + url.path;
}

std::string FormatUsdPerMillion(PicoUsdPerUnit price) {
  std::string text = std::to_string(price.p / 1'000'000);
  std::string fraction = std::to_string(price.p % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  fraction.resize(std::max<std::size_t>(fraction.find_last_not_of('0') + 1, 2));
  return text + "." + fraction;
}

}  // namespace weir::config
