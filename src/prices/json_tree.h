// JSON as a tree whose numbers are still the characters of the file. Private to this folder.
//
// For price lists, which are read whole and seldom: every value is a node. Bounded in bytes, depth
// and nodes; strict as RFC 8259 is, but that numbers are looked at by who reads them (decimal.h).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace weir::prices {

inline constexpr std::size_t kJsonBytesMax = 32 << 20;
inline constexpr std::size_t kJsonDepthMax = 12;
inline constexpr std::size_t kJsonNodesMax = 2'000'000;

enum class JsonKind : std::uint8_t { kNull, kFlag, kNumber, kText, kList, kObject };

struct JsonMember;

struct JsonNode {
  JsonKind kind = JsonKind::kNull;
  std::string text;  // of a text; of a number as it is written; "true" or "false"
  std::vector<JsonNode> items;
  std::vector<JsonMember> members;  // in their order, twice if given twice

  // The first member of this name, or null.
  const JsonNode* Find(std::string_view name) const;
};

struct JsonMember {
  std::string name;
  JsonNode value;
};

// The document, or one sentence on why it is none.   fails  never throws
std::expected<JsonNode, std::string> ReadJson(std::string_view text);

}  // namespace weir::prices
