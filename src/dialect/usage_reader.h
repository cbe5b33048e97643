// What a reply used, read from the bytes that pass: StreamMeter for event streams, JsonMeter for
// JSON bodies. Neither changes what passes, with one exception: StreamMeter takes out the usage
// that we asked for and the caller did not.
//
// Invariants:
//  1. The result does not depend on where the bytes were cut.
//  2. Memory is bounded whatever the upstream sends: names, numbers and short texts only.
//  3. A figure the upstream gives wrongly (negative, above 2^53, not an integer, cached above the
//     input, falling) is brought into range and marked `inconsistent`; it is never undefined and
//     never throws.
//  4. A reply without usage has source kNone; the caller of this decides between kEstimated and
//     kCheckpoint and takes EstimatedOutputTokens().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/usage.h"
#include "dialect/dialect.h"
#include "dialect/json_path.h"
#include "dialect/sse.h"

namespace weir::dialect {

// An error as an upstream words it, in any dialect. Texts are cut at 1 KiB. `message` may name the
// operator's account: it is for the log, and for callers only where failure_class.h says so.
struct UpstreamErrorText {
  std::string type;  // error.type, Gemini's error.status
  std::string code;  // error.code, also when it is a number; Anthropic's details.error_code
  std::string message;
  std::string param;
  std::optional<std::int64_t> resets_in_seconds;
  std::optional<std::int64_t> resets_at;  // unix seconds
};

enum class StreamEnd : std::uint8_t {
  kNone,        // the stream goes on
  kCompleted,   // it ended as it should
  kIncomplete,  // Responses: response.incomplete; the reply is valid and charged
  kFailed,      // Responses: response.failed; see error()
  kError,       // an error event; see error()
};

struct EventVerdict {
  // What to send to the caller: event.raw, an edited copy (valid until the next OnEvent), or
  // nothing when the event was ours alone or came after the end.
  std::string_view bytes;
  // The event carries generated content. Once such an event was sent there is no failover; before
  // it everything may still be thrown away.
  bool content = false;
  StreamEnd end = StreamEnd::kNone;
  // This event tells the caller that the call is over: hold it back until the charge is durable.
  // Gemini has none, its streams end with the body.
  bool terminal = false;
  // The reply is whole with this event although the stream may go on, with [DONE] or its end alone:
  // hold it back as well. Transcriptions have it.
  bool last = false;
};

class StreamMeter {
 public:
  struct Options {
    // We added stream_options.include_usage: take the usage out again.
    bool strip_usage = false;
    // The event with the final usage is `last` too: something will be written into it.
    bool hold_usage = false;
  };

  explicit StreamMeter(Dialect dialect) : StreamMeter(dialect, Options{}) {}
  StreamMeter(Dialect dialect, Options options);

  // Reads one event. A comment passes unseen; an event whose data is not JSON passes too (it is
  // counted in malformed_events, and the caller's own reader decides).
  EventVerdict OnEvent(const SseEvent& event);

  // The upstream's figures so far, cleaned; source kNone when it gave none.
  Usage usage() const;
  bool inconsistent() const;
  // kNone until a terminal event; for Gemini kCompleted once a finishReason or a blocked prompt was
  // seen, so that a body that ends earlier can be told from one that is whole.
  StreamEnd end() const { return end_; }
  bool content_seen() const { return content_seen_; }
  // Bytes of generated text, reasoning and tool arguments after decoding JSON escapes.
  std::int64_t observed_output_bytes() const;
  // ceil(observed_output_bytes / 4): our own count when the upstream gives none.
  std::int64_t EstimatedOutputTokens() const;
  const UpstreamErrorText& error() const { return error_; }
  std::string_view served_model() const { return served_model_; }
  // Responses: what previous_response_id of a later call names.
  std::string_view response_id() const { return response_id_; }
  std::int64_t malformed_events() const { return malformed_events_; }
  std::int64_t events_after_end() const { return events_after_end_; }

 private:
  EventVerdict OnResponsesEvent(const SseEvent& event);
  EventVerdict OnChatEvent(const SseEvent& event);
  EventVerdict OnAnthropicEvent(const SseEvent& event);
  EventVerdict OnGeminiEvent(const SseEvent& event);
  EventVerdict OnTranscriptEvent(const SseEvent& event);
  bool ReadData(std::string_view data);
  EventVerdict Terminal(const SseEvent& event, StreamEnd end);
  void TakeModel();
  void ReadModelOnly(std::string_view data);
  std::string_view WithoutUsage(const SseEvent& event, Span member);

  Dialect dialect_;
  Options options_;
  StreamEnd end_ = StreamEnd::kNone;
  bool content_seen_ = false;
  bool closed_ = false;  // a terminal event was seen
  JsonPathReader reader_;
  UsageTally tally_;
  std::int64_t delta_bytes_ = 0;  // of text that came in pieces
  std::int64_t whole_bytes_ = 0;  // of items that came whole; counts only when there were no pieces
  std::int64_t malformed_events_ = 0;
  std::int64_t events_after_end_ = 0;
  UpstreamErrorText error_;
  std::string served_model_;
  std::string response_id_;
  std::string scratch_;
};

// The same for a reply that is one JSON document, fed as it arrives. Tolerates a body that breaks
// off: what was read until then counts.
class JsonMeter {
 public:
  explicit JsonMeter(Dialect dialect);

  void Append(std::string_view bytes);

  Usage usage() const;
  bool inconsistent() const;
  // True when the document was whole and well nested, with nothing behind it.
  bool complete() const;
  std::int64_t observed_output_bytes() const;
  std::int64_t EstimatedOutputTokens() const;
  std::string_view served_model() const;
  std::string_view response_id() const;
  std::string_view status() const;  // Responses: "completed", "incomplete", "failed", ...
  UpstreamErrorText error() const;  // of an error member that is not null; empty otherwise

 private:
  Dialect dialect_;
  JsonPathReader reader_;
};

}  // namespace weir::dialect
