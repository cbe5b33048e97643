#include "dialect/payload_rule.h"

#include <fmt/format.h>

#include <algorithm>

#include "dialect/json_view.h"
#include "dialect/request_shape.h"

namespace weir::dialect {

std::string PathText(const PayloadRule& rule) {
  return fmt::format("{}", fmt::join(rule.path, "."));
}

std::expected<PayloadRule, std::string> ParsePayloadRule(std::string_view path,
                                                         std::string_view value) {
  PayloadRule rule;
  while (true) {
    const auto dot = path.find('.');
    const std::string_view segment = path.substr(0, dot);
    if (segment.empty() || segment.size() > kPayloadSegmentBytesMax) {
      return std::unexpected(
          fmt::format("a segment of the path must have 1 to {} bytes", kPayloadSegmentBytesMax));
    }
    for (const char c : segment) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '_' || c == '-';
      if (!plain) return std::unexpected("a path has only letters, digits, '_', '-' and '.'");
    }
    if (rule.path.size() == kPayloadPathMax) {
      return std::unexpected(fmt::format("a path has at most {} segments", kPayloadPathMax));
    }
    rule.path.emplace_back(segment);
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  if (rule.path.front() == "model" || rule.path.front() == "stream") {
    return std::unexpected(fmt::format(
        "'{}' cannot be set by a payload rule: it decides price, permission or the form of the "
        "reply",
        rule.path.front()));
  }
  value = TrimJson(value);
  if (value.size() > kPayloadValueBytesMax) {
    return std::unexpected(fmt::format("the value has more than {} bytes", kPayloadValueBytesMax));
  }
  // What the path and the value need together stays within what a body may have.
  if (const auto checked = CheckJson(value, kJsonDepthMax - kPayloadPathMax); !checked) {
    return std::unexpected("the value must be JSON; a text needs its quotes");
  }
  rule.value = value;
  // Between tokens a line break is a blank, and within a string there is none.
  std::ranges::replace_if(
      rule.value, [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return rule;
}

}  // namespace weir::dialect
