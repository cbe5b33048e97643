// The forms a single value can have in the file, from its characters to a number and back. Exact:
// what cannot be represented is refused, never rounded. Private to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/money.h"
#include "base/time.h"
#include "config/config.h"

namespace weir::config {

// "0", "42", "-7": nothing else, no sign '+', no exponent, no underscore, no leading zeros.
std::optional<std::int64_t> ParseCount(std::string_view text);

// A count with B, KiB, MiB, GiB, or none, which is bytes.
std::optional<std::int64_t> ParseBytes(std::string_view text);

// A count with us, ms, s, m, h or d (24 hours). The unit is not optional: "30" has meant both 30 s
// and 30 ms.
std::optional<Duration> ParseDuration(std::string_view text);

// "2027-01-31" (its first moment, UTC) or RFC 3339 "2027-01-31T12:00:00.5+01:00", 1970..2261.
std::optional<Instant> ParseTime(std::string_view text);

// "2026-01-31", "2026-01-31T09:00" or "2026-01-31T09:00:30", 1900..2261: what clocks somewhere
// show, in seconds since they showed 1970-01-01T00:00.
std::optional<std::int64_t> ParseLocalTime(std::string_view text);

// "127.0.0.1:8080", "[::1]:8080" or "localhost:8080": an address, not a name, because a name may
// mean several and the one that is not listened on is a surprise.
std::optional<Listen> ParseAddress(std::string_view text);

struct Url {
  bool tls = true;
  std::string host;  // without brackets
  std::uint16_t port = 443;
  std::string path;  // "" or "/v1": no trailing slash
};

// "https://api.openai.com/v1". No user, no query, no fragment, no escapes, no "..".
std::optional<Url> ParseUrl(std::string_view text);

// "http://127.0.0.1:3128": the port is not optional, a user and a path are not read.
std::optional<Proxy> ParseProxy(std::string_view text);

// "3", "0.5" or "x3", with at most six decimals.
std::optional<Multiplier> ParseMultiplier(std::string_view text);

std::string FormatMultiplier(const Multiplier& multiplier);
std::string FormatProxy(const Proxy& proxy);
std::string FormatBytes(std::int64_t bytes);
std::string FormatDuration(Duration duration);
std::string FormatTime(Instant instant);
std::string FormatLocalTime(std::int64_t seconds);  // "2026-01-31T09:00", seconds if there are any
std::string FormatAddress(const Listen& listen);
std::string FormatUrl(const Url& url);
std::string FormatUsdPerMillion(PicoUsdPerUnit price);

}  // namespace weir::config
