// What the mock upstream can be told to do wrong: the faults of its control endpoint as values,
// read from JSON, printed again, and turned into the pieces of a reply. Pure; the waiting and the
// cutting are done by mock_upstream. docs/guide/mock-upstream.md lists every field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "gateway/sandbox_reply.h"

namespace weir::cli {

// Numbers are 0 and texts empty when the fault does not ask for that; those that mean something at
// 0 are optional.
struct Fault {
  // Instead of the sandbox's answer.
  std::int64_t status = 0;
  std::string body;       // a kind of error body, see kBodyKinds in mock_fault.cc
  std::string body_text;  // sent as it is
  std::string content_type;
  // In the head.
  std::string retry_after;  // verbatim: seconds or a date
  std::int64_t retry_after_ms = 0;
  std::int64_t resets_in_seconds = 0;  // error.resets_in_seconds
  std::int64_t resets_at_in = 0;       // error.resets_at, this many seconds from now
  std::string content_encoding;        // a lie: the body stays plain
  std::string framing;                 // two_content_lengths | content_length_and_chunked
  std::vector<std::pair<std::string, std::string>> headers;
  // Time.
  std::int64_t latency_ms = 0;
  std::int64_t first_event_delay_ms = 0;
  std::int64_t event_delay_ms = 0;
  std::string hang;          // before_head | after_head | mid_stream
  std::int64_t hang_ms = 0;  // 0: until the caller leaves
  std::int64_t drip_bytes_per_second = 0;
  // Where the bytes end or are split.
  std::int64_t chunk_bytes = 0;
  std::optional<std::int64_t> reset_at_byte;
  std::optional<std::int64_t> end_at_byte;
  // What the bytes say.
  bool missing_usage = false;
  std::vector<std::pair<std::string, std::string>> usage;  // field to JSON literal
  bool crlf = false;
  bool comments = false;
  bool no_terminal_event = false;
  bool duplicate_terminal = false;
  std::string malformed_sse;   // see kMalformedKinds in mock_fault.cc
  std::string error_event;     // error.code
  std::string error_event_as;  // error | response.failed
  std::optional<std::int64_t> error_after_events;
  std::int64_t pad_bytes = 0;  // white space before a JSON body, one long comment in a stream

  friend bool operator==(const Fault&, const Fault&) = default;
};

// Which requests a fault is for. Empty fields match everything.
struct FaultMatch {
  std::string authorization_suffix;  // of the bearer key
  std::string model;
  std::string path;  // the end of the path
  std::optional<bool> stream;
};

struct FaultRule {
  FaultMatch match;
  std::int64_t times = 0;  // left; 0: until cleared
  Fault fault;
  std::uint64_t id = 0;
  std::uint64_t hits = 0;
  std::string text;  // the JSON it was read from, to list it
};

// Strict: an unknown field, a wrong type or a value out of bounds is kBadInput, with a sentence
// that names the field.
Result<FaultRule> ReadFaultRule(std::string_view json);

// One write of a reply, and what a log wants to know about it.
struct MockPiece {
  std::string_view bytes;
  bool is_event = false;
  bool has_usage = false;
};

// A reply on its way out. `pieces` point into `own` and into the sandbox's reply.
struct MockReply {
  int status = 200;
  std::string content_type;
  std::vector<MockPiece> pieces;
  std::vector<std::string> own;
  bool is_stream = false;
};

// The pieces of `reply` as they are without any fault.
MockReply PlainPieces(const gateway::SandboxReply& reply);

// The same with everything `fault` says about what the bytes say. `reply` was made with
// omit_usage = fault.missing_usage and must outlive the result.
MockReply FaultyPieces(const gateway::SandboxReply& reply, const Fault& fault, Instant now);

}  // namespace weir::cli
