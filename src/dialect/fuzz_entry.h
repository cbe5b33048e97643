// The bodies of the fuzz targets of this folder, shared with corpus_test.cc, which runs every kept
// input as an ordinary test. Each checks properties that hold for every input; a broken one ends
// the process. Not part of the library.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dialect/json_edit.h"
#include "dialect/json_path.h"
#include "dialect/request_shape.h"
#include "dialect/sse.h"
#include "dialect/usage_reader.h"

namespace weir::dialect::fuzz {

// '0' to '3', or '8' for transcriptions.
inline Dialect DialectOf(std::uint8_t byte) {
  if ((byte & 15) == 8) return Dialect::kOpenAiTranscription;
  return static_cast<Dialect>(1 + (byte & 3));
}

inline bool Inside(Span span, std::string_view body) {
  return span.at <= body.size() && span.length <= body.size() - span.at;
}

// What simdjson's own complete reader says of a body.
inline simdjson::error_code OracleVerdict(std::string_view body, bool& object) {
  simdjson::dom::parser parser;
  simdjson::dom::element element;
  const auto error = parser.parse(body.data(), body.size(), true).get(element);
  object = error == simdjson::SUCCESS && element.is_object();
  return error;
}

// Byte 0 chooses the dialect; the rest is the body. A body is taken only if a complete JSON reader
// takes it, and refused as JSON only if that one refuses it too.
inline void RequestShapeEntry(std::string_view input) {
  if (input.empty()) return;
  static RequestReader reader;
  const std::string_view body = input.substr(1);
  const auto shape = reader.Read(DialectOf(static_cast<std::uint8_t>(input[0])), body);
  bool object = false;
  const auto oracle = OracleVerdict(body, object);
  if (shape) {
    // The tree reader also refuses numbers beyond its types and halves of surrogate pairs, both
    // of which RFC 8259 allows.
    CHECK((oracle == simdjson::SUCCESS && object) || oracle == simdjson::NUMBER_ERROR ||
              oracle == simdjson::STRING_ERROR,
          "what was taken is JSON");
    CHECK(shape->has_model || shape->dialect == Dialect::kGeminiGenerate, "a model is required");
    CHECK(Inside(shape->model_value, body) && Inside(shape->output.value, body) &&
              Inside(shape->output_second.value, body) &&
              Inside(shape->stream_options_value, body) &&
              Inside(shape->include_usage_value, body) &&
              Inside(shape->generation_config_value, body),
          "spans lie in the body");
    if (shape->has_model) {
      CHECK(body[shape->model_value.at] == '"' && shape->model_value.length >= 3,
            "the model is a string");
    }
    CHECK(shape->choices >= 1 && shape->choices <= kChoicesMax, "choices are bounded");
    CHECK(shape->output.tokens >= 0 && shape->output.tokens <= kTokensMax, "bounds are bounded");
    CHECK(body[shape->after_open - 1] == '{', "members can be put behind the brace");
  } else if (shape.error().refusal == Refusal::kInvalidJson) {
    CHECK(oracle != simdjson::SUCCESS || !object ||
              shape.error().message.find("nested deeper") != std::string::npos,
          "what was refused as JSON is not a JSON object");
  } else {
    CHECK(shape.error().refusal == Refusal::kInvalidRequest, "there is memory");
  }
}

// Byte 0 chooses the dialect, byte 1 the bound; the rest is the body. After the edits the body
// still reads, and reads as what was asked for.
inline void JsonEditEntry(std::string_view input) {
  if (input.size() < 2) return;
  static RequestReader reader;
  const Dialect dialect = DialectOf(static_cast<std::uint8_t>(input[0]));
  const std::int64_t bound = 1 + static_cast<std::uint8_t>(input[1]);
  const bool legacy = (input[0] & 4) != 0;
  const std::string_view body = input.substr(2);

  // Arbitrary stretches: never beyond the body, never more or fewer bytes than promised.
  std::vector<Edit> wild;
  for (std::size_t i = 0; i + 2 < body.size() && i < 15; i += 3) {
    wild.push_back({static_cast<std::uint8_t>(body[i]), static_cast<std::uint8_t>(body[i + 1]),
                    std::string(1, body[i + 2])});
  }
  if (const auto list = Pieces(body, wild)) {
    std::size_t size = 0;
    for (const auto piece : list->pieces) size += piece.size();
    CHECK(size == list->size, "the size is the sum of the pieces");
  }

  std::string quoted;
  AppendJsonString(quoted, body);
  bool object = false;
  CHECK(OracleVerdict(quoted, object) == simdjson::SUCCESS, "any bytes become a JSON string");

  const auto shape = reader.Read(dialect, body);
  if (!shape) return;
  std::vector<Edit> edits;
  EditModel(*shape, "up/stream", edits);
  EditOutputBound(*shape, bound, edits, legacy);
  const bool asked = EditIncludeUsage(*shape, edits);
  const auto edited = Apply(body, edits);
  CHECK(edited.has_value(), "edits of one shape do not overlap");
  const auto again = reader.Read(dialect, *edited);
  CHECK(again.has_value(), "an edited body still reads");
  CHECK(!again->has_model || again->model == "up/stream", "the model was replaced");
  CHECK(again->output.key != OutputBoundKey::kNone, "there is a bound");
  CHECK(again->output.tokens >= 1 && again->output.tokens <= bound, "the bound holds");
  CHECK(again->output_second.key == OutputBoundKey::kNone ||
            (again->output_second.tokens >= 1 && again->output_second.tokens <= bound),
        "the second bound holds");
  if (dialect == Dialect::kOpenAiChat && shape->stream) {
    CHECK(again->include_usage && asked == !shape->include_usage, "usage is asked for");
  }
  CHECK(again->stream == shape->stream && again->choices == shape->choices &&
            again->has_tools == shape->has_tools && again->session_id == shape->session_id,
        "nothing else changed");
}

// Seeds with a meaning: the text as a whole, and each byte alone. The readers have quick ways
// through what lies before them whole, and none through single bytes: these two must agree.
inline constexpr std::uint8_t kWhole = 0;
inline constexpr std::uint8_t kEachByte = 2;

// Cuts a text into pieces, of up to 23 bytes with lengths from `seed` unless it has a meaning.
class Cutter {
 public:
  Cutter(std::string_view text, std::uint8_t seed) : text_(text), seed_(seed), state_(seed) {}
  bool Next(std::string_view& piece) {
    if (text_.empty()) return false;
    state_ = state_ * 1103515245U + 12345U;
    std::size_t length = 1 + ((state_ >> 16) % 23);
    if (seed_ == kWhole) length = text_.size();
    if (seed_ == kEachByte) length = 1;
    length = std::min(length, text_.size());
    piece = text_.substr(0, length);
    text_.remove_prefix(length);
    return true;
  }

 private:
  std::string_view text_;
  std::uint8_t seed_;
  std::uint32_t state_;
};

struct SeenEvent {
  std::string raw, type, data;
  bool has_data;
  friend bool operator==(const SeenEvent&, const SeenEvent&) = default;
};

struct SeenStream {
  std::vector<SeenEvent> events;
  SseStatus last = SseStatus::kNeedMore;
  bool unfinished = false;
  friend bool operator==(const SeenStream&, const SeenStream&) = default;
};

inline SeenStream SplitStream(std::string_view bytes, std::uint8_t seed) {
  SeenStream seen;
  SseSplitter splitter;
  SseEvent event;
  Cutter cutter(bytes, seed);
  std::string_view piece;
  while (cutter.Next(piece)) {
    splitter.Append(piece);
    while ((seen.last = splitter.Next(event)) == SseStatus::kEvent) {
      CHECK(event.raw.ends_with("\n\n") && event.raw.find('\r') == std::string_view::npos,
            "an event is whole and has LF line ends");
      CHECK(!event.data_in_raw || event.raw.substr(event.data_at, event.data.size()) == event.data,
            "the data is where it is said to be");
      seen.events.push_back({std::string(event.raw), std::string(event.type),
                             std::string(event.data), event.has_data});
    }
  }
  seen.unfinished = seen.last == SseStatus::kNeedMore && splitter.Finish();
  return seen;
}

// Byte 0 seeds the cuts; the rest is the stream. However it is cut, the same events come out, and
// the events written out again read as themselves.
inline void SseEntry(std::string_view input) {
  if (input.empty()) return;
  const std::string_view bytes = input.substr(1);
  const SeenStream whole = SplitStream(bytes, 0);
  CHECK(whole == SplitStream(bytes, static_cast<std::uint8_t>(input[0] | 1)),
        "cuts do not change events");
  // Behind a comment, because a byte order mark counts only at the very start.
  std::string written = ":\n\n";
  for (const auto& event : whole.events) written += event.raw;
  SeenStream again = SplitStream(written, 0);
  again.events.erase(again.events.begin());
  CHECK(again.events == whole.events, "events survive being written");
}

inline void CheckUsage(const Usage& usage) {
  CHECK(usage.input_tokens >= 0 && usage.input_tokens <= kTokensMax, "input is in range");
  CHECK(usage.output_tokens >= 0 && usage.output_tokens <= kTokensMax, "output is in range");
  CHECK(usage.cached_input_tokens >= 0 && usage.cache_write_tokens >= 0 &&
            usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens,
        "cached tokens are input tokens");
  CHECK(usage.reasoning_tokens >= 0 && usage.reasoning_tokens <= usage.output_tokens,
        "reasoning tokens are output tokens");
  CHECK(usage.cache_write_1h_tokens >= 0 && usage.cache_write_1h_tokens <= usage.cache_write_tokens,
        "an hour's cache is cache");
  CHECK(usage.input_audio_tokens >= 0 && usage.input_audio_tokens <= usage.input_tokens -
                                                                         usage.cached_input_tokens -
                                                                         usage.cache_write_tokens,
        "audio tokens are input beside the cached ones");
  CHECK(usage.output_audio_tokens >= 0 &&
            usage.output_audio_tokens <= usage.output_tokens - usage.reasoning_tokens,
        "audio tokens are output beside the reasoning");
  CHECK(usage.tool_calls >= 0 && usage.tool_calls <= kTokensMax, "tool calls are in range");
  CHECK(usage.audio_ms >= 0 && usage.audio_ms <= kTokensMax, "audio is in range");
}

struct MeterResult {
  Usage usage;
  bool inconsistent = false;
  StreamEnd end = StreamEnd::kNone;
  std::int64_t estimate = 0;
  std::string sent, model, status, error;
  bool content = false;
  bool complete = false;
  friend bool operator==(const MeterResult&, const MeterResult&) = default;
};

inline std::string Joined(const UpstreamErrorText& error) {
  return error.type + '\n' + error.code + '\n' + error.message + '\n' + error.param + '\n' +
         std::to_string(error.resets_in_seconds.value_or(-1)) + '\n' +
         std::to_string(error.resets_at.value_or(-1));
}

// An event out of which something was taken is one event still, and its data JSON if it was before.
inline void CheckStillJson(std::string_view data, std::string_view edited) {
  SseSplitter splitter;
  SseEvent event;
  // Not as the first event: a byte order mark that begins a line is dropped at the start of a
  // stream and nowhere else.
  splitter.Append(":\n\n");
  CHECK(splitter.Next(event) == SseStatus::kEvent, "a comment is an event");
  splitter.Append(edited);
  CHECK(splitter.Next(event) == SseStatus::kEvent && event.raw == edited, "it is one event");
  bool object = false;
  if (OracleVerdict(data, object) != simdjson::SUCCESS) return;
  CHECK(OracleVerdict(event.data, object) == simdjson::SUCCESS && object, "it is JSON");
}

inline MeterResult MeterStream(Dialect dialect, bool strip, std::string_view bytes,
                               std::uint8_t seed) {
  MeterResult result;
  SseSplitter splitter;
  StreamMeter meter(dialect, {.strip_usage = strip});
  SseEvent event;
  Cutter cutter(bytes, seed);
  std::string_view piece;
  while (cutter.Next(piece)) {
    splitter.Append(piece);
    while (splitter.Next(event) == SseStatus::kEvent) {
      const EventVerdict verdict = meter.OnEvent(event);
      if (verdict.bytes != event.raw && !verdict.bytes.empty()) {
        CHECK(strip && dialect == Dialect::kOpenAiChat, "events pass as they came");
        CheckStillJson(event.data, verdict.bytes);
      }
      result.sent += verdict.bytes;
    }
  }
  result.usage = meter.usage();
  result.inconsistent = meter.inconsistent();
  result.end = meter.end();
  result.estimate = meter.EstimatedOutputTokens();
  result.model = meter.served_model();
  result.error = Joined(meter.error());
  result.content = meter.content_seen();
  CheckUsage(result.usage);
  CHECK(result.estimate >= 0 && result.estimate <= static_cast<std::int64_t>(bytes.size()),
        "the estimate is at most the bytes that came");
  return result;
}

// Byte 0 chooses the dialect and whether usage is stripped, byte 1 seeds the cuts.
inline void StreamMeterEntry(std::string_view input) {
  if (input.size() < 2) return;
  const Dialect dialect = DialectOf(static_cast<std::uint8_t>(input[0]));
  const bool strip = (input[0] & 4) != 0;
  const std::string_view bytes = input.substr(2);
  CHECK(MeterStream(dialect, strip, bytes, 0) ==
            MeterStream(dialect, strip, bytes, static_cast<std::uint8_t>(input[1] | 1)),
        "cuts do not change what is metered");
}

inline MeterResult MeterJson(Dialect dialect, std::string_view bytes, std::uint8_t seed) {
  MeterResult result;
  JsonMeter meter(dialect);
  Cutter cutter(bytes, seed);
  std::string_view piece;
  while (cutter.Next(piece)) meter.Append(piece);
  result.usage = meter.usage();
  result.inconsistent = meter.inconsistent();
  result.estimate = meter.EstimatedOutputTokens();
  result.model = meter.served_model();
  result.status = meter.status();
  result.error = Joined(meter.error());
  result.complete = meter.complete();
  CheckUsage(result.usage);
  CHECK(result.estimate >= 0 && result.estimate <= static_cast<std::int64_t>(bytes.size()),
        "the estimate is at most the bytes that came");
  return result;
}

struct PathResult {
  JsonFindings findings;
  std::string texts;
  bool complete = false;
  bool broken = false;
  friend bool operator==(const PathResult&, const PathResult&) = default;
};

inline PathResult ReadPaths(const JsonPathTable& table, std::string_view bytes, std::uint8_t seed) {
  JsonPathReader reader(table);
  Cutter cutter(bytes, seed);
  std::string_view piece;
  while (cutter.Next(piece)) reader.Append(piece);
  PathResult result{reader.findings(), {}, reader.complete(), reader.broken()};
  for (std::size_t i = kJsonCounts; i < kJsonTexts; ++i) {
    result.texts += reader.Text(static_cast<JsonField>(i));
    result.texts += '\n';
  }
  return result;
}

// A document as a whole gives every table the same findings as its bytes one by one, whatever it
// is.
inline void JsonPathEntry(std::string_view bytes) {
  const auto check = [&](const JsonPathTable& table) {
    const PathResult whole = ReadPaths(table, bytes, kWhole);
    CHECK(whole == ReadPaths(table, bytes, kEachByte), "cuts do not change findings");
    CHECK(whole.findings.text_bytes >= 0 &&
              whole.findings.text_bytes <= static_cast<std::int64_t>(bytes.size()),
          "no more text than bytes");
  };
  for (const char i : std::string_view("01238")) {
    check(EventPaths(DialectOf(static_cast<std::uint8_t>(i))));
    check(ReplyPaths(DialectOf(static_cast<std::uint8_t>(i))));
  }
  check(ErrorPaths());
}

// Byte 0 chooses the dialect, byte 1 seeds the cuts. A document that a complete reader takes is
// complete for the meter too.
inline void JsonMeterEntry(std::string_view input) {
  if (input.size() < 2) return;
  const Dialect dialect = DialectOf(static_cast<std::uint8_t>(input[0]));
  const std::string_view bytes = input.substr(2);
  const MeterResult whole = MeterJson(dialect, bytes, kWhole);
  CHECK(whole == MeterJson(dialect, bytes, static_cast<std::uint8_t>(input[1] | 1)),
        "cuts do not change what is metered");
  CHECK(whole == MeterJson(dialect, bytes, kEachByte), "nor do single bytes");
  JsonPathEntry(bytes);
  bool object = false;
  if (OracleVerdict(bytes, object) == simdjson::SUCCESS && object) {
    CHECK(whole.complete, "a whole document is complete");
  }
}

}  // namespace weir::dialect::fuzz
