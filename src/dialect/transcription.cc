#include "dialect/transcription.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "dialect/multipart.h"

namespace weir::dialect {
namespace {

using Fault = std::unexpected<ShapeError>;

Fault Bad(std::string message, std::string param = {}) {
  return Fault(ShapeError{.refusal = Refusal::kInvalidRequest,
                          .message = std::move(message),
                          .param = std::move(param)});
}

bool IsModelName(std::string_view text) {
  return !text.empty() && text.size() <= kModelBytesMax && std::ranges::none_of(text, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

// As OpenAI's SDKs, curl users and Python's str() write it.
std::optional<bool> ReadFlag(std::string_view text) {
  for (const std::string_view yes : {"true", "True", "TRUE", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "False", "FALSE", "0"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

TranscriptFormat ReadFormat(std::string_view text) {
  using enum TranscriptFormat;
  constexpr std::pair<std::string_view, TranscriptFormat> kFormats[] = {
      {"json", kJson},
      {"text", kText},
      {"srt", kSrt},
      {"vtt", kVtt},
      {"verbose_json", kVerboseJson},
      {"diarized_json", kDiarizedJson}};
  for (const auto& [name, format] : kFormats) {
    if (text == name) return format;
  }
  return kOther;
}

}  // namespace

std::expected<RequestShape, ShapeError> ReadTranscription(std::string_view content_type,
                                                          std::string_view body) {
  const auto boundary = BoundaryOf(content_type);
  if (!boundary) return Bad(boundary.error());
  const auto parts = ReadMultipart(*boundary, body);
  if (!parts) return Bad(parts.error());

  RequestShape shape;
  shape.dialect = Dialect::kOpenAiTranscription;
  AudioPart audio;
  bool has_file = false;
  for (const MultipartPart& part : *parts) {
    const std::string_view content = body.substr(part.content.at, part.content.length);
    if (part.name == "file") {
      if (!part.is_file) return Bad("The file must be sent as a file, with a file name", "file");
      has_file = true;
      audio.file = part.content;
      audio.length = LengthOfAudio(content);
      continue;
    }
    if (part.name == "model") {
      if (!IsModelName(content)) {
        return Bad("The model must be a name of 1 to 256 bytes", "model");
      }
      shape.has_model = true;
      shape.model = content;
      shape.model_value = part.content;
    } else if (part.name == "stream") {
      const auto flag = ReadFlag(content);
      if (!flag) return Bad("stream must be true or false", "stream");
      shape.stream = *flag;
    } else if (part.name == "response_format") {
      audio.format = ReadFormat(content);
    }
    if (part.name == "prompt" || part.name == "keywords[]") {
      audio.text_bytes += static_cast<std::int64_t>(content.size());
    }
  }
  if (!shape.has_model) return Bad("The part 'model' is required", "model");
  if (!has_file) return Bad("The part 'file' is required", "file");
  if (audio.file.length == 0) return Bad("The file is empty", "file");
  shape.audio = std::move(audio);
  return shape;
}

}  // namespace weir::dialect
