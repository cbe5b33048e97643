#include "dialect/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace weir::dialect {
namespace {

constexpr std::size_t kBoundaryBytesMax = 70;
constexpr std::size_t kParametersMax = 16;

using Problem = std::unexpected<std::string>;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool SameIgnoringCase(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) { return Lower(a) == b; });
}

bool IsSpace(char c) { return c == ' ' || c == '\t'; }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

// RFC 9110 section 5.6.2.
bool IsTokenCharacter(char c) {
  const bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return alnum || std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, IsTokenCharacter);
}

// RFC 2046 section 5.1.1: bchars, and no space at the end.
bool IsBoundary(std::string_view text) {
  return !text.empty() && text.size() <= kBoundaryBytesMax && text.back() != ' ' &&
         std::ranges::all_of(text, [](char c) {
           const bool alnum =
               (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
           return alnum || std::string_view("'()+_,-./:=? ").contains(c);
         });
}

// One `; name=value` after the other.
class Parameters {
 public:
  struct Parameter {
    std::string_view name;
    std::string value;
  };

  explicit Parameters(std::string_view text) : rest_(text) {}

  // Nothing at the end, and at what is malformed: then ok() is false.
  std::optional<Parameter> Next() {
    rest_ = Trimmed(rest_);
    if (rest_.empty()) return std::nullopt;
    if (rest_.front() != ';' || ++count_ > kParametersMax) return Bad();
    rest_ = Trimmed(rest_.substr(1));
    if (rest_.empty()) return std::nullopt;  // a semicolon at the end means nothing
    const auto equals = rest_.find('=');
    if (equals == std::string_view::npos) return Bad();
    Parameter parameter{.name = rest_.substr(0, equals), .value = {}};
    if (!IsToken(parameter.name)) return Bad();
    rest_.remove_prefix(equals + 1);
    if (rest_.empty()) return Bad();
    if (rest_.front() == '"') {
      if (!TakeQuoted(parameter.value)) return Bad();
    } else {
      const auto end = std::min(rest_.find_first_of("; \t"), rest_.size());
      if (end == 0) return Bad();
      parameter.value = rest_.substr(0, end);
      rest_.remove_prefix(end);
    }
    return parameter;
  }
  bool ok() const { return ok_; }

 private:
  // A backslash escapes a quote and itself, as curl writes them. Before anything else it is a
  // backslash: old browsers send whole Windows paths.
  bool TakeQuoted(std::string& value) {
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      char c = rest_[i];
      if (c == '"') {
        rest_.remove_prefix(i + 1);
        return true;
      }
      if (c == '\\' && i + 1 < rest_.size() && (rest_[i + 1] == '"' || rest_[i + 1] == '\\')) {
        c = rest_[++i];
      }
      value += c;
    }
    return false;
  }
  std::optional<Parameter> Bad() {
    ok_ = false;
    return std::nullopt;
  }

  std::string_view rest_;
  std::size_t count_ = 0;
  bool ok_ = true;
};

Problem BadPart(std::size_t index, std::string_view what) {
  return Problem(fmt::format("Part {} of the multipart body {}", index + 1, what));
}

// The first header of a part's head; false at what is no header.
bool TakeHeader(std::string_view& head, std::string_view& name, std::string_view& value) {
  const auto end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  head = end == std::string_view::npos ? std::string_view() : head.substr(end + 2);
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  name = line.substr(0, colon);
  value = Trimmed(line.substr(colon + 1));
  return IsToken(name) && std::ranges::none_of(value, [](char c) {
           return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
         });
}

// `form-data; name="file"; filename="a.mp3"`. False when it is anything else.
bool ReadDisposition(std::string_view value, MultipartPart& part) {
  const auto end = std::min(value.find(';'), value.size());
  if (!SameIgnoringCase(Trimmed(value.substr(0, end)), "form-data")) return false;
  Parameters parameters(value.substr(end));
  bool named = false;
  bool wide_file = false;
  while (auto parameter = parameters.Next()) {
    if (SameIgnoringCase(parameter->name, "name")) {
      if (std::exchange(named, true)) return false;
      part.name = std::move(parameter->value);
    } else if (SameIgnoringCase(parameter->name, "filename")) {
      if (std::exchange(part.is_file, true)) return false;
      part.file_name = std::move(parameter->value);
    } else if (SameIgnoringCase(parameter->name, "filename*")) {
      // Not for forms (RFC 7578 section 4.2), but some libraries send it for names beyond ASCII.
      if (std::exchange(wide_file, true)) return false;
    } else if (SameIgnoringCase(parameter->name, "name*")) {
      return false;
    }
  }
  part.is_file |= wide_file;
  return parameters.ok() && named && !part.name.empty() &&
         part.name.size() <= kMultipartNameBytesMax;
}

std::expected<MultipartPart, std::string> ReadHead(std::string_view head, std::size_t index) {
  MultipartPart part;
  bool disposed = false;
  bool typed = false;
  while (!head.empty()) {
    std::string_view name;
    std::string_view value;
    if (!TakeHeader(head, name, value)) return BadPart(index, "has a malformed header");
    if (SameIgnoringCase(name, "content-disposition")) {
      if (std::exchange(disposed, true) || !ReadDisposition(value, part)) {
        return BadPart(index, "has no well-formed Content-Disposition with a name");
      }
    } else if (SameIgnoringCase(name, "content-type")) {
      if (std::exchange(typed, true)) return BadPart(index, "has two content types");
      if (value.size() >= 10 && SameIgnoringCase(value.substr(0, 10), "multipart/")) {
        return BadPart(index, "is multipart itself, which is not accepted");
      }
      part.content_type = value;
    } else if (SameIgnoringCase(name, "content-transfer-encoding")) {
      if (!SameIgnoringCase(value, "binary") && !SameIgnoringCase(value, "8bit") &&
          !SameIgnoringCase(value, "7bit")) {
        return BadPart(index, "has a transfer encoding, which is not accepted");
      }
    }
  }
  if (!disposed) return BadPart(index, "has no Content-Disposition");
  return part;
}

}  // namespace

bool IsMultipartForm(std::string_view content_type) {
  return SameIgnoringCase(Trimmed(content_type.substr(0, content_type.find(';'))),
                          "multipart/form-data");
}

std::expected<std::string, std::string> BoundaryOf(std::string_view content_type) {
  if (!IsMultipartForm(content_type)) return Problem("The content type is not multipart/form-data");
  const auto end = std::min(content_type.find(';'), content_type.size());
  Parameters parameters(content_type.substr(end));
  std::optional<std::string> boundary;
  while (auto parameter = parameters.Next()) {
    if (!SameIgnoringCase(parameter->name, "boundary")) continue;
    if (boundary) return Problem("The content type names two boundaries");
    boundary = std::move(parameter->value);
  }
  if (!parameters.ok()) return Problem("The parameters of the content type are malformed");
  if (!boundary) return Problem("The content type names no boundary");
  if (!IsBoundary(*boundary)) return Problem("The boundary in the content type is malformed");
  return *std::move(boundary);
}

std::expected<std::vector<MultipartPart>, std::string> ReadMultipart(std::string_view boundary,
                                                                     std::string_view body) {
  const std::string delimiter = fmt::format("\r\n--{}", boundary);
  const std::string_view first = std::string_view(delimiter).substr(2);
  if (!body.starts_with(first)) {
    return Problem("The multipart body does not begin with the boundary of its content type");
  }
  std::vector<MultipartPart> parts;
  std::size_t at = first.size();  // behind a boundary
  while (true) {
    std::string_view rest = body.substr(at);
    if (rest.starts_with("--")) {
      rest.remove_prefix(2);
      const bool clean =
          std::ranges::all_of(rest, [](char c) { return IsSpace(c) || c == '\r' || c == '\n'; });
      if (!clean) return Problem("The multipart body goes on behind its last boundary");
      return parts;
    }
    std::size_t padding = 0;
    while (padding < rest.size() && IsSpace(rest[padding])) ++padding;
    at += padding;
    rest.remove_prefix(padding);
    if (!rest.starts_with("\r\n")) {
      return Problem(
          "The multipart body has a line that only begins like its boundary, or ends "
          "before its last boundary");
    }
    if (parts.size() == kMultipartPartsMax) {
      return Problem(fmt::format("The multipart body has more than {} parts", kMultipartPartsMax));
    }
    at += 2;
    // The empty line ends the head, also of a part without headers, which then lacks its name.
    const std::string_view window =
        body.substr(at, std::min(body.size() - at, kMultipartHeadBytesMax));
    const auto head_end = window.find("\r\n\r\n");
    if (head_end == std::string_view::npos) {
      return BadPart(parts.size(),
                     fmt::format("has headers without an end, or of more than {} bytes",
                                 kMultipartHeadBytesMax));
    }
    auto part = ReadHead(window.substr(0, head_end), parts.size());
    if (!part) return Problem(std::move(part.error()));
    at += head_end + 4;
    // glibc's memmem is linear whatever the two texts are.
    const void* const found =
        memmem(body.data() + at, body.size() - at, delimiter.data(), delimiter.size());
    if (found == nullptr) return Problem("The multipart body ends before its last boundary");
    const auto end = static_cast<std::size_t>(static_cast<const char*>(found) - body.data());
    part->content = {at, end - at};
    if (!part->name.ends_with("[]") &&
        std::ranges::any_of(parts, [&](const auto& other) { return other.name == part->name; })) {
      return BadPart(parts.size(), "has a name that was there before");
    }
    parts.push_back(*std::move(part));
    at = end + delimiter.size();
  }
}

}  // namespace weir::dialect
