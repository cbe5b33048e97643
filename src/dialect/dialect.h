// The wire families this gateway speaks. A request keeps its family from the caller to the
// upstream: nothing here translates between families.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::dialect {

// Frozen: the values are in the request log.
enum class Dialect : std::uint8_t {
  kOpenAiResponses = 1,      // POST /responses
  kOpenAiChat = 2,           // POST /chat/completions
  kAnthropicMessages = 3,    // POST /v1/messages
  kGeminiGenerate = 4,       // POST /v1beta/models/X:generateContent and :streamGenerateContent
  kOpenAiTranscription = 5,  // POST /audio/transcriptions: a form, not JSON
};

constexpr std::string_view Name(Dialect dialect) {
  switch (dialect) {
    case Dialect::kOpenAiResponses:
      return "openai_responses";
    case Dialect::kOpenAiChat:
      return "openai_chat";
    case Dialect::kAnthropicMessages:
      return "anthropic_messages";
    case Dialect::kGeminiGenerate:
      return "gemini_generate";
    case Dialect::kOpenAiTranscription:
      return "openai_transcription";
  }
  return "unknown";
}

constexpr bool IsOpenAi(Dialect dialect) {
  return dialect == Dialect::kOpenAiResponses || dialect == Dialect::kOpenAiChat ||
         dialect == Dialect::kOpenAiTranscription;
}

}  // namespace weir::dialect
