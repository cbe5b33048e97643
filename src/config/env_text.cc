#include "config/env_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::config {
namespace {

bool IsVariableName(std::string_view name) {
  if (name.empty() || name.size() > 128 || (name.front() >= '0' && name.front() <= '9')) {
    return false;
  }
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace

std::expected<EnvText, EnvFault> ReplaceEnv(std::string_view raw, const EnvLookup& env) {
  EnvText result;
  while (!raw.empty()) {
    const auto dollar = raw.find('$');
    result.text += raw.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    raw.remove_prefix(dollar);
    if (raw.starts_with("$${")) {
      result.text += "${";
      raw.remove_prefix(3);
      continue;
    }
    if (!raw.starts_with("${")) {
      result.text += '$';
      raw.remove_prefix(1);
      continue;
    }
    const auto end = raw.find('}');
    if (end == std::string_view::npos) {
      return std::unexpected(
          EnvFault{"has a ${ without its }", "close it, or write $${ for a plain ${"});
    }
    const std::string_view inside = raw.substr(2, end - 2);
    raw.remove_prefix(end + 1);
    const auto separator = inside.find(":-");
    const bool has_fallback = separator != std::string_view::npos;
    const std::string_view name = inside.substr(0, separator);
    if (!IsVariableName(name)) {
      return std::unexpected(
          EnvFault{fmt::format("${{{:.64}}} does not name a variable", inside),
                   "write ${NAME} with letters, digits and '_', or $${ for a plain ${"});
    }
    const auto value = env ? env(name) : std::nullopt;
    if (value && !value->empty()) {
      result.text += *value;
      result.from_environment = true;
    } else if (has_fallback) {
      result.text += inside.substr(separator + 2);
    } else {
      return std::unexpected(
          EnvFault{fmt::format("the environment variable {} is {}", name,
                               value ? "set but empty" : "not set"),
                   fmt::format("set {0}, or write ${{{0}:-VALUE}} to do without it", name)});
    }
    if (result.text.size() > kValueBytesMax) break;
  }
  if (result.text.size() > kValueBytesMax) {
    return std::unexpected(EnvFault{fmt::format("is longer than {} bytes", kValueBytesMax),
                                    "shorten it, or the variables in it"});
  }
  return result;
}

}  // namespace weir::config
