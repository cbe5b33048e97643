#include "admin/body_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "config/scalar.h"

namespace weir::admin {

namespace json = boost::json;

namespace {

constexpr std::size_t kDepthMax = 8;
constexpr std::size_t kListMax = 1000;
constexpr std::size_t kErrorsMax = 50;
constexpr std::size_t kParametersMax = 20;

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Why `text` is not what the option allows, or empty.
std::string FaultOf(const config::Option& option, std::string_view text) {
  if (static_cast<std::int64_t>(text.size()) < option.min) {
    return fmt::format("must have at least {} characters", option.min);
  }
  if (option.max > 0 && static_cast<std::int64_t>(text.size()) > option.max) {
    return fmt::format("must have at most {} characters", option.max);
  }
  const auto all = [&](auto allowed) { return std::ranges::all_of(text, allowed); };
  switch (option.form) {
    case config::TextForm::kName:
      if (all([](char c) { return IsAlnum(c) || c == '.' || c == '_' || c == '-'; })) return {};
      return "must consist of letters, digits, '.', '_' and '-'";
    case config::TextForm::kLowerName:
      if (all([](char c) {
            return (IsAlnum(c) && (c < 'A' || c > 'Z')) || c == '_' || c == '-';
          })) {
        return {};
      }
      return "must consist of lower-case letters, digits, '_' and '-'";
    case config::TextForm::kVisible:
      if (all([](char c) { return c > 0x20 && c < 0x7F; })) return {};
      return "must consist of printable ASCII without blanks";
    default:
      if (all([](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; })) return {};
      return "must not contain control characters";
  }
}

const config::Option& OptionAt(std::string_view path) {
  const config::Option* option = config::FindOption(path);
  CHECK(option != nullptr, "readers name options that are in the table; a test takes each");
  return *option;
}

// Members of all objects in the tree. Depth is bounded by the parser.
std::size_t CountMembers(const json::value& value) {
  std::size_t count = 0;
  if (const auto* object = value.if_object()) {
    count += object->size();
    for (const auto& member : *object) count += CountMembers(member.value());
  } else if (const auto* array = value.if_array()) {
    for (const auto& element : *array) count += CountMembers(element);
  }
  return count;
}

// Colons outside of strings: each belongs to one member as it was written.
std::size_t CountWrittenMembers(std::string_view text) {
  std::size_t count = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (text[i] == ':' && !in_string) {
      ++count;
    }
  }
  return count;
}

std::string EscapePointer(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 64)) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// None when a percent sign is not followed by two hex digits.
std::optional<std::string> PercentDecode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace

void ObjectReader::Refuse(std::string_view name, std::string detail) {
  if (errors_.size() >= kErrorsMax) return;
  errors_.push_back({.pointer = pointer_ + "/" + EscapePointer(name),
                     .parameter = {},
                     .detail = std::move(detail)});
}

const json::value* ObjectReader::Take(std::string_view name) {
  known_.push_back(name);
  return object_.if_contains(name);
}

bool ObjectReader::Text(std::string_view name, std::string_view option_path, std::string& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (!value->is_string()) {
    Refuse(name, "must be a string");
    return false;
  }
  const std::string_view text = value->get_string();
  if (std::string fault = FaultOf(OptionAt(option_path), text); !fault.empty()) {
    Refuse(name, std::move(fault));
    return false;
  }
  out = text;
  return true;
}

bool ObjectReader::TextOrNull(std::string_view name, std::string_view option_path,
                              std::string& out) {
  const json::value* value = object_.if_contains(name);
  if (value == nullptr || !value->is_null()) return Text(name, option_path, out);
  Take(name);
  out.clear();
  return true;
}

bool ObjectReader::Flag(std::string_view name, bool& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (!value->is_bool()) {
    Refuse(name, "must be true or false");
    return false;
  }
  out = value->get_bool();
  return true;
}

bool ObjectReader::Count(std::string_view name, std::int64_t min, std::int64_t max,
                         std::int64_t& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (!value->is_int64() || value->get_int64() < min || value->get_int64() > max) {
    Refuse(name, fmt::format("must be a whole number from {} to {}", min, max));
    return false;
  }
  out = value->get_int64();
  return true;
}

bool ObjectReader::Choice(std::string_view name, std::span<const std::string_view> choices,
                          std::string& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (value->is_string()) {
    const std::string_view text = value->get_string();
    if (std::ranges::find(choices, text) != choices.end()) {
      out = text;
      return true;
    }
  }
  Refuse(name, fmt::format("must be one of: {}", fmt::join(choices, ", ")));
  return false;
}

bool ObjectReader::UsdOrNull(std::string_view name, std::optional<NanoUsd>& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (value->is_null()) {
    out.reset();
    return true;
  }
  std::optional<NanoUsd> amount;
  if (value->is_string()) amount = ParseUsd(std::string_view(value->get_string()));
  if (!amount || amount->n < 0 || *amount > kMaxNanoUsd) {
    Refuse(name,
           "must be US dollars as a decimal string with at most nine decimals, such as \"12.50\", "
           "or null for no cap");
    return false;
  }
  out = amount;
  return true;
}

bool ObjectReader::TimeOrNull(std::string_view name, std::optional<Instant>& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (value->is_null()) {
    out.reset();
    return true;
  }
  std::optional<Instant> instant;
  if (value->is_string()) instant = config::ParseTime(std::string_view(value->get_string()));
  if (!instant) {
    Refuse(name, "must be a time such as \"2027-01-31T12:00:00Z\" or \"2027-01-31\", or null");
    return false;
  }
  out = instant;
  return true;
}

bool ObjectReader::Texts(std::string_view name, std::string_view option_path, Null null,
                         std::vector<std::string>& out) {
  const json::value* value = Take(name);
  if (value == nullptr) return false;
  if (value->is_null() && null == Null::kMeansAll) {
    out.clear();
    return true;
  }
  if (!value->is_array()) {
    Refuse(name, null == Null::kMeansAll ? "must be a list of strings, or null for all"
                                         : "must be a list of strings");
    return false;
  }
  const json::array& array = value->get_array();
  if (array.empty() && null == Null::kMeansAll) {
    Refuse(name, "must not be empty; write null for all");
    return false;
  }
  if (array.size() > kListMax) {
    Refuse(name, fmt::format("must have at most {} entries", kListMax));
    return false;
  }
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < array.size(); ++i) {
    std::string fault = "must be a string";
    if (array[i].is_string()) {
      fault = FaultOf(OptionAt(option_path), std::string_view(array[i].get_string()));
    }
    if (!fault.empty()) {
      errors_.push_back({.pointer = fmt::format("{}/{}/{}", pointer_, name, i),
                         .parameter = {},
                         .detail = std::move(fault)});
      return false;
    }
    texts.emplace_back(std::string_view(array[i].get_string()));
  }
  out = std::move(texts);
  return true;
}

std::optional<ObjectReader> ObjectReader::Object(std::string_view name) {
  const json::value* value = Take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    Refuse(name, "must be an object");
    return std::nullopt;
  }
  return ObjectReader(value->get_object(), pointer_ + "/" + std::string(name), errors_);
}

std::optional<std::vector<ObjectReader>> ObjectReader::Objects(std::string_view name,
                                                               std::size_t count_max) {
  const json::value* value = Take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array() || value->get_array().size() > count_max) {
    Refuse(name, fmt::format("must be a list of at most {} objects", count_max));
    return std::nullopt;
  }
  std::vector<ObjectReader> readers;
  for (const json::value& item : value->get_array()) {
    const std::string place = fmt::format("{}/{}/{}", pointer_, name, readers.size());
    if (!item.is_object()) {
      Refuse(name, fmt::format("has an item that is not an object: the one at {}", readers.size()));
      return std::nullopt;
    }
    readers.emplace_back(item.get_object(), place, errors_);
  }
  return readers;
}

void ObjectReader::Finish() {
  for (const auto& member : object_) {
    const std::string_view name = member.key();
    if (std::ranges::find(known_, name) != known_.end()) continue;
    Refuse(name, fmt::format("is not known here; known are: {}", fmt::join(known_, ", ")));
  }
}

std::expected<json::object, AdminResponse> ParseBody(const AdminRequest& request,
                                                     bool may_be_empty) {
  if (request.body.empty() && may_be_empty) return json::object();
  if (static_cast<std::int64_t>(request.body.size()) > kBodyBytesMax) {
    return std::unexpected(BodyTooLarge());
  }
  // A browser's form cannot send this type without asking first, so it also keeps forms out.
  std::string_view type = request.Find("content-type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (!gateway::EqualsIgnoreCase(type, "application/json")) {
    return std::unexpected(Problem(ProblemType::kUnsupportedMediaType,
                                   "Send the body with Content-Type: application/json."));
  }
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::error_code error;
  const json::value value =
      json::parse({request.body.data(), request.body.size()}, error, {}, options);
  if (error) {
    return std::unexpected(
        Problem(ProblemType::kInvalidJson, "The body cannot be read: " + error.message() + "."));
  }
  if (!value.is_object()) {
    return std::unexpected(Problem(ProblemType::kInvalidJson, "The body must be a JSON object."));
  }
  // The parser keeps the last of two members of one name. Which one was meant is not ours to guess.
  if (CountMembers(value) != CountWrittenMembers(request.body)) {
    return std::unexpected(
        Problem(ProblemType::kInvalidJson, "The body has a member of the same name twice."));
  }
  return value.get_object();
}

QueryReader::QueryReader(std::string_view query, std::span<const std::string_view> known) {
  for (std::size_t count = 0; !query.empty(); ++count) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const auto name = PercentDecode(pair.substr(0, equals));
    const auto value = PercentDecode(equals == std::string_view::npos ? std::string_view()
                                                                      : pair.substr(equals + 1));
    const std::string shown = name ? name->substr(0, 64) : std::string("?");
    if (!name || !value) {
      Refuse(shown, "has a percent sign without two hex digits behind it");
    } else if (std::ranges::find(known, *name) == known.end()) {
      Refuse(shown, fmt::format("is not known here; known are: {}", fmt::join(known, ", ")));
    } else if (Text(*name)) {
      Refuse(shown, "is given twice");
    } else {
      values_.emplace_back(*name, *value);
    }
    if (count >= kParametersMax) {
      Refuse(shown, "is one parameter too many");
      return;
    }
  }
}

std::optional<std::string> QueryReader::Text(std::string_view name) const {
  for (const auto& [known, value] : values_) {
    if (known == name && !value.empty()) return value;
  }
  return std::nullopt;
}

std::optional<std::int64_t> QueryReader::Count(std::string_view name, std::int64_t min,
                                               std::int64_t max) {
  const auto text = Text(name);
  if (!text) return std::nullopt;
  const auto value = config::ParseCount(*text);
  if (!value || *value < min || *value > max) {
    Refuse(name, fmt::format("must be a whole number from {} to {}", min, max));
    return std::nullopt;
  }
  return value;
}

void QueryReader::Refuse(std::string_view name, std::string detail) {
  errors_.push_back({.pointer = {}, .parameter = std::string(name), .detail = std::move(detail)});
}

}  // namespace weir::admin
