#include "dialect/json_view.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <array>

#include "base/check.h"
#include "dialect/json_scan.h"

namespace weir::dialect {
namespace {

static_assert(kJsonDepthMax <= 64, "the kinds of open containers are bits of one word");

std::unexpected<ShapeError> BadAt(std::string_view what, std::size_t at) {
  return std::unexpected(
      ShapeError{Refusal::kInvalidJson,
                 fmt::format("The request body is not valid JSON: {} at byte {}", what, at),
                 {}});
}

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The first byte in [at, end) that is not white space, or end.
const char* SkipBlank(const char* at, const char* end) {
  while (at != end && IsJsonSpace(*at)) ++at;
  return at;
}

// Whether a byte of [at, end) may not stand in a string as it is. Written without a way out so that
// the compiler takes many bytes at a time.
bool HasControl(const char* at, const char* end) {
  bool control = false;
  for (; at != end; ++at) control |= static_cast<unsigned char>(*at) < 0x20;
  return control;
}

// Behind the string whose quote is at `at`, or null when it is not closed, has a bare control
// character or an escape that does not exist.
const char* CheckString(const char* at, const char* end) {
  for (++at;;) {
    const char* const stop = FindQuoteOrBackslash(at, end);
    if (stop == end || HasControl(at, stop)) return nullptr;
    if (*stop == '"') return stop + 1;
    at = stop;
    if (end - at < 2) return nullptr;
    const char escape = at[1];
    if (escape == 'u') {
      if (end - at < 6) return nullptr;
      for (int i = 2; i < 6; ++i) {
        if (HexDigit(at[i]) < 0) return nullptr;
      }
      at += 6;
    } else if (std::string_view("\"\\/bfnrt").contains(escape)) {
      at += 2;
    } else {
      return nullptr;
    }
  }
}

// Behind the number at `at`, or null: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
const char* CheckNumber(const char* at, const char* end) {
  const auto digits = [&at, end] {
    const char* const from = at;
    while (at != end && IsDigit(*at)) ++at;
    return at != from;
  };
  if (at != end && *at == '-') ++at;
  if (at != end && *at == '0') {
    ++at;
  } else if (!digits()) {
    return nullptr;
  }
  if (at != end && *at == '.') {
    ++at;
    if (!digits()) return nullptr;
  }
  if (at != end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at != end && (*at == '+' || *at == '-')) ++at;
    if (!digits()) return nullptr;
  }
  return at;
}

// Behind the number or literal at `at`, or null.
const char* CheckScalar(const char* at, const char* end) {
  const std::string_view rest(at, static_cast<std::size_t>(end - at));
  for (const std::string_view literal : {"true", "false", "null"}) {
    if (rest.starts_with(literal)) return at + literal.size();
  }
  return CheckNumber(at, end);
}

// Behind the value at `at`, of text that was checked.
const char* SkipString(const char* at, const char* end) {
  for (++at;;) {
    at = FindQuoteOrBackslash(at, end);
    if (end - at < 2) return end;
    if (*at == '"') return at + 1;
    at += 2;
  }
}

const char* SkipValue(const char* at, const char* end) {
  if (at == end) return end;
  if (*at == '"') return SkipString(at, end);
  if (*at != '{' && *at != '[') {
    while (at != end && *at != ',' && *at != '}' && *at != ']' && !IsJsonSpace(*at)) ++at;
    return at;
  }
  std::size_t depth = 0;
  while ((at = FindQuoteOrBracket(at, end)) != end) {
    if (*at == '"') {
      at = SkipString(at, end);
      continue;
    }
    const bool opens = *at == '{' || *at == '[';
    ++at;
    if (opens) {
      ++depth;
    } else if (--depth == 0) {
      return at;
    }
  }
  return end;
}

std::string_view View(const char* from, const char* to) {
  return {from, static_cast<std::size_t>(to - from)};
}

std::uint32_t CodeUnit(std::string_view digits) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value * 16 + static_cast<std::uint32_t>(HexDigit(digits[i]));
  }
  return value;
}

}  // namespace

std::expected<void, ShapeError> CheckJson(std::string_view text, std::size_t depth_max) {
  CHECK(depth_max <= kJsonDepthMax, "deeper is not representable");
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    return std::unexpected(ShapeError{
        Refusal::kInvalidJson, "The request body is not valid JSON: it is not UTF-8", {}});
  }
  enum class Expect : std::uint8_t { kValue, kFirstName, kName, kFirstElement, kCommaOrEnd };
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const char* at = begin;
  std::uint64_t objects = 0;  // bit d: the container at depth d + 1 is an object
  std::size_t depth = 0;
  Expect expect = Expect::kValue;
  const auto bad = [&](std::string_view what) {
    return BadAt(what, static_cast<std::size_t>(at - begin));
  };
  const auto in_object = [&] { return (objects >> (depth - 1) & 1) != 0; };
  for (;;) {
    at = SkipBlank(at, end);
    if (depth == 0 && expect == Expect::kCommaOrEnd) {
      if (at != end) return bad("something follows the value");
      return {};
    }
    if (at == end) return bad("it ends too early");
    const char c = *at;
    switch (expect) {
      case Expect::kFirstName:
        if (c == '}') {
          ++at;
          --depth;
          expect = Expect::kCommaOrEnd;
          break;
        }
        [[fallthrough]];
      case Expect::kName: {
        if (c != '"') return bad("expected a name in quotes");
        const char* const behind = CheckString(at, end);
        if (behind == nullptr) return bad("a string is malformed");
        at = SkipBlank(behind, end);
        if (at == end || *at != ':') return bad("expected ':'");
        ++at;
        expect = Expect::kValue;
        break;
      }
      case Expect::kFirstElement:
        if (c == ']') {
          ++at;
          --depth;
          expect = Expect::kCommaOrEnd;
          break;
        }
        [[fallthrough]];
      case Expect::kValue:
        if (c == '{' || c == '[') {
          if (depth == depth_max) {
            return bad(fmt::format("it is nested deeper than {}", depth_max));
          }
          const std::uint64_t bit = std::uint64_t{1} << depth;
          objects = c == '{' ? objects | bit : objects & ~bit;
          ++depth;
          ++at;
          expect = c == '{' ? Expect::kFirstName : Expect::kFirstElement;
        } else {
          const char* const behind = c == '"' ? CheckString(at, end) : CheckScalar(at, end);
          if (behind == nullptr) {
            return bad(c == '"' ? "a string is malformed" : "expected a value");
          }
          at = behind;
          expect = Expect::kCommaOrEnd;
        }
        break;
      case Expect::kCommaOrEnd:
        if (c == ',') {
          expect = in_object() ? Expect::kName : Expect::kValue;
        } else if (c == (in_object() ? '}' : ']')) {
          --depth;
        } else {
          return bad("expected ',' or a closing bracket");
        }
        ++at;
        break;
    }
  }
}

JsonKind KindOf(std::string_view value) {
  if (value.empty()) return JsonKind::kNull;
  switch (value.front()) {
    case '{':
      return JsonKind::kObject;
    case '[':
      return JsonKind::kArray;
    case '"':
      return JsonKind::kString;
    case 't':
    case 'f':
      return JsonKind::kBool;
    case 'n':
      return JsonKind::kNull;
    default:
      return JsonKind::kNumber;
  }
}

std::string_view TrimJson(std::string_view value) {
  while (!value.empty() && IsJsonSpace(value.front())) value.remove_prefix(1);
  while (!value.empty() && IsJsonSpace(value.back())) value.remove_suffix(1);
  return value;
}

std::string DecodeJson(std::string_view inside) {
  std::string text;
  text.reserve(inside.size());
  while (!inside.empty()) {
    const auto plain = inside.find('\\');
    if (plain == std::string_view::npos) {
      text += inside;
      break;
    }
    text += inside.substr(0, plain);
    const char escape = inside[plain + 1];
    inside.remove_prefix(plain + 2);
    switch (escape) {
      case 'b':
        text += '\b';
        break;
      case 'f':
        text += '\f';
        break;
      case 'n':
        text += '\n';
        break;
      case 'r':
        text += '\r';
        break;
      case 't':
        text += '\t';
        break;
      case 'u': {
        std::uint32_t code_point = CodeUnit(inside);
        inside.remove_prefix(4);
        const bool high = code_point >= 0xD800 && code_point < 0xDC00;
        const std::uint32_t low =
            high && inside.starts_with("\\u") ? CodeUnit(inside.substr(2)) : 0;
        if (low >= 0xDC00 && low < 0xE000) {
          code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
          inside.remove_prefix(6);
        } else if (code_point >= 0xD800 && code_point < 0xE000) {
          code_point = 0xFFFD;
        }
        std::array<char, 4> bytes;
        text.append(bytes.data(), EncodeUtf8(code_point, bytes));
        break;
      }
      default:
        text += escape;
    }
  }
  return text;
}

bool JsonTextIs(std::string_view inside, std::string_view text) {
  if (inside == text) return !inside.contains('\\');
  // An escape is never shorter than what it stands for, and at most six times as long.
  if (inside.size() <= text.size() || inside.size() > text.size() * 6) return false;
  return inside.contains('\\') && DecodeJson(inside) == text;
}

JsonMembers::JsonMembers(std::string_view object)
    : at_(object.data() + 1), end_(object.data() + object.size() - 1) {
  CHECK(object.size() >= 2 && object.front() == '{', "members are asked of objects alone");
}

bool JsonMembers::Next(JsonMember& member) {
  at_ = SkipBlank(at_, end_);
  if (at_ != end_ && *at_ == ',') at_ = SkipBlank(at_ + 1, end_);
  if (at_ == end_) return false;
  const char* const name = at_;
  const char* const behind_name = SkipString(name, end_);
  at_ = SkipBlank(behind_name, end_);
  if (at_ != end_) at_ = SkipBlank(at_ + 1, end_);  // the colon
  const char* const value = at_;
  at_ = SkipValue(value, end_);
  member = {View(name, at_), InsideQuotes(View(name, behind_name)), View(value, at_)};
  return true;
}

JsonElements::JsonElements(std::string_view array)
    : at_(array.data() + 1), end_(array.data() + array.size() - 1) {
  CHECK(array.size() >= 2 && array.front() == '[', "elements are asked of arrays alone");
}

bool JsonElements::Next(std::string_view& element) {
  at_ = SkipBlank(at_, end_);
  if (at_ != end_ && *at_ == ',') at_ = SkipBlank(at_ + 1, end_);
  if (at_ == end_) return false;
  const char* const value = at_;
  at_ = SkipValue(value, end_);
  element = View(value, at_);
  return true;
}

bool FindMembers(std::string_view object, std::span<const std::string_view> names,
                 std::span<JsonMember> found) {
  CHECK(names.size() == found.size() && names.size() <= 32,
        "one place per name, one bit per place");
  std::uint32_t seen = 0;
  JsonMembers members(object);
  JsonMember member;
  while (members.Next(member)) {
    const bool escaped = member.name.contains('\\');
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (escaped ? !JsonTextIs(member.name, names[i]) : member.name != names[i]) continue;
      const std::uint32_t bit = std::uint32_t{1} << i;
      if ((seen & bit) != 0) return false;
      seen |= bit;
      found[i] = member;
      break;
    }
  }
  return true;
}

}  // namespace weir::dialect
