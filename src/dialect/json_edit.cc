#include "dialect/json_edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "dialect/json_scan.h"

namespace weir::dialect {
namespace {

// True when `a` must come before `b`. An insert comes before a replacement at the same place.
bool Before(const Edit& a, const Edit& b) {
  if (a.at != b.at) return a.at < b.at;
  return a.length == 0 && b.length != 0;
}

// Inserts a member right behind an opening brace.
void InsertMember(std::size_t behind_open, bool empty_object, std::string_view name,
                  std::string_view value, std::vector<Edit>& edits) {
  edits.push_back(
      {behind_open, 0, fmt::format("\"{}\":{}{}", name, value, empty_object ? "" : ",")});
}

void LowerBound(const OutputBound& bound, std::int64_t tokens, std::vector<Edit>& edits) {
  if (bound.key == OutputBoundKey::kNone) return;
  if (bound.tokens != 0 && bound.tokens <= tokens) return;
  edits.push_back({bound.value.at, bound.value.length, fmt::format_int(tokens).str()});
}

std::string_view InsertedBoundName(Dialect dialect, bool legacy_chat_key) {
  switch (dialect) {
    case Dialect::kOpenAiResponses:
      return "max_output_tokens";
    case Dialect::kOpenAiChat:
      return legacy_chat_key ? "max_tokens" : "max_completion_tokens";
    case Dialect::kAnthropicMessages:
      return "max_tokens";
    case Dialect::kGeminiGenerate:
      return "maxOutputTokens";
    case Dialect::kOpenAiTranscription:
      break;  // it has none
  }
  return "max_output_tokens";
}

}  // namespace

std::expected<PieceList, std::string> Pieces(std::string_view body, std::vector<Edit>& edits) {
  // Insertion sort: stable, no allocation, and there are at most a handful.
  for (std::size_t i = 1; i < edits.size(); ++i) {
    for (std::size_t j = i; j > 0 && Before(edits[j], edits[j - 1]); --j) {
      std::swap(edits[j], edits[j - 1]);
    }
  }
  PieceList list;
  list.pieces.reserve(edits.size() * 2 + 1);
  const auto add = [&list](std::string_view piece) {
    if (piece.empty()) return;
    list.pieces.push_back(piece);
    list.size += piece.size();
  };
  std::size_t at = 0;
  for (const auto& edit : edits) {
    if (edit.at > body.size() || edit.length > body.size() - edit.at) {
      return std::unexpected(fmt::format("edit at {} + {} reaches beyond a body of {} bytes",
                                         edit.at, edit.length, body.size()));
    }
    if (edit.at < at) {
      return std::unexpected(
          fmt::format("edit at {} overlaps the one before, which ends at {}", edit.at, at));
    }
    add(body.substr(at, edit.at - at));
    add(edit.text);
    at = edit.at + edit.length;
  }
  add(body.substr(at));
  return list;
}

std::expected<std::string, std::string> Apply(std::string_view body, std::vector<Edit> edits) {
  auto list = Pieces(body, edits);
  if (!list) return std::unexpected(std::move(list.error()));
  std::string text;
  text.reserve(list->size);
  for (const auto piece : list->pieces) text += piece;
  return text;
}

void EditModel(const RequestShape& shape, std::string_view model, std::vector<Edit>& edits) {
  if (!shape.has_model || shape.model == model) return;
  std::string text;
  if (shape.dialect == Dialect::kOpenAiTranscription) {
    text = model;  // a part of a form is plain bytes
  } else {
    AppendJsonString(text, model);
  }
  edits.push_back({shape.model_value.at, shape.model_value.length, std::move(text)});
}

void EditOutputBound(const RequestShape& shape, std::int64_t tokens, std::vector<Edit>& edits,
                     bool legacy_chat_key) {
  CHECK(tokens >= 1, "a request that may give no output is refused, not sent");
  if (shape.dialect == Dialect::kOpenAiTranscription) return;
  if (shape.output.key != OutputBoundKey::kNone) {
    LowerBound(shape.output, tokens, edits);
    LowerBound(shape.output_second, tokens, edits);
    return;
  }
  const std::string value = fmt::format_int(tokens).str();
  const std::string_view name = InsertedBoundName(shape.dialect, legacy_chat_key);
  if (shape.dialect != Dialect::kGeminiGenerate) {
    InsertMember(shape.after_open, shape.empty_object, name, value, edits);
  } else if (shape.generation_config_value.length == 0) {
    InsertMember(shape.after_open, shape.empty_object, "generationConfig",
                 fmt::format("{{\"{}\":{}}}", name, value), edits);
  } else if (shape.generation_config_open == 0) {  // it is null
    edits.push_back({shape.generation_config_value.at, shape.generation_config_value.length,
                     fmt::format("{{\"{}\":{}}}", name, value)});
  } else {
    InsertMember(shape.generation_config_open, shape.generation_config_empty, name, value, edits);
  }
}

bool EditIncludeUsage(const RequestShape& shape, std::vector<Edit>& edits) {
  if (shape.dialect != Dialect::kOpenAiChat || !shape.stream || shape.include_usage) return false;
  if (shape.include_usage_value.length != 0) {
    edits.push_back({shape.include_usage_value.at, shape.include_usage_value.length, "true"});
  } else if (shape.has_stream_options) {
    InsertMember(shape.stream_options_open, shape.stream_options_empty, "include_usage", "true",
                 edits);
  } else if (shape.stream_options_value.length != 0) {  // it is null
    edits.push_back({shape.stream_options_value.at, shape.stream_options_value.length,
                     "{\"include_usage\":true}"});
  } else {
    InsertMember(shape.after_open, shape.empty_object, "stream_options", "{\"include_usage\":true}",
                 edits);
  }
  return true;
}

namespace {

// The length of the UTF-8 character at `text`'s front, or 0 when it is none (RFC 3629: no
// overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t Utf8CharacterLength(std::string_view text) {
  const auto byte = [text](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&byte](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return continues(1) && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size()) {
      const auto c = static_cast<unsigned char>(text[plain]);
      if (c < 0x20 || c == '"' || c == '\\' || c >= 0x7F) break;
      ++plain;
    }
    out.append(text, 0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const char c = text.front();
    std::size_t length = 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        length = Utf8CharacterLength(text);
        if (length == 0) {
          out += "\xEF\xBF\xBD";
          length = 1;
        } else if (length == 1) {  // a control character, or DEL
          out += "\\u00";
          out += kHex[static_cast<unsigned char>(c) >> 4];
          out += kHex[static_cast<unsigned char>(c) & 15];
        } else {
          out.append(text, 0, length);
        }
    }
    text.remove_prefix(length);
  }
  out += '"';
}

}  // namespace weir::dialect
