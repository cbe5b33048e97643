#include "dialect/sse.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

namespace weir::dialect {
namespace {

// Kept between events; a stream that once had a large event gives the rest back.
constexpr std::size_t kIdleCapacityMax = 64 << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The first `byte` at or behind `from`, or the size. `known` is where an earlier search for the
// same byte stopped: nothing between `from` and `known` needs to be looked at again.
std::size_t FindFrom(const std::string& text, char byte, std::size_t from, std::size_t known) {
  const std::size_t at = std::max(from, known);
  if (at >= text.size()) return text.size();
  const void* const found = std::memchr(text.data() + at, byte, text.size() - at);
  if (found == nullptr) return text.size();
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

void NormaliseLineEnds(std::string_view from, std::string& to) {
  to.clear();
  std::size_t at = 0;
  while (at < from.size()) {
    const auto cr = std::min(from.find('\r', at), from.size());
    to.append(from, at, cr - at);
    if (cr == from.size()) return;
    to += '\n';
    at = cr + 1;
    if (at < from.size() && from[at] == '\n') ++at;
  }
}

}  // namespace

void SseSplitter::Append(std::string_view bytes) {
  if (failed_ != SseStatus::kEvent) return;
  DropConsumed();
  buffer_.append(bytes);
}

// Moves the rest to the front when at least as much was consumed, so every byte is moved at most
// once per time it is read.
void SseSplitter::DropConsumed() {
  if (start_ == 0) return;
  if (start_ == buffer_.size()) {
    buffer_.clear();
    if (buffer_.capacity() > kIdleCapacityMax) buffer_.shrink_to_fit();
    if (lines_.capacity() > kIdleCapacityMax) lines_ = {};
    if (data_.capacity() > kIdleCapacityMax) data_ = {};
  } else if (start_ >= buffer_.size() - start_) {
    buffer_.erase(0, start_);
  } else {
    return;
  }
  const auto shift = [this](std::size_t& position) {
    position = position < start_ ? 0 : position - start_;
  };
  shift(scan_);
  shift(next_lf_);
  shift(next_cr_);
  start_ = 0;
}

// Looks for the blank line that ends the event at start_. True: the event is [start_, end_).
bool SseSplitter::FindEventEnd() {
  if (at_stream_start_) {
    const std::string_view head = std::string_view(buffer_).substr(0, kByteOrderMark.size());
    if (head == kByteOrderMark) {
      start_ = scan_ = kByteOrderMark.size();
    } else if (kByteOrderMark.starts_with(head)) {
      return false;  // nothing yet, or the first bytes of a mark
    }
    at_stream_start_ = false;
  }
  while (true) {
    if (skip_lf_) {
      if (scan_ == buffer_.size()) return false;
      if (buffer_[scan_] == '\n') {
        if (start_ == scan_) ++start_;
        ++scan_;
      }
      skip_lf_ = false;
    }
    next_lf_ = FindFrom(buffer_, '\n', scan_, next_lf_);
    next_cr_ = FindFrom(buffer_, '\r', scan_, next_cr_);
    const std::size_t line_end = std::min(next_lf_, next_cr_);
    if (line_end - scan_ > kSseLineBytesMax || line_end - start_ > kSseEventBytesMax) {
      failed_ = SseStatus::kTooLarge;
      return false;
    }
    if (line_end == buffer_.size()) return false;
    const bool blank = line_end == scan_;
    scan_ = line_end + 1;
    if (buffer_[line_end] == '\r') {
      has_cr_ = true;
      // The LF of a CRLF may not be here yet. Waiting for it would hold the event back.
      if (scan_ == buffer_.size()) {
        skip_lf_ = true;
      } else if (buffer_[scan_] == '\n') {
        ++scan_;
      }
    }
    if (!blank) {
      has_line_ = true;
    } else if (has_line_) {
      end_ = scan_;
      return true;
    } else {
      start_ = scan_;  // a blank line between events
      has_cr_ = false;
    }
  }
}

SseStatus SseSplitter::Next(SseEvent& event) {
  while (failed_ == SseStatus::kEvent) {
    if (!FindEventEnd()) {
      if (failed_ == SseStatus::kEvent) return SseStatus::kNeedMore;
      break;
    }
    const SseStatus status = ParseEvent(event);
    start_ = end_;
    has_cr_ = false;
    has_line_ = false;
    if (status != SseStatus::kNeedMore) return status;
  }
  return failed_;
}

// Reads the fields of [start_, end_). kNeedMore: no known field, the event is to be dropped.
SseStatus SseSplitter::ParseEvent(SseEvent& event) {
  event = {};
  event.raw = std::string_view(buffer_).substr(start_, end_ - start_);
  if (std::memchr(event.raw.data(), '\0', event.raw.size()) != nullptr ||
      !simdjson::validate_utf8(event.raw)) {
    failed_ = SseStatus::kMalformed;
    return failed_;
  }
  if (has_cr_) {
    NormaliseLineEnds(event.raw, lines_);
    event.raw = lines_;
  }
  bool known = false;
  int data_lines = 0;
  std::size_t at = 0;
  while (event.raw[at] != '\n') {
    const std::size_t line_end = event.raw.find('\n', at);
    const std::string_view line = event.raw.substr(at, line_end - at);
    const std::size_t colon = std::min(line.find(':'), line.size());
    const std::string_view name = line.substr(0, colon);
    std::size_t value_at = std::min(colon + 1, line.size());
    if (value_at < line.size() && line[value_at] == ' ') ++value_at;
    const std::string_view value = line.substr(value_at);
    if (name == "data") {
      if (++data_lines == 1) {
        event.data = value;
        event.data_at = at + value_at;
      } else {
        if (data_lines == 2) data_.assign(event.data);
        data_ += '\n';
        data_ += value;
      }
      known = true;
    } else if (name == "event") {
      event.type = value;
      known = true;
    } else if (name.empty() || name == "id" || name == "retry") {
      known = true;
    }
    at = line_end + 1;
  }
  event.has_data = data_lines > 0;
  event.data_in_raw = data_lines == 1;
  if (data_lines > 1) event.data = data_;
  return known ? SseStatus::kEvent : SseStatus::kNeedMore;
}

bool SseSplitter::Finish() const { return has_line_ || scan_ < buffer_.size(); }

}  // namespace weir::dialect
