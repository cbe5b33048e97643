// Reads one small JSON object whose members are texts and whole numbers, and nothing else. Signed
// metadata has that form. Strict, because what it says decides who pays: no member twice, no
// fraction, nothing nested, nothing behind it. No library, because identity/ has none for JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::identity {

inline constexpr std::size_t kFlatMembersMax = 32;

struct FlatMember {
  std::string name;
  std::string text;                    // of a string
  std::optional<std::int64_t> number;  // of a number
};

// The members in the order they were written, or why it is not such an object, as the end of a
// sentence ("has a member twice").
//   cost  linear in the text; the caller bounds it
std::expected<std::vector<FlatMember>, std::string_view> ReadFlatJson(std::string_view text);

}  // namespace weir::identity
