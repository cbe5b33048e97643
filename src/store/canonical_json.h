// JSON in the one form that RFC 8785 gives a value, for what is signed: members in order of their
// names, no blanks, one way to write a text. Of the values it can hold only those that need no
// floating point: texts, whole numbers up to 2^53 - 1, true, false, null, lists, objects with names
// in ASCII.
//
// Pure. Values of one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace weir::store {

// The largest number every reader takes exactly. Amounts of money are texts instead.
inline constexpr std::int64_t kCanonicalNumberMax = (std::int64_t{1} << 53) - 1;

// `text` in quotes. Bytes that are not UTF-8 become U+FFFD.
std::string CanonicalText(std::string_view text);

// An object, member by member in any order. A name is given once.
class CanonicalObject {
 public:
  CanonicalObject& Text(std::string_view name, std::string_view value);
  CanonicalObject& TextOrNull(std::string_view name, std::string_view value);  // empty: null
  // Clamped to what can be written.
  CanonicalObject& Number(std::string_view name, std::int64_t value);
  CanonicalObject& Flag(std::string_view name, bool value);
  CanonicalObject& Null(std::string_view name);
  // A value that is canonical already.
  CanonicalObject& Json(std::string_view name, std::string json);
  std::string Write() const;

 private:
  std::vector<std::pair<std::string, std::string>> members_;
};

std::string CanonicalList(std::span<const std::string> items);  // canonical already

// Any JSON text of an object as a canonical one, without the member `left_out` of the outermost.
//   fails  kBadInput: not JSON, not an object, deeper than 32, a name twice or not in ASCII, a
//   number
//          that is not whole or too large. The detail says which.
Result<std::string> Canonicalised(std::string_view text, std::string_view left_out = {});

}  // namespace weir::store
