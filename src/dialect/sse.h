// Server-sent events out of a byte stream that may be cut anywhere (WHATWG HTML, "Server-sent
// events"). Accepts LF, CRLF and CR line ends and a byte order mark, as the standard asks of a
// reader; hands out events with LF alone, because a known client reader fails on CRLF.
//
// Cost: each byte is looked at a fixed number of times however it arrives. With LF line ends and
// one data line, events are views into the buffer and nothing is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::dialect {

inline constexpr std::size_t kSseLineBytesMax = 1 << 20;
inline constexpr std::size_t kSseEventBytesMax = 4 << 20;

// One event. Views are valid until the next call of the splitter that made it.
struct SseEvent {
  std::string_view raw;   // the whole event with LF line ends and its final blank line
  std::string_view type;  // the last `event:` field, empty when there was none
  std::string_view data;  // the `data:` fields joined by LF
  bool has_data = false;  // false: a comment (": ping"), a lone id or retry; pass raw on
  // Where `data` lies inside `raw`, when it is one unbroken stretch of it (one data line).
  std::size_t data_at = 0;
  bool data_in_raw = false;
};

enum class SseStatus : std::uint8_t {
  kEvent,
  kNeedMore,
  kTooLarge,   // a line over 1 MiB or an event over 4 MiB; final
  kMalformed,  // a NUL byte or bytes that are not UTF-8; final
};

class SseSplitter {
 public:
  // Adds bytes as they came. Invalidates views handed out before.
  void Append(std::string_view bytes);

  // The next whole event. Blocks without any known field (a stray HTML page) are dropped, as the
  // standard says.
  SseStatus Next(SseEvent& event);

  // At the end of the stream, after Next said kNeedMore: true when bytes of an unfinished event
  // are left. They are not an event and must not be shown as one.
  bool Finish() const;

  // Bytes held now; for memory accounting and tests.
  std::size_t buffered_bytes() const { return buffer_.size() - start_; }

 private:
  bool FindEventEnd();
  SseStatus ParseEvent(SseEvent& event);
  void DropConsumed();

  std::string buffer_;
  std::string lines_;            // the event with LF line ends, when it came with others
  std::string data_;             // joined data, when there are several data lines
  std::size_t start_ = 0;        // of the event being read
  std::size_t scan_ = 0;         // of the line being read; everything before was looked at
  std::size_t next_lf_ = 0;      // position of the first LF at or behind scan_, as far as known
  std::size_t next_cr_ = 0;      // the same for CR
  std::size_t end_ = 0;          // of the event found, behind its blank line
  bool at_stream_start_ = true;  // a byte order mark may still come
  bool skip_lf_ = false;         // the last line ended with CR: an LF right behind belongs to it
  bool has_cr_ = false;          // in the event being read
  bool has_line_ = false;        // the event being read has a line that is not blank
  SseStatus failed_ = SseStatus::kEvent;  // kTooLarge or kMalformed once final
};

}  // namespace weir::dialect
