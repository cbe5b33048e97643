// Looking into JSON text that is kept as text: a strict check of the whole, and then cursors that
// hand out members and elements as views of the very bytes. For what must copy parts of a document
// without writing them again (codex_adapt, stream_aggregate, unsupported_parameter). The path that
// only needs to know things about a request uses request_shape, which is faster.
//
// The cursors REQUIRE text that CheckJson took: they trust it and check nothing again. Nothing here
// recurses and nothing allocates but Decode and the names with escapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "dialect/request_shape.h"

namespace weir::dialect {

// Takes any RFC 8259 value that is UTF-8 and at most kJsonDepthMax deep, with nothing but white
// space around it. Names that come twice are not looked for here. Cost: linear, no allocation.
//   depth_max  at most kJsonDepthMax
//   fails      kInvalidJson, with a message for the caller
std::expected<void, ShapeError> CheckJson(std::string_view text,
                                          std::size_t depth_max = kJsonDepthMax);

enum class JsonKind : std::uint8_t { kObject, kArray, kString, kNumber, kBool, kNull };

// The kind of a value without white space before it. Empty text, which stands for an absent member,
// counts as null.
JsonKind KindOf(std::string_view value);

// `value` without white space around it.
std::string_view TrimJson(std::string_view value);

// The bytes between the quotes of a string, escapes as they stand.
inline std::string_view InsideQuotes(std::string_view string) {
  return string.substr(1, string.size() - 2);
}

// The text of a string's inside; half a surrogate pair becomes U+FFFD.
std::string DecodeJson(std::string_view inside);

// Whether a string's inside, decoded, is `text`.
bool JsonTextIs(std::string_view inside, std::string_view text);

struct JsonMember {
  std::string_view whole;  // from the name's quote to the value's end
  std::string_view name;   // the inside of the name
  std::string_view value;
};

// The members of an object in their order.
class JsonMembers {
 public:
  explicit JsonMembers(std::string_view object);
  bool Next(JsonMember& member);

 private:
  const char* at_;
  const char* end_;
};

// The elements of an array in their order.
class JsonElements {
 public:
  explicit JsonElements(std::string_view array);
  bool Next(std::string_view& element);

 private:
  const char* at_;
  const char* end_;
};

// Puts the members called names[i] into found[i]; an absent one stays as it was given. Returns
// false when one of them is there twice, however its name is escaped.
//   names, found  of the same size
[[nodiscard]] bool FindMembers(std::string_view object, std::span<const std::string_view> names,
                               std::span<JsonMember> found);

}  // namespace weir::dialect
