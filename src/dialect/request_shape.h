// What the gateway must know of a generating request, read from its JSON body in one pass without
// building a tree and without ever writing the body again (edits are done in place, json_edit.h).
//
// The whole body is checked against RFC 8259, not only the members we read: what is admitted and
// priced here must be the same document the upstream reads. For the same reason a member we act on
// may appear only once, however its name is escaped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error_list.h"
#include "dialect/audio_length.h"
#include "dialect/dialect.h"

namespace weir::dialect {

// A stretch of the body: [at, at + length).
struct Span {
  std::size_t at = 0;
  std::size_t length = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

// Which member bounds the output.
enum class OutputBoundKey : std::uint8_t {
  kNone,                 // the caller set no bound
  kMaxOutputTokens,      // Responses: max_output_tokens
  kMaxCompletionTokens,  // chat: max_completion_tokens (wins over max_tokens)
  kMaxTokens,            // chat and Anthropic: max_tokens
  kGeminiMaxOutput,      // Gemini: generationConfig.maxOutputTokens
};

struct OutputBound {
  OutputBoundKey key = OutputBoundKey::kNone;
  std::int64_t tokens = 0;  // 1 .. 2^53; 0 when no bound (or null) was sent
  Span value;               // the number, or the null, in the body; empty when the member is absent
};

// What a transcript is asked for as; kOther is for the upstream to judge.
enum class TranscriptFormat : std::uint8_t {
  kJson,
  kText,
  kSrt,
  kVtt,
  kVerboseJson,
  kDiarizedJson,
  kOther,
};
// Formats that are no JSON and have no usage.
constexpr bool IsText(TranscriptFormat format) {
  return format == TranscriptFormat::kText || format == TranscriptFormat::kSrt ||
         format == TranscriptFormat::kVtt;
}

// Of a request to transcribe (transcription.h).
struct AudioPart {
  Span file;
  AudioLength length;
  std::int64_t text_bytes = 0;  // of what the model reads besides: the prompt and keywords
  TranscriptFormat format = TranscriptFormat::kJson;
};

// Everything is in bytes of the body it was read from; nothing points into it.
struct RequestShape {
  Dialect dialect = Dialect::kOpenAiResponses;

  bool has_model = false;  // false only for Gemini, which names the model in the URL
  std::string model;       // decoded, 1..256 bytes
  Span model_value;        // the string with its quotes

  bool stream = false;  // `stream`; for Gemini the URL's verb says it, here always false

  bool has_stream_options = false;      // present and an object; null counts as absent
  Span stream_options_value;            // the object or the null; empty when absent
  std::size_t stream_options_open = 0;  // just behind its '{', when has_stream_options
  bool stream_options_empty = false;
  bool include_usage = false;
  Span include_usage_value;  // the literal; empty when absent

  OutputBound output;
  // Chat alone: both max_completion_tokens and max_tokens were sent. Both must be edited, because
  // which of them an upstream obeys differs.
  OutputBound output_second;

  std::int64_t choices = 1;  // chat n, Gemini candidateCount; 1..128

  // Session signals of the body, decoded; empty when absent. Longer than 256 bytes: cut there.
  std::string session_id;
  std::string conversation_id;  // conversation_id, or Responses' conversation (text or .id)
  std::string prompt_cache_key;
  std::string previous_response_id;

  // What asks for another kind of service at another price, decoded; empty when absent.
  std::string service_tier;   // OpenAI, Anthropic, Gemini
  std::string speed;          // Anthropic
  std::string inference_geo;  // Anthropic

  bool has_tools = false;        // tools is a non-empty array
  std::string reasoning_effort;  // reasoning.effort, reasoning_effort, output_config.effort
  Span reasoning_effort_value;   // the string with its quotes; empty when absent
  std::int64_t turns = 0;        // input items, messages or contents; 1 for an input that is a text

  std::size_t after_open = 0;  // just behind the body's '{': where a member can be inserted
  bool empty_object = false;   // then an inserted member needs no comma
  // Gemini: generationConfig (an object or null), and just behind its '{'.
  Span generation_config_value;
  std::size_t generation_config_open = 0;
  bool generation_config_empty = false;

  std::optional<AudioPart> audio;
};

// Why a body is refused.
struct ShapeError {
  Refusal refusal = Refusal::kInvalidJson;  // or kInvalidRequest; kInternal without memory
  std::string message;                      // for the caller; never repeats bytes of the body
  std::string param;                        // the member at fault, or empty
};

inline constexpr std::size_t kJsonDepthMax = 64;
inline constexpr std::int64_t kTokensMax = std::int64_t{1} << 53;
inline constexpr std::int64_t kChoicesMax = 128;
inline constexpr std::size_t kModelBytesMax = 256;
inline constexpr std::size_t kSignalBytesMax = 256;

// Reads shapes. Holds the scan buffers, so keep one per worker and reuse it; it never holds more
// than 1 MiB between calls. Not for two threads at once.
class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;
  RequestReader& operator=(RequestReader&&) noexcept;

  // The shape of `body`, or why it is refused. The bytes behind the body are not needed.
  std::expected<RequestShape, ShapeError> Read(Dialect dialect, std::string_view body);

 private:
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace weir::dialect
