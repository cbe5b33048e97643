// The least JSON that satisfies a JSON schema: arguments of tool calls and structured answers of
// the sandbox.
//
// Understands type (one or several), properties, required, items, minItems, maxItems, enum, const,
// anyOf, oneOf, allOf (its first), $ref inside the schema, minimum, maximum and their exclusive
// forms, multipleOf, minLength, maxLength and the usual formats. A `pattern` is not understood: a
// string that needs one may not match it.
//
// Bounded whatever the schema says: kSchemaDepthMax levels, kSchemaNodesMax values,
// kSchemaBytesMax bytes. A schema that refers to itself ends in null at the bound.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>

namespace weir::gateway {

inline constexpr int kSchemaDepthMax = 16;
inline constexpr int kSchemaNodesMax = 4096;
inline constexpr std::size_t kSchemaBytesMax = 64 << 10;

struct SchemaHints {
  std::string_view prompt;  // name=value in it sets the top-level property of that name
  bool shell = false;       // top-level `cmd` and `command` get a harmless command
};

// `schema` may be null: then the value is {}.
std::string MinimalJson(const boost::json::value* schema, const SchemaHints& hints);

}  // namespace weir::gateway
