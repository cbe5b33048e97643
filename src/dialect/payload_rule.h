// A change that an operator orders for the requests of one key: the value at a path becomes this
// one. Applied by codex_adapt; config and identity carry rules and look into none, so this header
// stands apart from the rest of the folder.
//
// Values of one thread. No clock, no file.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace weir::dialect {

inline constexpr std::size_t kPayloadPathMax = 16;  // segments of a path
inline constexpr std::size_t kPayloadSegmentBytesMax = 64;
inline constexpr std::size_t kPayloadValueBytesMax = 4096;
inline constexpr std::size_t kPayloadRulesMax = 32;  // of a key

// Objects on the way are made when absent; an element of an array must exist, or be the next one.
// Made by ParsePayloadRule, which AdaptForCodex trusts.
struct PayloadRule {
  std::vector<std::string> path;  // 1..kPayloadPathMax segments; digits index an array
  std::string value;              // JSON text on one line

  friend bool operator==(const PayloadRule&, const PayloadRule&) = default;
};

// "a.b.0".
std::string PathText(const PayloadRule& rule);

// A rule from an option's text: path "a.b.0" of [A-Za-z0-9_-] segments, value JSON. Refused with
// what is wrong, to follow the name of the rule: an empty or long path, a value that is long, not
// JSON or too deep, and the members `model` and `stream`, which decide price, permission and the
// form of the reply.
std::expected<PayloadRule, std::string> ParsePayloadRule(std::string_view path,
                                                         std::string_view value);

}  // namespace weir::dialect
