#include "net/http1.h"

#include <array>
#include <cstring>

namespace weir::net {
namespace {

using gateway::EqualsIgnoreCase;

constexpr std::array<bool, 256> MakeTokenTable() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (const char c :
       {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}

// RFC 9110 section 5.5: VCHAR, SP, HTAB and obs-text; no other control character.
constexpr std::array<bool, 256> MakeValueTable() {
  std::array<bool, 256> table{};
  table['\t'] = true;
  for (int c = 0x20; c <= 0x7E; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 0x80; c <= 0xFF; ++c) table[static_cast<std::size_t>(c)] = true;
  return table;
}

constexpr auto kToken = MakeTokenTable();
constexpr auto kValue = MakeValueTable();

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!kToken[static_cast<unsigned char>(c)]) return false;
  }
  return true;
}

std::string_view TrimOws(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The next line without its CRLF; the scanner has seen to it that every LF follows a CR.
std::string_view NextLine(std::string_view& head) {
  const std::size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  head.remove_prefix(end + 2);
  return line;
}

// Names that decide framing or identity. An underscore twin ("content_length") is refused: some
// servers behind us treat '_' and '-' alike, and would then see a header we did not check.
bool IsSecurityTwin(std::string_view name) {
  if (name.find('_') == std::string_view::npos) return false;
  constexpr std::string_view kNames[] = {
      "content_length",   "transfer_encoding", "host",           "authorization",
      "x_api_key",        "x_goog_api_key",    "api_key",        "connection",
      "proxy_connection", "content_encoding",  "x_forwarded_for"};
  std::string folded(name);
  for (char& c : folded) c = c == '-' ? '_' : c;
  for (const auto candidate : kNames) {
    if (EqualsIgnoreCase(folded, candidate)) return true;
  }
  return false;
}

bool ParseLength(std::string_view text, std::uint64_t& value) {
  if (text.empty() || text.size() > 18) return false;  // 10^18 is beyond any body and any overflow
  value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

// What the framing headers of either direction say.
struct Framing {
  bool has_length = false;
  std::uint64_t length = 0;
  bool chunked = false;
  bool close = false;
  bool keep_alive = false;
  bool upgrade = false;
  std::size_t hosts = 0;
  std::string_view host;
  std::string_view expect;
};

HeadError ParseConnection(std::string_view value, Framing& framing) {
  while (!value.empty()) {
    const std::size_t comma = value.find(',');
    const std::string_view token = TrimOws(value.substr(0, comma));
    if (!token.empty() && !IsToken(token)) return {400, "malformed Connection header"};
    if (EqualsIgnoreCase(token, "close")) framing.close = true;
    if (EqualsIgnoreCase(token, "keep-alive")) framing.keep_alive = true;
    if (EqualsIgnoreCase(token, "upgrade")) framing.upgrade = true;
    if (comma == std::string_view::npos) break;
    value.remove_prefix(comma + 1);
  }
  return {};
}

HeadError ParseFields(std::string_view rest, const HeadLimits& limits,
                      std::vector<gateway::HeaderView>& fields, Framing& framing) {
  fields.clear();
  while (true) {
    const std::string_view line = NextLine(rest);
    if (line.empty()) break;
    if (line.size() > limits.field_line_max) return {431, "a header line is too long"};
    if (fields.size() >= limits.fields_max) return {431, "too many headers"};
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return {400, "a header line has no colon"};
    const std::string_view name = line.substr(0, colon);
    if (!IsToken(name))
      return {400, "malformed header name"};  // obs-fold and "name :" end here too
    const std::string_view value = TrimOws(line.substr(colon + 1));
    for (const char c : value) {
      if (!kValue[static_cast<unsigned char>(c)])
        return {400, "control character in a header value"};
    }
    if (IsSecurityTwin(name)) return {400, "ambiguous header name"};
    switch (name.size()) {
      case 4:
        if (EqualsIgnoreCase(name, "host")) {
          ++framing.hosts;
          framing.host = value;
        }
        break;
      case 6:
        if (EqualsIgnoreCase(name, "expect")) framing.expect = value;
        break;
      case 10:
        if (EqualsIgnoreCase(name, "connection")) {
          if (const auto error = ParseConnection(value, framing); error.status != 0) return error;
        }
        break;
      case 14:
        if (EqualsIgnoreCase(name, "content-length")) {
          if (framing.has_length) return {400, "more than one Content-Length"};
          if (!ParseLength(value, framing.length)) return {400, "malformed Content-Length"};
          framing.has_length = true;
        }
        break;
      case 17:
        if (EqualsIgnoreCase(name, "transfer-encoding")) {
          if (framing.chunked) return {400, "more than one Transfer-Encoding"};
          if (!EqualsIgnoreCase(value, "chunked")) return {501, "unsupported Transfer-Encoding"};
          framing.chunked = true;
        }
        break;
      default:
        break;
    }
    fields.push_back({name, value});
  }
  if (framing.chunked && framing.has_length) {
    return {400, "both Content-Length and Transfer-Encoding"};
  }
  return {};
}

bool ValidHost(std::string_view host) {
  for (const char c : host) {
    const bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_' ||
                    c == '%' || c == '~';
    if (!ok) return false;
  }
  return true;
}

HeadError ParseTarget(std::string_view target, gateway::RequestHead& head,
                      std::string_view& absolute_host) {
  for (const char c : target) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u >= 0x7F || c == '#') return {400, "malformed request target"};
  }
  if (target.starts_with("http://") || target.starts_with("https://")) {
    std::string_view rest = target.substr(target.find("://") + 3);
    const std::size_t slash = rest.find_first_of("/?");
    absolute_host = rest.substr(0, slash);
    if (absolute_host.empty() || !ValidHost(absolute_host))
      return {400, "malformed request target"};
    target = slash == std::string_view::npos ? std::string_view("/") : rest.substr(slash);
  }
  if (target == "*") {
    if (head.method != "OPTIONS") return {400, "malformed request target"};
  } else if (target.empty() || target.front() != '/') {
    return {400, "malformed request target"};
  }
  const std::size_t question = target.find('?');
  head.path = target.substr(0, question);
  head.query =
      question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
  return {};
}

}  // namespace

HeadScanner::State HeadScanner::Scan(std::string_view bytes, const HeadLimits& limits) {
  while (true) {
    const std::size_t from = at_ + looked_;
    const void* found =
        bytes.size() > from ? std::memchr(bytes.data() + from, '\n', bytes.size() - from) : nullptr;
    if (found == nullptr) {
      // A request line has no control characters: a TLS hello on a plain port is told so at once
      // instead of being waited for.
      for (std::size_t i = from; lines_ == 0 && i < bytes.size(); ++i) {
        const auto c = static_cast<unsigned char>(bytes[i]);
        if ((c < 0x20 && c != '\r') || c >= 0x7F) return State::kBad;
      }
      looked_ = bytes.size() > at_ ? bytes.size() - at_ : 0;
      const std::size_t line_max = lines_ == 0 ? limits.start_line_max : limits.field_line_max;
      if (looked_ > line_max || bytes.size() > limits.head_max) return State::kTooLarge;
      return State::kIncomplete;
    }
    const auto lf = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    if (lf == 0 || bytes[lf - 1] != '\r' || lf - 1 < at_) return State::kBad;  // a bare LF
    const std::string_view line = bytes.substr(at_, lf - 1 - at_);
    if (line.find('\r') != std::string_view::npos) return State::kBad;  // a bare CR
    at_ = lf + 1;
    looked_ = 0;
    if (at_ > limits.head_max) return State::kTooLarge;
    if (line.empty()) return lines_ == 0 ? State::kBad : State::kComplete;
    if (line.size() > (lines_ == 0 ? limits.start_line_max : limits.field_line_max)) {
      return State::kTooLarge;
    }
    if (++lines_ > limits.fields_max + 1) return State::kTooManyFields;
  }
}

HeadError ParseRequest(std::string_view head, const HeadLimits& limits, RequestFrame& frame) {
  const std::string_view line = NextLine(head);
  if (line.size() > limits.start_line_max) return {414, "the request line is too long"};
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return {400, "malformed request line"};
  frame.head.method = line.substr(0, first);
  if (!IsToken(frame.head.method)) return {400, "malformed method"};
  const std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    const bool http = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.' &&
                      version[5] >= '0' && version[5] <= '9' && version[7] >= '0' &&
                      version[7] <= '9';
    return http ? HeadError{505, "unsupported HTTP version"}
                : HeadError{400, "malformed request line"};
  }
  frame.http_1_0 = version == "HTTP/1.0";
  std::string_view absolute_host;
  if (const auto error =
          ParseTarget(line.substr(first + 1, last - first - 1), frame.head, absolute_host);
      error.status != 0) {
    return error;
  }

  Framing framing;
  if (const auto error = ParseFields(head, limits, frame.head.headers, framing);
      error.status != 0) {
    return error;
  }
  if (framing.hosts > 1) return {400, "more than one Host"};
  if (framing.hosts == 0 && !frame.http_1_0) return {400, "missing Host"};
  if (!ValidHost(framing.host)) return {400, "malformed Host"};
  if (framing.chunked && frame.http_1_0) return {400, "Transfer-Encoding in HTTP/1.0"};
  if (!framing.expect.empty() && !EqualsIgnoreCase(framing.expect, "100-continue")) {
    return {417, "unsupported Expect"};
  }
  frame.framing = framing.chunked      ? BodyFraming::kChunked
                  : framing.length > 0 ? BodyFraming::kLength
                                       : BodyFraming::kNone;
  frame.length = framing.length;
  const bool bodiless = frame.head.method == "GET" || frame.head.method == "HEAD" ||
                        frame.head.method == "TRACE" || frame.head.method == "CONNECT";
  if (bodiless && frame.framing != BodyFraming::kNone) {
    return {400, "this method does not take a body"};
  }
  frame.expect_continue = !framing.expect.empty() && !frame.http_1_0;
  frame.keep_alive = frame.http_1_0 ? framing.keep_alive && !framing.close : !framing.close;
  frame.upgrade = framing.upgrade;
  return {};
}

HeadError ParseResponse(std::string_view head, const HeadLimits& limits, ResponseFrame& frame) {
  const std::string_view line = NextLine(head);
  // "HTTP/1.1 200 OK"; the reason may be empty, and some servers leave out its space.
  const bool shaped = line.size() >= 12 && line.starts_with("HTTP/1.") &&
                      (line[7] == '0' || line[7] == '1') && line[8] == ' ' &&
                      (line.size() == 12 || line[12] == ' ');
  if (!shaped) return {502, "malformed status line"};
  int status = 0;
  for (std::size_t i = 9; i < 12; ++i) {
    if (line[i] < '0' || line[i] > '9') return {502, "malformed status line"};
    status = status * 10 + (line[i] - '0');
  }
  if (status < 100 || status > 599) return {502, "status out of range"};
  frame.status = status;
  const bool http_1_0 = line[7] == '0';
  Framing framing;
  if (const auto error = ParseFields(head, limits, frame.headers, framing); error.status != 0) {
    return {502, error.reason};
  }
  if (framing.chunked && http_1_0) return {502, "Transfer-Encoding in HTTP/1.0"};
  frame.keep_alive = http_1_0 ? framing.keep_alive && !framing.close : !framing.close;
  frame.length = framing.length;
  if (status < 200 || status == 204 || status == 304) {
    frame.framing = BodyFraming::kNone;
  } else if (framing.chunked) {
    frame.framing = BodyFraming::kChunked;
  } else if (framing.has_length) {
    frame.framing = framing.length > 0 ? BodyFraming::kLength : BodyFraming::kNone;
  } else {
    frame.framing = BodyFraming::kUntilClose;
    frame.keep_alive = false;
  }
  return {};
}

ChunkedDecoder::State ChunkedDecoder::Next(std::string_view& in, std::string_view& data) {
  constexpr std::uint16_t kExtensionMax = 256;
  while (!in.empty()) {
    const char c = in.front();
    switch (phase_) {
      case Phase::kSizeFirst:
      case Phase::kSize: {
        int digit = -1;
        if (c >= '0' && c <= '9') digit = c - '0';
        if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        if (digit >= 0) {
          if (++digits_ > 16 || (left_ >> 59) != 0) return State::kBad;
          left_ = (left_ << 4) | static_cast<std::uint64_t>(digit);
          phase_ = Phase::kSize;
        } else if (phase_ == Phase::kSizeFirst) {
          return State::kBad;
        } else if (c == ';') {
          extension_bytes_ = 0;
          phase_ = Phase::kExtension;
        } else if (c == '\r') {
          phase_ = Phase::kSizeLf;
        } else {
          return State::kBad;
        }
        in.remove_prefix(1);
        break;
      }
      case Phase::kExtension:
        if (c == '\r') {
          phase_ = Phase::kSizeLf;
        } else if (!kValue[static_cast<unsigned char>(c)] || ++extension_bytes_ > kExtensionMax) {
          return State::kBad;
        }
        in.remove_prefix(1);
        break;
      case Phase::kSizeLf:
        if (c != '\n') return State::kBad;
        in.remove_prefix(1);
        phase_ = left_ == 0 ? Phase::kTrailerStart : Phase::kData;
        break;
      case Phase::kData: {
        const std::size_t take = left_ < in.size() ? static_cast<std::size_t>(left_) : in.size();
        data = in.substr(0, take);
        in.remove_prefix(take);
        left_ -= take;
        if (left_ == 0) phase_ = Phase::kDataCr;
        return State::kData;
      }
      case Phase::kDataCr:
        if (c != '\r') return State::kBad;
        in.remove_prefix(1);
        phase_ = Phase::kDataLf;
        break;
      case Phase::kDataLf:
        if (c != '\n') return State::kBad;
        in.remove_prefix(1);
        phase_ = Phase::kSizeFirst;
        digits_ = 0;
        break;
      case Phase::kTrailerStart:
        // No trailer field has a meaning to us, and one that repeats a framing or identity header
        // is an attack; so none is allowed.
        if (c != '\r') return State::kBad;
        in.remove_prefix(1);
        phase_ = Phase::kTrailerLf;
        break;
      case Phase::kTrailerLf:
        if (c != '\n') return State::kBad;
        in.remove_prefix(1);
        phase_ = Phase::kDone;
        return State::kEnd;
      case Phase::kDone:
        return State::kEnd;
    }
  }
  return phase_ == Phase::kDone ? State::kEnd : State::kNeedMore;
}

ChunkHead MakeChunkHead(std::size_t size) {
  constexpr std::string_view kHex = "0123456789abcdef";
  ChunkHead head;
  char reversed[16];
  std::size_t count = 0;
  do {
    reversed[count++] = kHex[size & 15];
    size >>= 4;
  } while (size != 0);
  while (count > 0) head.bytes[head.size++] = reversed[--count];
  head.bytes[head.size++] = '\r';
  head.bytes[head.size++] = '\n';
  return head;
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

}  // namespace weir::net
