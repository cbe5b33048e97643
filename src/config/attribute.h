// What requests are told apart by (config::Dimension) as texts: the names that files, headers and
// the admin API use, and which values an attribute may have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/policy.h"

namespace weir::config {

// The dimension of that name, or none.
std::optional<Dimension> DimensionOf(std::string_view name);

// Why `value` cannot be that of an attribute, as the end of a sentence that begins with its name;
// empty when it can.
std::string_view AttributeFault(std::string_view value);

// The names of a set of dimensions, in the order of the enum.
std::vector<std::string> DimensionNames(std::uint32_t bits);

// Sets one of `attributes`, which stay sorted by dimension and each at most once.
void SetAttribute(std::vector<Attribute>& attributes, Dimension dimension, std::string_view value);

// The value of a dimension, or empty.
std::string_view AttributeOf(const std::vector<Attribute>& attributes, Dimension dimension);

}  // namespace weir::config
