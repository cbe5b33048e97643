// The splitter against the standard's line ends, against every possible cut, and against sizes.
#include "dialect/sse.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dialect/fuzz_entry.h"
#include "dialect/golden_file_test.h"

namespace weir::dialect {
namespace {

using fuzz::SeenEvent;
using fuzz::SeenStream;

SeenStream SplitAt(std::string_view bytes, std::size_t cut) {
  SeenStream seen;
  SseSplitter splitter;
  SseEvent event;
  for (const auto piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
    splitter.Append(piece);
    while ((seen.last = splitter.Next(event)) == SseStatus::kEvent) {
      seen.events.push_back({std::string(event.raw), std::string(event.type),
                             std::string(event.data), event.has_data});
    }
  }
  seen.unfinished = splitter.Finish();
  return seen;
}

std::vector<SeenEvent> Events(std::string_view bytes) {
  return SplitAt(bytes, bytes.size()).events;
}

TEST(SseSplitter, LineEnds_AllThree_GiveTheSameEvents) {
  const std::string lf = "event: a\nid: 7\ndata: x\ndata:  y\n\n: ping\n\ndata\n\n";
  const std::vector<SeenEvent> expected = {
      {"event: a\nid: 7\ndata: x\ndata:  y\n\n", "a", "x\n y", true},
      {": ping\n\n", "", "", false},
      {"data\n\n", "", "", true},
  };
  EXPECT_EQ(Events(lf), expected);
  std::string crlf, cr;
  for (const char c : lf) {
    crlf += c == '\n' ? "\r\n" : std::string(1, c);
    cr += c == '\n' ? '\r' : c;
  }
  EXPECT_EQ(Events(crlf), expected);
  EXPECT_EQ(Events(cr), expected);
  EXPECT_EQ(Events("\xEF\xBB\xBF" + crlf), expected);
}

TEST(SseSplitter, CutAnywhere_GivesTheSameEvents) {
  for (const auto* name : {"openai_chat/crlf_bom.sse", "openai_chat/with_usage.sse",
                           "anthropic_messages/completed.sse", "gemini_generate/completed.sse"}) {
    const std::string bytes = Golden(name);
    const SeenStream whole = SplitAt(bytes, bytes.size());
    ASSERT_GT(whole.events.size(), 3U);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      ASSERT_EQ(SplitAt(bytes, cut), whole) << name << " cut at " << cut;
    }
  }
}

TEST(SseSplitter, CutAnywhere_OddStreams) {
  for (const std::string_view bytes :
       {"\r\n\r\ndata: a\r\rdata: b\r\n\r\ndata: c\n\r\n\r\r\ndata: d\n\n",
        "\xEF\xBB\xBF\xEF\xBB\xBF"
        "data: x\n\ndata: y\n\n",
        "\xEF\xBB"
        "data: x\n\n",
        "data: a\r\n\rdata: b\r\n\r", "data: last\n"}) {
    const SeenStream whole = SplitAt(bytes, bytes.size());
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      ASSERT_EQ(SplitAt(bytes, cut), whole) << cut;
    }
  }
}

TEST(SseSplitter, CrEnd_IsNotHeldBackForAnLf) {
  SseSplitter splitter;
  SseEvent event;
  splitter.Append("data: a\r\r");
  ASSERT_EQ(splitter.Next(event), SseStatus::kEvent);
  EXPECT_EQ(event.data, "a");
  splitter.Append("\ndata: b\r\n\r\n");
  ASSERT_EQ(splitter.Next(event), SseStatus::kEvent);
  EXPECT_EQ(event.raw, "data: b\n\n");
}

TEST(SseSplitter, WholeLfEvent_IsAViewOfItsBytes) {
  SseSplitter splitter;
  SseEvent event;
  splitter.Append("event: e\ndata: {\"a\":1}\n\n");
  ASSERT_EQ(splitter.Next(event), SseStatus::kEvent);
  EXPECT_TRUE(event.data_in_raw);
  EXPECT_EQ(event.data.data(), event.raw.data() + event.data_at);
  EXPECT_EQ(event.type, "e");
}

TEST(SseSplitter, StrayPage_IsDropped) {
  EXPECT_EQ(Events("<html>\n<p>x\n\n<b>y\n\ndata: 1\n\n"),
            (std::vector<SeenEvent>{{"data: 1\n\n", "", "1", true}}));
}

TEST(SseSplitter, UnknownFieldBesideData_StaysInRaw) {
  EXPECT_EQ(Events("foo: bar\ndata: 1\n\n"),
            (std::vector<SeenEvent>{{"foo: bar\ndata: 1\n\n", "", "1", true}}));
}

TEST(SseSplitter, UnfinishedEvent_IsNoEvent) {
  const SeenStream seen = SplitAt("data: a\n\ndata: b\n", 3);
  EXPECT_EQ(seen.events.size(), 1U);
  EXPECT_TRUE(seen.unfinished);
  EXPECT_FALSE(SplitAt("data: a\n\n", 3).unfinished);
  EXPECT_FALSE(SplitAt("data: a\r\n\r\n", 3).unfinished);
  EXPECT_TRUE(SplitAt("data: a\n\nd", 3).unfinished);
  EXPECT_FALSE(SplitAt("", 0).unfinished);
}

TEST(SseSplitter, NulOrBadUtf8_IsMalformedForGood) {
  for (const std::string_view bytes : {std::string_view("data: a\n\ndata: \0\n\ndata: b\n\n", 28),
                                       std::string_view("data: a\n\ndata: \xC3\n\ndata: b\n\n")}) {
    const SeenStream seen = SplitAt(bytes, bytes.size());
    EXPECT_EQ(seen.events.size(), 1U);
    EXPECT_EQ(seen.last, SseStatus::kMalformed);
    SseSplitter splitter;
    SseEvent event;
    splitter.Append(bytes);
    while (splitter.Next(event) == SseStatus::kEvent) {
    }
    splitter.Append("data: c\n\n");
    EXPECT_EQ(splitter.Next(event), SseStatus::kMalformed);
  }
}

TEST(SseSplitter, CharacterSplitOverReads_IsWhole) {
  const std::string bytes = "data: \xF0\x9F\x9A\x80\n\n";
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_EQ(SplitAt(bytes, cut).events.size(), 1U);
  }
}

// Feeds in reads of 16 KiB, as a socket does.
SseStatus Feed(std::string_view bytes, std::size_t& events) {
  SseSplitter splitter;
  SseEvent event;
  SseStatus status = SseStatus::kNeedMore;
  events = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 16384) {
    splitter.Append(bytes.substr(at, 16384));
    while ((status = splitter.Next(event)) == SseStatus::kEvent) ++events;
    if (status != SseStatus::kNeedMore) break;
  }
  return status;
}

TEST(SseSplitter, Bounds_AtTheEdgeAndOneBeyond) {
  std::size_t events = 0;
  const std::string line(kSseLineBytesMax - 6, 'x');
  EXPECT_EQ(Feed("data: " + line + "\n\n", events), SseStatus::kNeedMore);
  EXPECT_EQ(events, 1U);
  EXPECT_EQ(Feed("data: " + line + "x\n\n", events), SseStatus::kTooLarge);
  EXPECT_EQ(Feed("data: " + line + "xxxx", events), SseStatus::kTooLarge);

  const std::string four = "data: " + std::string(kSseLineBytesMax - 7, 'x') + "\n";
  std::string event;
  for (int i = 0; i < 4; ++i) event += four;
  ASSERT_EQ(event.size(), kSseEventBytesMax);
  EXPECT_EQ(Feed(event + "\n", events), SseStatus::kNeedMore);
  EXPECT_EQ(events, 1U);
  EXPECT_EQ(Feed(event + "data: x\n\n", events), SseStatus::kTooLarge);
}

// Quadratic rescans would make this take minutes: a megabyte a byte at a time, with no line end,
// with CR alone, and with a blank line every two bytes.
TEST(SseSplitter, ByteByByte_StaysLinear) {
  for (const std::string_view unit : {"x", "d\r", "d\n\n", "\n", "d\r\r\n\r\n"}) {
    SseSplitter splitter;
    SseEvent event;
    std::size_t total = 0;
    while (total < (1U << 20) - 16) {
      for (const char c : unit) {
        splitter.Append({&c, 1});
        splitter.Next(event);
        ++total;
      }
    }
    std::string all;
    while (all.size() < kSseLineBytesMax - 16) all += unit;
    SseSplitter at_once;
    at_once.Append(all);
    while (at_once.Next(event) == SseStatus::kEvent) {
    }
  }
}

TEST(SseSplitter, LongStream_HoldsLittle) {
  SseSplitter splitter;
  SseEvent event;
  std::size_t most = 0;
  for (int i = 0; i < 10'000; ++i) {
    splitter.Append("data: {\"delta\":\"some text\"}\n\ndata: {\"del");
    while (splitter.Next(event) == SseStatus::kEvent) {
    }
    splitter.Append("ta\":1}\n\n");
    while (splitter.Next(event) == SseStatus::kEvent) {
    }
    most = std::max(most, splitter.buffered_bytes());
  }
  EXPECT_LT(most, 100U);
}

}  // namespace
}  // namespace weir::dialect
