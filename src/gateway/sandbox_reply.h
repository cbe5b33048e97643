// The sandbox's "model": synthetic replies in OpenAI's wire shapes, the same for the same request.
// It is what a fresh gateway answers with, what `weir mock-upstream` serves, and what tests, demos
// and benchmarks run against, so its shapes are kept complete: every field OpenAI's API file 2.3.0
// requires is there, and the order of a stream's events is the real one.
//
// It follows a few plain orders found in the prompt (the last message of the user):
//
//   Reply with only: X          answers X. Also "Return only: X", "Return only the word X",
//                               "Reply with exactly: X".
//   ECHO:X                      answers X, at most kSandboxTextBytesMax of it
//   Count from A to B           counts, A and B as digits or as words up to twenty, one event per
//                               number; "slowly" asks for kSandboxSlowPause between events.
//                               "Count from 1 to 1000" is how a benchmark gets a long stream.
//   a JSON object with K V      answers {"K":"V"}
//
// Anything else gets a short text that says it comes from the sandbox. A JSON schema in the request
// is answered with the least JSON that satisfies it.
//
// Tools. One call at most for each message of the user: none when a tool result follows it, or when
// tool_choice is "none". tool_choice "required", or one that names a tool, always gets its call.
// Under "auto" a tool is called when the prompt asks for it: it holds a declared tool's name, or
// the last word of one ("weather" of get_weather), or one of the words tool, tools, run, execute,
// call, shell, command; a prompt that begins with one of the exact orders above calls none. The
// tool is the one named, else one that takes a shell command, else the first. Arguments are the
// least that satisfy the tool's schema, with values written as name=value in the prompt taken over;
// a property `cmd` or `command` is always a harmless echo. After the tool's result the answer
// quotes it.
//
// Tokens are counted, not computed: bytes of text / 4, rounded up. Pure: no clock, no randomness;
// ids come from a hash of the request and the seed. Called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "base/usage.h"

namespace weir::gateway {

inline constexpr std::size_t kSandboxTextBytesMax = 256 << 10;  // of one answer
inline constexpr std::size_t kSandboxDeltasMax = 4096;          // of one stream, over all choices
inline constexpr Duration kSandboxSlowPause = Milliseconds(200);

enum class SandboxOperation : std::uint8_t {
  kResponses,         // POST /responses
  kInputTokens,       // POST /responses/input_tokens
  kCompact,           // POST /responses/compact
  kChat,              // POST /chat/completions
  kEmbeddings,        // POST /embeddings
  kTranscription,     // POST /audio/transcriptions; see sandbox_transcript.h
  kModels,            // GET /models
  kModel,             // GET /models/{id}
  kUnknownPath,       // answered 404
  kMethodNotAllowed,  // answered 405
};

// What a method and a path ask for, with or without a leading "/openai" and "/v1". For kModel,
// `model` is the id in the path, as sent.
struct SandboxTarget {
  SandboxOperation operation = SandboxOperation::kUnknownPath;
  std::string_view model;
};
SandboxTarget SandboxTargetOf(std::string_view method, std::string_view path);

struct SandboxRequest {
  SandboxTarget target;
  std::string_view body;               // any bytes
  std::string_view content_type = {};  // of the body; read for transcriptions alone
  std::uint64_t seed = 0;              // mixed into the ids; 0 makes equal requests get equal ids
  Instant now;                         // for created_at, in whole seconds
  bool omit_usage = false;             // a fault: the reply carries no usage anywhere
};

// A reply, whole. With `event_ends` empty it is one JSON body; otherwise `body` is a stream of
// server-sent events in LF form, event i being [event_ends[i - 1], event_ends[i]), complete with
// its blank line.
struct SandboxReply {
  int status = 200;
  std::string body;
  std::string content_type;  // empty: JSON, or an event stream
  std::vector<std::size_t> event_ends;
  std::size_t terminal_event = 0;  // index of the event that ends the answer: response.completed or
                                   // .incomplete, or a chat stream's first finish_reason chunk;
                                   // what follows it is usage and [DONE]
  Usage usage;           // what the reply says was used; source kNone when it says nothing
  Duration pause;        // > 0: asked for between events ("slowly")
  std::uint64_t id = 0;  // hash of the request, for x-request-id
  std::string model;     // as the request named it; empty when it did not

  bool is_stream() const { return !event_ends.empty(); }
  std::size_t event_count() const { return event_ends.size(); }
  std::string_view event(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : event_ends[i - 1];
    return std::string_view(body).substr(begin, event_ends[i] - begin);
  }
};

// Never fails: a request that cannot be answered gets OpenAI's error body with status 400, 404 or
// 405. Cost is linear in the body; the reply is bounded by the constants above.
SandboxReply MakeSandboxReply(const SandboxRequest& request);

}  // namespace weir::gateway
