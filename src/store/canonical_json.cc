#include "store/canonical_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

namespace weir::store {
namespace {

namespace json = boost::json;

std::unexpected<Error> Unfit(std::string detail) {
  return Fail(ErrorCode::kBadInput, ErrorSource::kCaller, std::move(detail));
}

// The length of the UTF-8 sequence at the start of `text`, or 0 (RFC 3629).
std::size_t SequenceAt(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
      (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
}

// Members in the whole of a JSON text: each has one ':' outside of texts.
std::size_t MembersIn(std::string_view text) {
  std::size_t count = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == ':') {
      ++count;
    }
  }
  return count;
}

// The parser bounds the depth, so this recursion is bounded.
Result<void> Append(const json::value& value, std::string_view left_out, std::size_t& members,
                    std::string& out) {
  switch (value.kind()) {
    case json::kind::null:
      out += "null";
      return {};
    case json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return {};
    case json::kind::int64:
      if (value.get_int64() > kCanonicalNumberMax || value.get_int64() < -kCanonicalNumberMax) {
        return Unfit(fmt::format("the number {} is too large to be exact", value.get_int64()));
      }
      out += std::to_string(value.get_int64());
      return {};
    case json::kind::uint64:
      return Unfit(fmt::format("the number {} is too large to be exact", value.get_uint64()));
    case json::kind::double_:
      return Unfit("a number is not whole");
    case json::kind::string:
      out += CanonicalText(value.get_string());
      return {};
    case json::kind::array: {
      out += '[';
      for (const json::value& item : value.get_array()) {
        if (out.back() != '[') out += ',';
        if (auto done = Append(item, {}, members, out); !done) return done;
      }
      out += ']';
      return {};
    }
    case json::kind::object:
      break;
  }
  const json::object& object = value.get_object();
  members += object.size();
  CanonicalObject canonical;
  for (const auto& [name, inner] : object) {
    const std::string_view text = name;
    if (std::ranges::any_of(text, [](char c) { return static_cast<std::uint8_t>(c) >= 0x80; })) {
      return Unfit("the name of a member is not ASCII");
    }
    std::string written;
    if (auto done = Append(inner, {}, members, written); !done) return done;
    if (left_out.empty() || text != left_out) canonical.Json(text, std::move(written));
  }
  out += canonical.Write();
  return {};
}

}  // namespace

std::string CanonicalText(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = SequenceAt(text);
    const char c = text.front();
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (length == 1 && static_cast<std::uint8_t>(c) < 0x20) {
      switch (c) {
        case '\b':
          out += "\\b";
          break;
        case '\t':
          out += "\\t";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\r':
          out += "\\r";
          break;
        default:
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
      }
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + '"';
}

CanonicalObject& CanonicalObject::Json(std::string_view name, std::string json) {
  members_.emplace_back(name, std::move(json));
  return *this;
}

CanonicalObject& CanonicalObject::Text(std::string_view name, std::string_view value) {
  return Json(name, CanonicalText(value));
}

CanonicalObject& CanonicalObject::TextOrNull(std::string_view name, std::string_view value) {
  return value.empty() ? Null(name) : Text(name, value);
}

CanonicalObject& CanonicalObject::Number(std::string_view name, std::int64_t value) {
  return Json(name, std::to_string(std::clamp(value, -kCanonicalNumberMax, kCanonicalNumberMax)));
}

CanonicalObject& CanonicalObject::Flag(std::string_view name, bool value) {
  return Json(name, value ? "true" : "false");
}

CanonicalObject& CanonicalObject::Null(std::string_view name) { return Json(name, "null"); }

// By bytes: for names in ASCII that is RFC 8785's order by UTF-16 units.
std::string CanonicalObject::Write() const {
  std::vector<const std::pair<std::string, std::string>*> sorted;
  for (const auto& member : members_) sorted.push_back(&member);
  std::ranges::sort(sorted, {}, [](const auto* member) { return std::string_view(member->first); });
  std::string out = "{";
  for (const auto* member : sorted) {
    if (out.size() > 1) out += ',';
    out += CanonicalText(member->first) + ':' + member->second;
  }
  return out + '}';
}

std::string CanonicalList(std::span<const std::string> items) {
  return fmt::format("[{}]", fmt::join(items, ","));
}

Result<std::string> Canonicalised(std::string_view text, std::string_view left_out) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error) return Unfit("it is not JSON: " + error.message());
  if (!value.is_object()) return Unfit("it is not a JSON object");
  std::string out;
  std::size_t members = 0;
  if (auto done = Append(value, left_out, members, out); !done) {
    return std::unexpected(done.error());
  }
  // The parser keeps the last of two members of one name; a reader may show the first.
  if (members != MembersIn(text)) return Unfit("a member is there twice");
  return out;
}

}  // namespace weir::store
