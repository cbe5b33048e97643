// The HTTP/1.1 codec: strict, pure, one for both directions. Bytes in, views out; it never copies a
// head and never looks at a socket, so that it can be fuzzed as it is.
//
// Strictness is the security property of a proxy: two parsers that disagree about where a message
// ends are a request smuggling hole. So everything RFC 9112 lets a recipient repair is refused here
// (bare LF, obs-fold, Content-Length twice even if equal, Transfer-Encoding other than exactly
// "chunked", whitespace around names, ...), and what is sent on is always serialised anew.
//
//   request-head := request-line *( field-line ) CRLF
//   Only origin-form ("/path?query"), absolute-form and "*" (OPTIONS) targets are understood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/ports.h"

namespace weir::net {

struct HeadLimits {
  std::size_t start_line_max = 8 << 10;
  std::size_t field_line_max = 16 << 10;
  std::size_t head_max = 32 << 10;
  std::size_t fields_max = 100;
};

// Where a head ends. Feed it the growing buffer; it remembers how far it looked, so a head that
// arrives byte by byte costs linear time, and it finds a bare LF as soon as it is there.
class HeadScanner {
 public:
  enum class State : std::uint8_t { kIncomplete, kComplete, kBad, kTooLarge, kTooManyFields };

  // `bytes` must start with the bytes of the call before. With kComplete, head_size() is the length
  // of the head including its empty line.
  State Scan(std::string_view bytes, const HeadLimits& limits);
  std::size_t head_size() const { return at_; }
  void Reset() { *this = HeadScanner(); }

 private:
  std::size_t at_ = 0;      // bytes looked at: always the start of a line
  std::size_t looked_ = 0;  // within the line at at_, no LF before this
  std::size_t lines_ = 0;
};

enum class BodyFraming : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

// Why a head was refused, as the status that says it. 0 = fine.
struct HeadError {
  int status = 0;
  std::string_view reason;
};

struct RequestFrame {
  gateway::RequestHead head;  // views into the parsed bytes
  BodyFraming framing = BodyFraming::kNone;
  std::uint64_t length = 0;  // with kLength
  bool keep_alive = true;
  bool http_1_0 = false;
  bool expect_continue = false;
  bool upgrade = false;  // asks for another protocol; we never switch
};

// Parses one complete head (as found by HeadScanner). `frame` is reused between calls.
HeadError ParseRequest(std::string_view head, const HeadLimits& limits, RequestFrame& frame);

struct ResponseFrame {
  int status = 0;
  std::vector<gateway::HeaderView> headers;
  BodyFraming framing = BodyFraming::kNone;
  std::uint64_t length = 0;
  bool keep_alive = true;
};

// The same strictness towards upstreams. A reply to a HEAD request is never parsed (we send none).
HeadError ParseResponse(std::string_view head, const HeadLimits& limits, ResponseFrame& frame);

// Takes chunked framing off a body. Feed it what arrived; each call yields at most one piece of
// data as a view into `in`.
class ChunkedDecoder {
 public:
  enum class State : std::uint8_t { kNeedMore, kData, kEnd, kBad };

  // Consumes from the front of `in`. kData: `data` is set. kNeedMore: all of `in` was consumed.
  // kEnd: the body is over, the rest of `in` is not ours. kBad: not chunked framing; the connection
  // cannot be used again.
  State Next(std::string_view& in, std::string_view& data);
  void Reset() { *this = ChunkedDecoder(); }

 private:
  enum class Phase : std::uint8_t {
    kSizeFirst,
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart,
    kTrailerLf,
    kDone
  };
  Phase phase_ = Phase::kSizeFirst;
  std::uint64_t left_ = 0;
  std::uint8_t digits_ = 0;
  std::uint16_t extension_bytes_ = 0;
};

// "1a2b\r\n": the line before a chunk of `size` bytes.
struct ChunkHead {
  char bytes[20];
  std::size_t size = 0;
  std::string_view view() const { return {bytes, size}; }
};
ChunkHead MakeChunkHead(std::size_t size);

std::string_view ReasonPhrase(int status);

}  // namespace weir::net
