// One JSON reply out of a stream, for a caller that did not ask to stream, from an upstream that
// only streams. Fed with the events; what the upstream wrote is copied, not written again.
//
//   Responses   the terminal event's `response`. When its output is empty: the items of
//               response.output_item.done in the order of output_index, and for an index that has
//               none, what its deltas add up to.
//   chat        chat.completion.chunk to one chat.completion: per choice role, content, refusal,
//               reasoning_content, tool_calls and logprobs joined, the last finish_reason; usage.
//
// Invariants:
//  1. Without a terminal event there is no reply: a cut stream never looks whole.
//  2. What is kept is at most Options::bytes_max, counting what each entry costs us.
//  3. An event that is not JSON is counted and passed over, unless it must be the terminal one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "dialect/dialect.h"
#include "dialect/sse.h"
#include "dialect/usage_reader.h"

namespace weir::dialect {

// Whether a reply is an event stream although JSON was asked for, as some upstreams answer: by its
// Content-Type, or because its first bytes are those of an event, which JSON never begins with.
//   first_bytes  of the decoded body; 64 are enough
bool LooksLikeEventStream(std::string_view content_type, std::string_view first_bytes);

enum class AggregateFailure : std::uint8_t {
  kNoTerminal,  // the stream ended before its end: 502, and retryable like a cut
  kUpstream,    // response.failed, an error event or chunk; see error
  kTooLarge,    // more than bytes_max
  kMalformed,   // the terminal event is not what it must be
};

constexpr std::string_view Name(AggregateFailure failure) {
  switch (failure) {
    case AggregateFailure::kNoTerminal:
      return "no_terminal";
    case AggregateFailure::kUpstream:
      return "upstream";
    case AggregateFailure::kTooLarge:
      return "too_large";
    case AggregateFailure::kMalformed:
      return "malformed";
  }
  return "unknown";
}

struct AggregateError {
  AggregateFailure failure = AggregateFailure::kNoTerminal;
  UpstreamErrorText error;  // of kUpstream; for ClassifyStreamError
};

class StreamAggregate {
 public:
  struct Options {
    std::size_t bytes_max = 32 << 20;
    std::string model;  // put in place of the upstream's; empty: the upstream's stays
  };

  // REQUIRES an OpenAI dialect: the others are not aggregated.
  StreamAggregate(Dialect dialect, Options options);
  ~StreamAggregate();
  StreamAggregate(StreamAggregate&&) noexcept;
  StreamAggregate& operator=(StreamAggregate&&) noexcept;

  // Reads one event. True while more are wanted: after the terminal event, an error, or too much,
  // it is false and whatever comes is not looked at.
  bool Add(const SseEvent& event);

  // The reply, to be called once, when Add gave false or the stream ended.
  std::expected<std::string, AggregateError> Finish();

  std::int64_t malformed_events() const;
  std::size_t held_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::dialect
