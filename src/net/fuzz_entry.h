// The bodies of the fuzz targets of the HTTP/1.1 codec, shared with corpus_test.cc, which runs
// every kept input as an ordinary test. Each checks properties that hold for every input; a broken
// one ends the process. Not part of the library.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "net/http1.h"

namespace weir::net::fuzz {

inline bool Inside(std::string_view part, std::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// The verdict of a scanner that is fed `step` bytes more at a time.
inline HeadScanner::State ScanInSteps(std::string_view bytes, std::size_t step, std::size_t& size) {
  const HeadLimits limits;
  HeadScanner scanner;
  HeadScanner::State state = HeadScanner::State::kIncomplete;
  for (std::size_t n = 0; n < bytes.size() && state == HeadScanner::State::kIncomplete;) {
    n = std::min(n + step, bytes.size());
    state = scanner.Scan(bytes.substr(0, n), limits);
  }
  size = scanner.head_size();
  return state;
}

// What holds for every field of a head that was taken, in either direction.
inline void CheckFields(const std::vector<gateway::HeaderView>& fields, std::string_view head) {
  CHECK(fields.size() <= HeadLimits().fields_max, "the bound on fields holds");
  std::size_t framing = 0;
  for (const auto& [name, value] : fields) {
    CHECK(!name.empty() && Inside(name, head) && Inside(value, head), "views are into the head");
    for (const char c : value) {
      CHECK(c != '\r' && c != '\n' && c != '\0', "a value cannot end its line");
    }
    framing += gateway::EqualsIgnoreCase(name, "content-length") ||
               gateway::EqualsIgnoreCase(name, "transfer-encoding");
  }
  CHECK(framing <= 1, "one header says how long a body is");
}

// Byte 0 is the step of the scanner, the rest a request as a caller sends it.
inline void RequestEntry(std::string_view input) {
  if (input.empty()) return;
  const std::size_t step = 1 + static_cast<unsigned char>(input[0]) % 64;
  const std::string_view bytes = input.substr(1);
  std::size_t whole_size = 0;
  std::size_t step_size = 0;
  const auto whole = ScanInSteps(bytes, std::max<std::size_t>(bytes.size(), 1), whole_size);
  const auto stepped = ScanInSteps(bytes, step, step_size);
  // Where a head ends must not depend on how it arrived. A head that will be refused may be refused
  // earlier in steps; one that is taken is taken whole either way.
  if (stepped == HeadScanner::State::kComplete) {
    CHECK(whole == HeadScanner::State::kComplete && whole_size == step_size, "cuts decide nothing");
  }
  if (whole != HeadScanner::State::kComplete) return;
  const std::string_view head = bytes.substr(0, whole_size);
  RequestFrame frame;
  if (ParseRequest(head, {}, frame).status != 0) return;
  CHECK(stepped == HeadScanner::State::kComplete, "cuts decide nothing");
  CheckFields(frame.head.headers, head);
  CHECK(!frame.head.method.empty() && !frame.head.path.empty(), "a request asks for something");
  CHECK(frame.head.path.front() == '/' || frame.head.path == "*", "a path is absolute");
  CHECK(!(frame.framing == BodyFraming::kLength && frame.length == 0), "no body is kNone");
  if (frame.http_1_0) CHECK(frame.framing != BodyFraming::kChunked, "1.0 has no chunks");
}

// A reply as an upstream sends it.
inline void ResponseEntry(std::string_view bytes) {
  std::size_t size = 0;
  if (ScanInSteps(bytes, std::max<std::size_t>(bytes.size(), 1), size) !=
      HeadScanner::State::kComplete) {
    return;
  }
  const std::string_view head = bytes.substr(0, size);
  ResponseFrame frame;
  if (ParseResponse(head, {}, frame).status != 0) return;
  CheckFields(frame.headers, head);
  CHECK(frame.status >= 100 && frame.status <= 599, "a status is a status");
  if (frame.framing == BodyFraming::kUntilClose) {
    CHECK(!frame.keep_alive, "what ends with the connection cannot keep it");
  }
}

inline std::optional<std::string> Dechunk(std::string_view bytes, std::size_t step) {
  ChunkedDecoder decoder;
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    std::string_view part = bytes.substr(at, step);
    at += part.size();
    while (!part.empty()) {
      const std::string_view before = part;
      std::string_view data;
      const auto state = decoder.Next(part, data);
      if (state == ChunkedDecoder::State::kBad) return std::nullopt;
      if (state == ChunkedDecoder::State::kEnd) {
        return out + "|" + std::to_string(at - part.size());
      }
      if (state == ChunkedDecoder::State::kData) {
        CHECK(!data.empty() && Inside(data, before), "data is part of what came");
        out.append(data);
      } else {
        CHECK(part.empty(), "needing more means all was taken");
      }
    }
  }
  return out;
}

// Byte 0 is the step, the rest a chunked body: data and end must not depend on the cuts.
inline void ChunkedEntry(std::string_view input) {
  if (input.empty()) return;
  const std::string_view bytes = input.substr(1);
  CHECK(Dechunk(bytes, std::max<std::size_t>(bytes.size(), 1)) ==
            Dechunk(bytes, 1 + static_cast<unsigned char>(input[0]) % 64),
        "cuts decide nothing");
}

}  // namespace weir::net::fuzz
