// The body of the fuzz target for forms, shared with form_corpus_test.cc. Not part of the library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dialect/audio_length.h"
#include "dialect/json_edit.h"
#include "dialect/multipart.h"
#include "dialect/transcription.h"

namespace weir::dialect::fuzz {

inline void CheckLength(const AudioLength& length) {
  CHECK(length.ms >= 0 && length.ms <= length.ms_max && length.ms_max <= kAudioMsMax,
        "no audio is longer than what is held for it");
}

inline std::string_view In(std::string_view body, const Span& span) {
  CHECK(span.at <= body.size() && span.length <= body.size() - span.at, "a part is in the body");
  return body.substr(span.at, span.length);
}

// The first line is the content type, the rest the body.
inline void MultipartEntry(std::string_view input) {
  const auto line = std::min(input.find('\n'), input.size());
  const std::string_view type = input.substr(0, line);
  const std::string_view body = line == input.size() ? std::string_view() : input.substr(line + 1);
  CheckLength(LengthOfAudio(body));

  const auto boundary = BoundaryOf(type);
  if (!boundary) return;
  CHECK(!boundary->empty() && boundary->size() <= 70, "a boundary has 1 to 70 bytes");
  const std::string delimiter = "\r\n--" + *boundary;
  if (const auto parts = ReadMultipart(*boundary, body)) {
    CHECK(parts->size() <= kMultipartPartsMax, "the number of parts is bounded");
    std::size_t end = 0;
    for (const auto& part : *parts) {
      const std::string_view content = In(body, part.content);
      CHECK(content.find(delimiter) == std::string_view::npos, "no boundary is in a part");
      CHECK(part.content.at >= end, "parts are in order and apart");
      CHECK(body.substr(part.content.at + part.content.length).starts_with(delimiter),
            "a part ends at a boundary");
      end = part.content.at + part.content.length + delimiter.size();
    }
  }

  const auto shape = ReadTranscription(type, body);
  if (!shape) return;
  CHECK(shape->has_model && shape->audio && shape->audio->file.length > 0,
        "what is required is there");
  CHECK(In(body, shape->model_value) == shape->model, "the model is what stands in its place");
  CheckLength(shape->audio->length);
  std::vector<Edit> edits;
  EditModel(*shape, "up/stream", edits);
  EditOutputBound(*shape, 1, edits);
  CHECK(!EditIncludeUsage(*shape, edits), "a form has no stream options");
  const auto edited = Apply(body, edits);
  CHECK(edited.has_value(), "the edit lies in the body");
  const auto again = ReadTranscription(type, *edited);
  CHECK(again.has_value() && again->model == "up/stream", "the model was replaced");
  CHECK(In(*edited, again->audio->file) == In(body, shape->audio->file) &&
            again->stream == shape->stream && again->audio->length == shape->audio->length,
        "nothing else changed");
}

}  // namespace weir::dialect::fuzz
