#include "identity/authenticate.h"

#include <cstddef>
#include <optional>

namespace weir::identity {
namespace {

constexpr std::string_view kBlanks = " \t";

std::string_view Trim(std::string_view text) {
  const auto from = text.find_first_not_of(kBlanks);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlanks) - from + 1);
}

// "Bearer x" -> x, "Bearer" -> nothing, anything else -> itself. `text` is trimmed.
std::string_view WithoutBearer(std::string_view text) {
  constexpr std::string_view kBearer = "bearer";
  if (text.size() < kBearer.size()) return text;
  for (std::size_t i = 0; i < kBearer.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kBearer[i]) return text;
  }
  const std::string_view rest = text.substr(kBearer.size());
  if (!rest.empty() && !kBlanks.contains(rest.front())) return text;  // a key that begins so
  return Trim(rest);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A '%' that begins no escape stays what it is: the result is only compared, never acted on. So
// does '+', which a key may contain and a key in a query has no reason to use for a space.
void PercentDecode(std::string_view text, std::string& decoded) {
  decoded.clear();
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        decoded += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    decoded += text[i];
  }
}

std::string_view KeyOfQuery(std::string_view query, std::string& scratch) {
  constexpr std::string_view kName = "key=";
  while (!query.empty()) {
    const auto end = query.find('&');
    std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    if (!pair.starts_with(kName)) continue;
    pair.remove_prefix(kName.size());
    if (pair.empty()) continue;
    if (!pair.contains('%')) return pair;
    PercentDecode(pair, scratch);
    return Trim(scratch);
  }
  return {};
}

}  // namespace

std::string_view ExtractKey(const PresentedHeaders& headers, std::string& scratch) {
  if (const auto key = Trim(headers.x_api_key); !key.empty()) return key;
  if (const auto key = Trim(headers.x_goog_api_key); !key.empty()) return key;
  if (const auto key = WithoutBearer(Trim(headers.authorization)); !key.empty()) return key;
  if (const auto key = Trim(headers.api_key); !key.empty()) return key;
  return KeyOfQuery(headers.query, scratch);
}

std::expected<Principal, Refusal> JudgeDigest(const KeyTable& table, const KeyDigest& digest,
                                              bool length_ok, std::string_view environment,
                                              Instant now) {
  // Stands in for a key that does not exist, so that the comparisons below are made all the same.
  static const KeyRecord kNobody = [] {
    KeyRecord nobody;
    nobody.state = KeyState::kRevoked;
    return nobody;
  }();
  static constexpr PreviousSecret kNoSecret{};

  const KeyRecordPtr* found = table.FindByDigest(digest);
  const KeyRecord& key = found != nullptr ? **found : kNobody;
  const PreviousSecret& previous = key.previous ? *key.previous : kNoSecret;

  // All computed before any is looked at: no check is skipped because an earlier one failed.
  const bool by_current = EqualsInConstantTime(digest, key.digest);
  const bool by_previous = EqualsInConstantTime(digest, previous.digest);
  const bool overlapping = key.previous.has_value() && now < previous.valid_until;
  const bool unexpired = now < key.expires_at.value_or(Instant{INT64_MAX});
  const bool active = key.state == KeyState::kActive;
  const bool here = key.environment == environment;
  const bool secret_good = by_current || (by_previous && overlapping);
  const bool good = length_ok && found != nullptr && secret_good && active && unexpired && here;
  if (!good) return std::unexpected(Refusal::kInvalidApiKey);
  return Principal{*found, !by_current};
}

}  // namespace weir::identity
