#include "identity/flat_json.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace weir::identity {
namespace {

constexpr std::string_view kNotJson = "is not one JSON object";
constexpr std::string_view kTwice = "has a member twice";
constexpr std::string_view kTooMany = "has too many members";
constexpr std::string_view kOther = "has a member that is neither a string nor a whole number";
constexpr std::string_view kText = "has a string that is not valid JSON";

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::expected<std::vector<FlatMember>, std::string_view> Object() {
    std::vector<FlatMember> members;
    if (!TakeToken('{')) return std::unexpected(kNotJson);
    if (!TakeToken('}')) {
      do {
        if (members.size() == kFlatMembersMax) return std::unexpected(kTooMany);
        FlatMember member;
        SkipBlanks();
        if (!Take('"')) return std::unexpected(kNotJson);
        if (!String(member.name)) return std::unexpected(kText);
        if (std::ranges::find(members, member.name, &FlatMember::name) != members.end()) {
          return std::unexpected(kTwice);
        }
        if (!TakeToken(':')) return std::unexpected(kNotJson);
        SkipBlanks();
        if (Take('"')) {
          if (!String(member.text)) return std::unexpected(kText);
        } else if (!Number(member.number)) {
          return std::unexpected(kOther);
        }
        members.push_back(std::move(member));
      } while (TakeToken(','));
      if (!TakeToken('}')) return std::unexpected(kNotJson);
    }
    SkipBlanks();
    if (!text_.empty()) return std::unexpected(kNotJson);
    return members;
  }

 private:
  void SkipBlanks() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size()));
  }
  bool Take(char c) {
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool TakeToken(char c) {
    SkipBlanks();
    return Take(c);
  }

  // Behind the opening quote, up to and with the closing one.
  bool String(std::string& out) {
    while (!text_.empty()) {
      const char c = text_.front();
      text_.remove_prefix(1);
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out += c;
      } else if (!Escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool Escape(std::string& out) {
    if (text_.empty()) return false;
    const char c = text_.front();
    text_.remove_prefix(1);
    constexpr std::string_view kShort = "\"\\/bfnrt";
    constexpr std::string_view kMeans = "\"\\/\b\f\n\r\t";
    if (const std::size_t at = kShort.find(c); at != std::string_view::npos) {
      out += kMeans[at];
      return true;
    }
    if (c != 'u' || text_.size() < 4) return false;
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + 4, code, 16);
    if (error != std::errc() || end != text_.data() + 4) return false;
    text_.remove_prefix(4);
    // What lies beyond ASCII is no name and no value here, so it is only kept as something else
    // than ASCII: two surrogates need not be put together.
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else {
      out += "\xEF\xBF\xBD";  // U+FFFD
    }
    return true;
  }

  // -?(0|[1-9][0-9]*) within 64 bits, and nothing that could go on as a fraction or an exponent.
  bool Number(std::optional<std::int64_t>& out) {
    std::size_t end = text_.starts_with('-') ? 1 : 0;
    const std::size_t first = end;
    while (end < text_.size() && text_[end] >= '0' && text_[end] <= '9') ++end;
    if (end == first || (text_[first] == '0' && end > first + 1)) return false;
    if (end < text_.size() && std::string_view(".eE").contains(text_[end])) return false;
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(text_.data(), text_.data() + end, value);
    if (error != std::errc() || stop != text_.data() + end) return false;
    text_.remove_prefix(end);
    out = value;
    return true;
  }

  std::string_view text_;
};

}  // namespace

std::expected<std::vector<FlatMember>, std::string_view> ReadFlatJson(std::string_view text) {
  return Reader(text).Object();
}

}  // namespace weir::identity
