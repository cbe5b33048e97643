// What a request to the sandbox asks, and what the sandbox answers: the part of the synthetic model
// that does not know how an answer is written on the wire. sandbox_reply.h lists the rules.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace weir::gateway {

// A request the sandbox cannot answer, in the words of OpenAI's error body. `param` may be empty.
struct SandboxBadRequest {
  std::string message;
  std::string param;
  std::string_view code = "invalid_value";
};

struct SandboxTool {
  std::string_view name;
  bool custom = false;                             // free text instead of JSON arguments
  const boost::json::value* parameters = nullptr;  // a JSON schema, or null
};

enum class SandboxToolChoice : std::uint8_t { kAuto, kNone, kRequired, kNamed };

// One request for an answer, read from either shape. Views point into the parsed body.
struct SandboxAsk {
  std::string_view model;
  bool stream = false;
  bool include_usage = false;          // chat: stream_options.include_usage
  std::int64_t choices = 1;            // chat: n, 1 to kSandboxChoicesMax
  std::int64_t output_tokens_max = 0;  // 0: no bound
  bool reasoning = false;
  bool encrypted_reasoning = false;        // include reasoning.encrypted_content
  bool compaction = false;                 // the last input item is a compaction_trigger
  std::string prompt;                      // the last message of the user, bounded
  std::optional<std::string> tool_result;  // the last result after that message, bounded
  std::vector<SandboxTool> tools;          // functions and custom tools, in order
  SandboxToolChoice tool_choice = SandboxToolChoice::kAuto;
  std::string_view tool_named;
  const boost::json::value* schema = nullptr;  // structured output
  bool json_object = false;                    // any JSON object will do
  std::int64_t input_tokens = 0;
};

inline constexpr std::int64_t kSandboxChoicesMax = 128;  // OpenAI's bound on n

// Every field looked at is checked for its type; fields not looked at may hold anything.
std::expected<SandboxAsk, SandboxBadRequest> ReadResponsesAsk(const boost::json::object& body);
std::expected<SandboxAsk, SandboxBadRequest> ReadChatAsk(const boost::json::object& body);

struct SandboxAnswer {
  enum class Kind : std::uint8_t { kText, kFunctionCall, kCustomCall };
  Kind kind = Kind::kText;
  std::string_view tool;  // of a call
  std::string text;       // the text, or the arguments, or the custom tool's input
  Duration pause;
};

SandboxAnswer AnswerAsk(const SandboxAsk& ask);

// The string at `key`, or empty when it is absent or something else.
std::string_view StringAt(const boost::json::object& object, std::string_view key);

// The tokens of every string inside `value`, however deep.
std::int64_t TokensInside(const boost::json::value* value);

}  // namespace weir::gateway
