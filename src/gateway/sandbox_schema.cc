#include "gateway/sandbox_schema.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <limits>
#include <optional>

#include "dialect/json_edit.h"
#include "gateway/sandbox_text.h"

namespace weir::gateway {
namespace {

namespace json = boost::json;

constexpr std::string_view kEcho = "echo weir-sandbox";

const json::value* Get(const json::object& object, std::string_view key) {
  return object.if_contains({key.data(), key.size()});
}

std::string_view Text(const json::value* value) {
  if (value == nullptr || !value->is_string()) return {};
  const json::string& text = value->get_string();
  return {text.data(), text.size()};
}

// A bound as a whole number; none when it is absent, has a fraction or does not fit.
std::optional<std::int64_t> Whole(const json::value* value) {
  if (value == nullptr || !value->is_number()) return std::nullopt;
  json::error_code failed;
  const auto whole = value->to_number<std::int64_t>(failed);
  if (failed) return std::nullopt;
  return whole;
}

bool IsNullType(const json::value& schema) {
  const auto* object = schema.if_object();
  return object != nullptr && Text(Get(*object, "type")) == "null";
}

// Where `$ref` points inside `root`: "#", or "#/a/b" with JSON pointer escapes.
const json::value* Resolve(const json::value& root, std::string_view reference) {
  if (!reference.starts_with('#')) return nullptr;
  reference.remove_prefix(1);
  const json::value* at = &root;
  while (!reference.empty()) {
    if (reference.front() != '/') return nullptr;
    reference.remove_prefix(1);
    const std::string_view step = reference.substr(0, reference.find('/'));
    reference.remove_prefix(step.size());
    std::string key;
    for (std::size_t i = 0; i < step.size(); ++i) {
      if (step[i] == '~' && i + 1 < step.size()) {
        key += step[++i] == '1' ? '/' : '~';
      } else {
        key += step[i];
      }
    }
    const auto* object = at->if_object();
    if (object == nullptr) return nullptr;
    at = Get(*object, key);
    if (at == nullptr) return nullptr;
  }
  return at;
}

// The word after "name=" in the prompt, so that "call add with a=40 and b=2" does.
std::string_view NamedValue(std::string_view prompt, std::string_view name) {
  if (name.empty()) return {};
  for (std::size_t at = prompt.find(name); at != std::string_view::npos;
       at = prompt.find(name, at + 1)) {
    const std::size_t equals = at + name.size();
    if (equals >= prompt.size() || prompt[equals] != '=') continue;
    const auto is_word = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             c == '_' || c == '-' || (static_cast<unsigned char>(c) & 0x80) != 0;
    };
    if (at > 0 && is_word(prompt[at - 1])) continue;
    std::size_t end = equals + 1;
    while (end < prompt.size() && is_word(prompt[end])) ++end;
    return prompt.substr(equals + 1, end - equals - 1);
  }
  return {};
}

bool IsWholeNumber(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.size() <= 18 && (text == "0" || text.front() != '0') &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class Writer {
 public:
  Writer(const json::value& root, const SchemaHints& hints) : root_(root), hints_(hints) {}

  // Depth of the recursion is bounded by kSchemaDepthMax, and so is that of $ref chains.
  void Value(const json::value& schema, int depth, std::string_view property) {
    if (++nodes_ > kSchemaNodesMax || depth > kSchemaDepthMax || out_.size() > kSchemaBytesMax) {
      out_ += "null";
      return;
    }
    const auto* object = schema.if_object();
    if (object == nullptr) {
      out_ += "\"ok\"";
      return;
    }
    if (const auto reference = Text(Get(*object, "$ref")); !reference.empty()) {
      const json::value* target = Resolve(root_, reference);
      if (target == nullptr) {
        out_ += "null";
      } else {
        Value(*target, depth + 1, property);
      }
      return;
    }
    if (const auto* fixed = Get(*object, "const")) return Literal(*fixed);
    if (const auto* choices = Get(*object, "enum");
        choices != nullptr && choices->is_array() && !choices->get_array().empty()) {
      return Literal(choices->get_array().front());
    }
    for (const std::string_view word : {"anyOf", "oneOf", "allOf"}) {
      const auto* list = Get(*object, word);
      if (list == nullptr || !list->is_array() || list->get_array().empty()) continue;
      return Value(Pick(list->get_array(), depth), depth + 1, property);
    }
    const std::string_view type = TypeOf(*object);
    if (type == "object") return Object(*object, depth);
    if (type == "array") return Array(*object, depth);
    if (type == "integer" || type == "number") return Number(*object, type, property, depth);
    if (type == "boolean") {
      out_ += "true";
    } else if (type == "null") {
      out_ += "null";
    } else {
      String(*object, property, depth);
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  // The first type that is not null; guessed from the other words when there is none.
  static std::string_view TypeOf(const json::object& schema) {
    const auto* type = Get(schema, "type");
    if (type != nullptr && type->is_array()) {
      std::string_view found = "null";
      for (const auto& one : type->get_array()) {
        if (Text(&one) != "null" && !Text(&one).empty()) return Text(&one);
        found = "null";
      }
      return found;
    }
    if (const auto text = Text(type); !text.empty()) return text;
    if (schema.contains("properties") || schema.contains("required")) return "object";
    if (schema.contains("items")) return "array";
    return "string";
  }

  // Deep down the null alternative wins, so that a recursive schema ends early and validly.
  static const json::value& Pick(const json::array& list, int depth) {
    const bool want_null = depth >= 4;
    for (const auto& one : list) {
      if (IsNullType(one) == want_null) return one;
    }
    return list.front();
  }

  void Literal(const json::value& value) {
    const std::string text = json::serialize(value);
    if (text.size() > kSchemaBytesMax) {
      out_ += "null";
    } else {
      out_ += text;
    }
  }

  void Object(const json::object& schema, int depth) {
    const auto* properties_value = Get(schema, "properties");
    const auto* properties = properties_value != nullptr ? properties_value->if_object() : nullptr;
    const auto* required_value = Get(schema, "required");
    const auto* required = required_value != nullptr ? required_value->if_array() : nullptr;
    out_ += '{';
    bool first = true;
    const auto member = [&](std::string_view name, const json::value* of) {
      if (nodes_ > kSchemaNodesMax || out_.size() > kSchemaBytesMax) return;
      if (!first) out_ += ',';
      first = false;
      dialect::AppendJsonString(out_, name);
      out_ += ':';
      if (depth == 0 && hints_.shell && (name == "cmd" || name == "command")) return Shell(of);
      if (of == nullptr) {
        ++nodes_;
        out_ += "\"ok\"";
      } else {
        Value(*of, depth + 1, name);
      }
    };
    if (required != nullptr) {
      for (const auto& name_value : *required) {
        const auto name = Text(&name_value);
        if (!name.empty()) member(name, properties != nullptr ? Get(*properties, name) : nullptr);
      }
    } else if (properties != nullptr && depth < 4) {
      for (const auto& one : *properties) {
        member({one.key().data(), one.key().size()}, &one.value());
      }
    }
    out_ += '}';
  }

  void Shell(const json::value* schema) {
    const auto* object = schema != nullptr ? schema->if_object() : nullptr;
    if (object != nullptr && TypeOf(*object) == "array") {
      out_ += R"(["bash","-lc",)";
      dialect::AppendJsonString(out_, kEcho);
      out_ += ']';
    } else {
      dialect::AppendJsonString(out_, kEcho);
    }
  }

  void Array(const json::object& schema, int depth) {
    std::int64_t count = depth < 4 ? 1 : 0;
    if (const auto most = Whole(Get(schema, "maxItems"))) count = std::min(count, *most);
    if (const auto least = Whole(Get(schema, "minItems"))) count = std::max(count, *least);
    const auto* items = Get(schema, "items");
    if (items == nullptr) count = std::min<std::int64_t>(count, 0);
    out_ += '[';
    for (std::int64_t i = 0; i < count; ++i) {
      if (nodes_ > kSchemaNodesMax || out_.size() > kSchemaBytesMax) break;
      if (i > 0) out_ += ',';
      Value(*items, depth + 1, {});
    }
    out_ += ']';
  }

  void Number(const json::object& schema, std::string_view type, std::string_view property,
              int depth) {
    if (depth == 1) {
      const auto named = NamedValue(hints_.prompt, property);
      if (IsWholeNumber(named)) {
        out_ += named;
        return;
      }
    }
    const auto* minimum = Get(schema, "minimum");
    if (type == "number" && minimum != nullptr && minimum->is_number() && !Whole(minimum)) {
      return Literal(*minimum);  // a fraction: itself is the least
    }
    std::int64_t value = 1;
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
    if (const auto high = Whole(Get(schema, "maximum"))) value = std::min(value, *high);
    if (const auto high = Whole(Get(schema, "exclusiveMaximum")); high && *high > kLeast) {
      value = std::min(value, *high - 1);
    }
    if (const auto low = Whole(minimum)) value = std::max(value, *low);
    if (const auto low = Whole(Get(schema, "exclusiveMinimum")); low && *low < kMost) {
      value = std::max(value, *low + 1);
    }
    if (const auto step = Whole(Get(schema, "multipleOf")); step && *step > 1) {
      const std::int64_t past = value % *step;
      if (past > 0 && value <= kMost - *step) value += *step - past;
      if (past < 0) value -= past;
    }
    out_ += std::to_string(value);
  }

  void String(const json::object& schema, std::string_view property, int depth) {
    std::string text = "ok";
    const auto named = depth == 1 ? NamedValue(hints_.prompt, property) : std::string_view();
    const std::string_view format = Text(Get(schema, "format"));
    if (!named.empty()) {
      text = named;
    } else if (format == "date-time") {
      text = "2026-01-01T00:00:00Z";
    } else if (format == "date") {
      text = "2026-01-01";
    } else if (format == "time") {
      text = "00:00:00Z";
    } else if (format == "duration") {
      text = "PT1S";
    } else if (format == "email") {
      text = "sandbox@example.com";
    } else if (format == "hostname") {
      text = "example.com";
    } else if (format == "ipv4") {
      text = "192.0.2.1";
    } else if (format == "ipv6") {
      text = "2001:db8::1";
    } else if (format == "uuid") {
      text = "00000000-0000-4000-8000-000000000000";
    } else if (format == "uri" || format == "url") {
      text = "https://example.com/";
    } else if (property == "location" || property == "city") {
      text = "Paris";
    }
    if (const auto least = Whole(Get(schema, "minLength"));
        least && *least > 0 && static_cast<std::uint64_t>(*least) > text.size()) {
      text.resize(std::min<std::size_t>(static_cast<std::size_t>(*least), kSchemaBytesMax), 'x');
    }
    if (const auto most = Whole(Get(schema, "maxLength")); most && *most >= 0) {
      // Bytes, not characters: too short is still within the bound.
      text = Utf8Prefix(text, static_cast<std::size_t>(*most));
    }
    dialect::AppendJsonString(out_, text);
  }

  const json::value& root_;
  const SchemaHints& hints_;
  std::string out_;
  int nodes_ = 0;
};

}  // namespace

std::string MinimalJson(const json::value* schema, const SchemaHints& hints) {
  if (schema == nullptr || !schema->is_object()) return "{}";
  Writer writer(*schema, hints);
  writer.Value(*schema, 0, {});
  return writer.Take();
}

}  // namespace weir::gateway
