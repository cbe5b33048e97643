#include "prices/json_tree.h"

#include <fmt/format.h>
#include <simdjson.h>

namespace weir::prices {
namespace {

namespace ondemand = simdjson::ondemand;

class Builder {
 public:
  // Recursive, to kJsonDepthMax.
  template <class Value>
  bool Build(Value& value, JsonNode& node, std::size_t depth) {
    if (depth > kJsonDepthMax) return Fail("is nested too deep");
    if (++nodes_ > kJsonNodesMax) return Fail("has too many values");
    ondemand::json_type type{};
    if (value.type().get(type)) return Fail("is not JSON");
    switch (type) {
      case ondemand::json_type::object:
        return BuildObject(value, node, depth);
      case ondemand::json_type::array:
        return BuildList(value, node, depth);
      case ondemand::json_type::number:
        return BuildNumber(value, node);
      case ondemand::json_type::string: {
        std::string_view text;
        if (value.get_string().get(text)) return Fail("has a text that is not JSON");
        node.kind = JsonKind::kText;
        node.text = text;
        return true;
      }
      case ondemand::json_type::boolean: {
        bool flag = false;
        if (value.get_bool().get(flag)) return Fail("is not JSON");
        node.kind = JsonKind::kFlag;
        node.text = flag ? "true" : "false";
        return true;
      }
      case ondemand::json_type::null:
        break;
    }
    bool is_null = false;
    if (simdjson::simdjson_result<bool>(value.is_null()).get(is_null) || !is_null) {
      return Fail("is not JSON");
    }
    return true;
  }

  std::string TakeFault() { return std::move(fault_); }

 private:
  bool Fail(std::string_view fault) {
    if (fault_.empty()) fault_ = fault;
    return false;
  }

  template <class Value>
  bool BuildObject(Value& value, JsonNode& node, std::size_t depth) {
    node.kind = JsonKind::kObject;
    ondemand::object object;
    if (value.get_object().get(object)) return Fail("is not JSON");
    for (auto result : object) {
      ondemand::field field;
      if (std::move(result).get(field)) return Fail("is not JSON");
      std::string_view name;
      if (field.unescaped_key().get(name)) return Fail("has a name that is not JSON");
      JsonMember& member = node.members.emplace_back(JsonMember{std::string(name), {}});
      ondemand::value inner = field.value();
      if (!Build(inner, member.value, depth + 1)) return false;
    }
    return true;
  }

  template <class Value>
  bool BuildList(Value& value, JsonNode& node, std::size_t depth) {
    node.kind = JsonKind::kList;
    ondemand::array array;
    if (value.get_array().get(array)) return Fail("is not JSON");
    for (auto result : array) {
      ondemand::value inner;
      if (std::move(result).get(inner)) return Fail("is not JSON");
      if (!Build(inner, node.items.emplace_back(), depth + 1)) return false;
    }
    return true;
  }

  template <class Value>
  bool BuildNumber(Value& value, JsonNode& node) {
    std::string_view token;
    if (simdjson::simdjson_result<std::string_view>(value.raw_json_token()).get(token)) {
      return Fail("is not JSON");
    }
    while (!token.empty() && std::string_view(" \t\r\n").contains(token.back())) {
      token.remove_suffix(1);
    }
    node.kind = JsonKind::kNumber;
    node.text = token;
    return true;
  }

  std::size_t nodes_ = 0;
  std::string fault_;
};

}  // namespace

const JsonNode* JsonNode::Find(std::string_view name) const {
  for (const auto& [key, value] : members) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::expected<JsonNode, std::string> ReadJson(std::string_view text) {
  if (text.size() > kJsonBytesMax) {
    return std::unexpected(fmt::format("is larger than {} bytes", kJsonBytesMax));
  }
  ondemand::parser parser;
  const simdjson::padded_string padded(text);
  ondemand::document document;
  if (const auto error = parser.iterate(padded).get(document)) {
    return std::unexpected(fmt::format("is not JSON: {}", simdjson::error_message(error)));
  }
  // A price list is an object; what is something else at its top is refused before it is read.
  ondemand::json_type type{};
  if (document.type().get(type) || type != ondemand::json_type::object) {
    return std::unexpected("is not a JSON object");
  }
  JsonNode root;
  Builder builder;
  ondemand::value value;
  if (document.get_value().get(value) || !builder.Build(value, root, 0)) {
    std::string fault = builder.TakeFault();
    return std::unexpected(fault.empty() ? "is not JSON" : std::move(fault));
  }
  // Where the next value would begin: nowhere, at the end.
  const char* rest = nullptr;
  if (!document.current_location().get(rest))
    return std::unexpected("has something behind its end");
  return root;
}

}  // namespace weir::prices
