#include "config/attribute.h"

#include <algorithm>

namespace weir::config {

std::optional<Dimension> DimensionOf(std::string_view name) {
  const auto found = std::ranges::find(kDimensionNames, name);
  if (found == kDimensionNames.end()) return std::nullopt;
  return static_cast<Dimension>(found - kDimensionNames.begin());
}

std::string_view AttributeFault(std::string_view value) {
  if (value.empty()) return "must not be empty";
  if (value.size() > kAttributeValueMax) return "must have at most 128 bytes";
  if (!std::ranges::all_of(value, [](char c) { return c >= 0x20 && c < 0x7F; })) {
    return "must consist of printable ASCII";
  }
  // Blanks around the value of a header are not part of it, so no request could ever say this.
  if (value.front() == ' ' || value.back() == ' ') return "must not begin or end with a blank";
  return {};
}

std::vector<std::string> DimensionNames(std::uint32_t bits) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kDimensions; ++i) {
    if ((bits >> i & 1U) != 0) names.emplace_back(kDimensionNames[i]);
  }
  return names;
}

void SetAttribute(std::vector<Attribute>& attributes, Dimension dimension, std::string_view value) {
  const auto at = std::ranges::lower_bound(attributes, dimension, {}, &Attribute::dimension);
  if (at != attributes.end() && at->dimension == dimension) {
    at->value = value;
  } else {
    attributes.insert(at, {.dimension = dimension, .value = std::string(value)});
  }
}

std::string_view AttributeOf(const std::vector<Attribute>& attributes, Dimension dimension) {
  const auto at = std::ranges::lower_bound(attributes, dimension, {}, &Attribute::dimension);
  return at != attributes.end() && at->dimension == dimension ? std::string_view(at->value)
                                                              : std::string_view();
}

}  // namespace weir::config
