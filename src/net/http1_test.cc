// The codec as a table: what is taken, what is refused and with which status. Each refused row is
// something RFC 9112 allows a recipient to repair or an attacker to disagree about.
#include "net/http1.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::net {
namespace {

using State = HeadScanner::State;

std::string Request(const std::string& line, const std::string& fields) {
  return line + "\r\nHost: h\r\n" + fields + "\r\n";
}

int StatusOf(const std::string& head, RequestFrame* out = nullptr) {
  HeadScanner scanner;
  const HeadLimits limits;
  switch (scanner.Scan(head, limits)) {
    case State::kComplete:
      break;
    case State::kIncomplete:
      return -1;
    case State::kBad:
      return 400;
    case State::kTooLarge:
    case State::kTooManyFields:
      return 431;
  }
  static RequestFrame shared;
  shared = RequestFrame();
  const HeadError error =
      ParseRequest(std::string_view(head).substr(0, scanner.head_size()), limits, shared);
  if (out != nullptr) *out = shared;
  return error.status;
}

TEST(Http1Request, WellFormed_IsTakenApart) {
  RequestFrame frame;
  const std::string head =
      "POST /v1/responses?a=b%20c HTTP/1.1\r\nHost: x:80\r\nContent-Length: 12\r\nA: \t v "
      "\t\r\n\r\nbody";
  ASSERT_EQ(StatusOf(head, &frame), 0);
  EXPECT_EQ(frame.head.method, "POST");
  EXPECT_EQ(frame.head.path, "/v1/responses");
  EXPECT_EQ(frame.head.query, "a=b%20c");
  EXPECT_EQ(frame.head.Find("a"), "v");
  EXPECT_EQ(frame.framing, BodyFraming::kLength);
  EXPECT_EQ(frame.length, 12U);
  EXPECT_TRUE(frame.keep_alive);
}

struct Row {
  const char* what;
  std::string head;
  int status;
};

TEST(Http1Request, EveryRow_HasItsStatus) {
  const std::string get = "GET / HTTP/1.1";
  const std::string post = "POST / HTTP/1.1";
  const std::vector<Row> rows = {
      {"plain", Request(get, ""), 0},
      {"absolute form", Request("GET http://h/p HTTP/1.1", ""), 0},
      {"options star", Request("OPTIONS * HTTP/1.1", ""), 0},
      {"star for get", Request("GET * HTTP/1.1", ""), 400},
      {"http 1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"http 2.0", Request("GET / HTTP/2.0", ""), 505},
      {"http 1.10", Request("GET / HTTP/1.10", ""), 400},
      {"lower case version", Request("GET / http/1.1", ""), 400},
      {"no version", Request("GET /", ""), 400},
      {"two spaces", Request("GET  / HTTP/1.1", ""), 400},
      {"space in target", Request("GET /a b HTTP/1.1", ""), 400},
      {"tab in request line", Request("GET\t/ HTTP/1.1", ""), 400},
      {"fragment", Request("GET /a#b HTTP/1.1", ""), 400},
      {"non-ascii target", Request("GET /\xc3\xa9 HTTP/1.1", ""), 400},
      {"authority form", Request("CONNECT h:443 HTTP/1.1", ""), 400},
      {"method with a colon", Request("GE:T / HTTP/1.1", ""), 400},
      {"missing host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two hosts", Request(get, "Host: h\r\n"), 400},
      {"host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"host with user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400},
      {"space before colon", Request(get, "A : b\r\n"), 400},
      {"leading space", Request(get, " A: b\r\n"), 400},
      {"obs-fold", Request(get, "A: b\r\n c\r\n"), 400},
      {"no colon", Request(get, "A\r\n"), 400},
      {"empty name", Request(get, ": b\r\n"), 400},
      {"name with a parenthesis", Request(get, "A(: b\r\n"), 400},
      {"nul in value", Request(get, std::string("A: b\0c\r\n", 8)), 400},
      {"delete in value", Request(get, "A: \x7f\r\n"), 400},
      {"obs-text in value", Request(get, "A: caf\xe9\r\n"), 0},
      {"empty value", Request(get, "A:\r\n"), 0},
      {"bare lf", "GET / HTTP/1.1\nHost: h\n\n", 400},
      {"bare lf later", Request(get, "A: b\nC: d\r\n"), 400},
      {"bare cr", Request(get, "A: b\rC: d\r\n"), 400},
      {"length", Request(post, "Content-Length: 3\r\n"), 0},
      {"length zero", Request(post, "Content-Length: 0\r\n"), 0},
      {"length signed", Request(post, "Content-Length: +3\r\n"), 400},
      {"length negative", Request(post, "Content-Length: -3\r\n"), 400},
      {"length hex", Request(post, "Content-Length: 0x3\r\n"), 400},
      {"length list", Request(post, "Content-Length: 3, 3\r\n"), 400},
      {"length empty", Request(post, "Content-Length:\r\n"), 400},
      {"length too long", Request(post, "Content-Length: 9999999999999999999\r\n"), 400},
      {"length twice equal", Request(post, "Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
      {"length and chunked", Request(post, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
       400},
      {"chunked", Request(post, "Transfer-Encoding: CHUNKED\r\n"), 0},
      {"chunked twice",
       Request(post, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"gzip, chunked", Request(post, "Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"identity", Request(post, "Transfer-Encoding: identity\r\n"), 501},
      {"vertical tab chunked",
       Request(post,
               "Transfer-Encoding: \x0b"
               "chunked\r\n"),
       400},
      {"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"get with body", Request(get, "Content-Length: 3\r\n"), 400},
      {"get with chunked", Request(get, "Transfer-Encoding: chunked\r\n"), 400},
      {"expect continue", Request(post, "Expect: 100-continue\r\n"), 0},
      {"expect other", Request(post, "Expect: 200-ok\r\n"), 417},
      {"underscore twin of length", Request(post, "Content_Length: 3\r\n"), 400},
      {"underscore twin of key", Request(get, "x_api_key: k\r\n"), 400},
      {"session_id is fine", Request(get, "session_id: s\r\n"), 0},
      {"connection nonsense", Request(get, "Connection: a b\r\n"), 400},
      {"line too long", Request("GET /" + std::string(9000, 'a') + " HTTP/1.1", ""), 431},
      {"field too long", Request(get, "A: " + std::string(17000, 'a') + "\r\n"), 431},
      {"incomplete", "GET / HTTP/1.1\r\nHost: h\r\n", -1},
  };
  for (const auto& row : rows) EXPECT_EQ(StatusOf(row.head), row.status) << row.what;
}

TEST(Http1Request, FieldCount_IsBoundedExactly) {
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "A: b\r\n";
  EXPECT_EQ(StatusOf(Request("GET / HTTP/1.1", fields)), 0);  // 100 with Host
  EXPECT_EQ(StatusOf(Request("GET / HTTP/1.1", fields + "A: b\r\n")), 431);
}

TEST(Http1Request, KeepAlive_FollowsVersionAndConnection) {
  RequestFrame frame;
  ASSERT_EQ(StatusOf(Request("GET / HTTP/1.1", "Connection: close\r\n"), &frame), 0);
  EXPECT_FALSE(frame.keep_alive);
  ASSERT_EQ(StatusOf(Request("GET / HTTP/1.1", "Connection: x, Close\r\n"), &frame), 0);
  EXPECT_FALSE(frame.keep_alive);
  ASSERT_EQ(StatusOf("GET / HTTP/1.0\r\n\r\n", &frame), 0);
  EXPECT_FALSE(frame.keep_alive);
  ASSERT_EQ(StatusOf("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &frame), 0);
  EXPECT_TRUE(frame.keep_alive);
}

TEST(HeadScanner, ByteByByte_FindsTheSameEnd) {
  const std::string head = Request("GET / HTTP/1.1", "A: b\r\n") + "rest";
  HeadScanner whole;
  ASSERT_EQ(whole.Scan(head, {}), State::kComplete);
  HeadScanner scanner;
  for (std::size_t n = 0; n < whole.head_size(); ++n) {
    EXPECT_EQ(scanner.Scan(std::string_view(head).substr(0, n), {}), State::kIncomplete) << n;
  }
  EXPECT_EQ(scanner.Scan(std::string_view(head).substr(0, whole.head_size()), {}),
            State::kComplete);
  EXPECT_EQ(scanner.head_size(), whole.head_size());
}

TEST(HeadScanner, BytesThatAreNoText_AreRefusedWithoutALineEnd) {
  HeadScanner scanner;
  EXPECT_EQ(scanner.Scan(std::string_view("\x16\x03\x01\x02\x00", 5), {}), State::kBad);
}

TEST(HeadScanner, EndlessLine_IsRefusedBeforeItEnds) {
  HeadScanner scanner;
  EXPECT_EQ(scanner.Scan("GET /" + std::string(8200, 'a'), {}), State::kTooLarge);
}

struct ChunkRow {
  const char* what;
  std::string bytes;
  const char* data;  // null: refused
};

std::optional<std::string> Decode(std::string_view bytes, std::size_t step) {
  ChunkedDecoder decoder;
  std::string out;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, step);
    bytes.remove_prefix(part.size());
    while (!part.empty()) {
      std::string_view data;
      switch (decoder.Next(part, data)) {
        case ChunkedDecoder::State::kBad:
          return std::nullopt;
        case ChunkedDecoder::State::kEnd:
          return out + "|" + std::string(part) + std::string(bytes);
        case ChunkedDecoder::State::kData:
          out += data;
          break;
        case ChunkedDecoder::State::kNeedMore:
          break;
      }
    }
  }
  return out + "...";
}

TEST(ChunkedDecoder, EveryRow_HoweverItIsCut) {
  const std::vector<ChunkRow> rows = {
      {"two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nNEXT", "abcde|NEXT"},
      {"upper case and extension", "A;x=y\r\n0123456789\r\n0\r\n\r\n", "0123456789|"},
      {"leading zeros", "0003\r\nabc\r\n0\r\n\r\n", "abc|"},
      {"unfinished", "3\r\nab", "ab..."},
      {"hex prefix", "0x3\r\nabc\r\n0\r\n\r\n", nullptr},
      {"sign", "+3\r\nabc\r\n0\r\n\r\n", nullptr},
      {"space", " 3\r\nabc\r\n", nullptr},
      {"space behind", "3 \r\nabc\r\n", nullptr},
      {"empty size", "\r\nabc\r\n", nullptr},
      {"seventeen digits", "00000000000000003\r\nabc\r\n", nullptr},
      {"overflow", "ffffffffffffffff\r\nabc\r\n", nullptr},
      {"lf only", "3\nabc\r\n0\r\n\r\n", nullptr},
      {"data too long", "3\r\nabcd\r\n0\r\n\r\n", nullptr},
      {"data ended by lf", "3\r\nabc\n0\r\n\r\n", nullptr},
      {"trailer field", "3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", nullptr},
      {"control in extension", "3;a\x01\r\nabc\r\n0\r\n\r\n", nullptr},
      {"endless extension", "3;" + std::string(300, 'a') + "\r\nabc\r\n0\r\n\r\n", nullptr},
  };
  for (const auto& row : rows) {
    for (std::size_t step = 1; step <= row.bytes.size(); ++step) {
      const auto got = Decode(row.bytes, step);
      if (row.data == nullptr) {
        EXPECT_EQ(got, std::nullopt) << row.what << " cut by " << step;
      } else {
        EXPECT_EQ(got, row.data) << row.what << " cut by " << step;
      }
    }
  }
}

TEST(ChunkHead, SizesAreLowerCaseHex) {
  EXPECT_EQ(MakeChunkHead(0).view(), "0\r\n");
  EXPECT_EQ(MakeChunkHead(255).view(), "ff\r\n");
  EXPECT_EQ(MakeChunkHead(0x123456789abcdef).view(), "123456789abcdef\r\n");
}

struct ReplyRow {
  const char* what;
  std::string head;
  int status;  // of the error; 0: taken
  BodyFraming framing;
};

TEST(Http1Response, EveryRow_HasItsFraming) {
  const std::vector<ReplyRow> rows = {
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 0, BodyFraming::kLength},
      {"no reason", "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", 0, BodyFraming::kLength},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0,
       BodyFraming::kChunked},
      {"until close", "HTTP/1.1 200 OK\r\n\r\n", 0, BodyFraming::kUntilClose},
      {"no content", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", 0, BodyFraming::kNone},
      {"interim", "HTTP/1.1 100 Continue\r\n\r\n", 0, BodyFraming::kNone},
      {"both",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
       502,
       {}},
      {"status 999", "HTTP/1.1 999 X\r\n\r\n", 502, {}},
      {"status 20x", "HTTP/1.1 20x X\r\n\r\n", 502, {}},
      {"http 2", "HTTP/2.0 200 OK\r\n\r\n", 502, {}},
      {"not http", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", 502, {}},
      {"obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 502, {}},
  };
  for (const auto& row : rows) {
    ResponseFrame frame;
    EXPECT_EQ(ParseResponse(row.head, {}, frame).status, row.status) << row.what;
    if (row.status == 0) EXPECT_EQ(frame.framing, row.framing) << row.what;
  }
}

}  // namespace
}  // namespace weir::net
