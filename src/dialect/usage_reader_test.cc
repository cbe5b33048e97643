// Metering against goldens of every dialect, at every cut, and against figures that lie.
#include "dialect/usage_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dialect/fuzz_entry.h"
#include "dialect/golden_file_test.h"

namespace weir::dialect {
namespace {

constexpr Dialect kR = Dialect::kOpenAiResponses;
constexpr Dialect kC = Dialect::kOpenAiChat;
constexpr Dialect kA = Dialect::kAnthropicMessages;
constexpr Dialect kG = Dialect::kGeminiGenerate;
constexpr std::int64_t kMax = kTokensMax;

// The texts of the goldens: "Grüße, " "the \"answer\" " "is 42\n" and a rocket with a full stop.
constexpr std::int64_t kTextBytes = 9 + 13 + 6 + 5;

struct Streamed {
  std::string sent;
  std::vector<EventVerdict> verdicts;
  StreamMeter meter;
};

Streamed Play(Dialect dialect, std::string_view bytes, bool strip = false) {
  Streamed played{{}, {}, StreamMeter(dialect, {.strip_usage = strip})};
  SseSplitter splitter;
  SseEvent event;
  splitter.Append(bytes);
  while (splitter.Next(event) == SseStatus::kEvent) {
    const EventVerdict verdict = played.meter.OnEvent(event);
    played.sent += verdict.bytes;
    played.verdicts.push_back(verdict);
    played.verdicts.back().bytes = {};
  }
  return played;
}

std::string Lf(std::string text) {
  std::erase(text, '\r');
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

Usage Used(std::int64_t input, std::int64_t cached, std::int64_t written, std::int64_t output,
           std::int64_t reasoning) {
  return {input, cached, written, output, reasoning, UsageSource::kProvider};
}

struct GoldenStream {
  Dialect dialect;
  const char* name;
  Usage usage;
  StreamEnd end;
  std::int64_t output_bytes;
  std::string_view model;
};

const GoldenStream kStreams[] = {
    {kR, "openai_responses/completed.sse", Used(1200, 1024, 16, 87, 32), StreamEnd::kCompleted,
     10 + kTextBytes, "gpt-5.5-2026-05-01"},
    {kR, "openai_responses/incomplete.sse", Used(1200, 1024, 16, 87, 32), StreamEnd::kIncomplete,
     10 + kTextBytes, "gpt-5.5-2026-05-01"},
    {kR,
     "openai_responses/failed.sse",
     {},
     StreamEnd::kFailed,
     10 + kTextBytes,
     "gpt-5.5-2026-05-01"},
    {kR,
     "openai_responses/error.sse",
     {},
     StreamEnd::kError,
     10 + kTextBytes,
     "gpt-5.5-2026-05-01"},
    {kR,
     "openai_responses/no_usage.sse",
     {},
     StreamEnd::kCompleted,
     10 + kTextBytes,
     "gpt-5.5-2026-05-01"},
    {kR, "openai_responses/cut.sse", {}, StreamEnd::kNone, 10 + kTextBytes, "gpt-5.5-2026-05-01"},
    {kR, "openai_responses/items_only.sse", {}, StreamEnd::kCompleted, 9, ""},
    {kC, "openai_chat/with_usage.sse", Used(300, 256, 0, 25, 8), StreamEnd::kCompleted,
     kTextBytes + 16, "gpt-5.4-mini"},
    {kC, "openai_chat/crlf_bom.sse", Used(300, 256, 0, 25, 8), StreamEnd::kCompleted,
     kTextBytes + 16, "gpt-5.4-mini"},
    {kC,
     "openai_chat/without_usage.sse",
     {},
     StreamEnd::kCompleted,
     kTextBytes + 16,
     "gpt-5.4-mini"},
    {kC, "openai_chat/error.sse", {}, StreamEnd::kError, 3, "gpt-5.4-mini"},
    {kA, "anthropic_messages/completed.sse", Used(442, 400, 30, 55, 9), StreamEnd::kCompleted,
     3 + kTextBytes + 7, "claude-sonnet-5"},
    {kA, "anthropic_messages/error.sse", Used(442, 400, 30, 1, 0), StreamEnd::kError, 3,
     "claude-sonnet-5"},
    {kG, "gemini_generate/completed.sse", Used(215, 80, 0, 44, 30), StreamEnd::kCompleted,
     3 + kTextBytes + 36, "gemini-3.5-flash"},
    {kG, "gemini_generate/cut.sse", Used(210, 0, 0, 0, 0), StreamEnd::kNone, 3 + kTextBytes,
     "gemini-3.5-flash"},
};

TEST(StreamMeter, Goldens) {
  for (const auto& row : kStreams) {
    SCOPED_TRACE(row.name);
    const std::string bytes = Golden(row.name);
    const Streamed played = Play(row.dialect, bytes);
    EXPECT_EQ(played.meter.usage(), row.usage);
    EXPECT_FALSE(played.meter.inconsistent());
    EXPECT_EQ(played.meter.end(), row.end);
    EXPECT_EQ(played.meter.observed_output_bytes(), row.output_bytes);
    EXPECT_EQ(played.meter.EstimatedOutputTokens(), (row.output_bytes + 3) / 4);
    EXPECT_EQ(played.meter.served_model(), row.model);
    EXPECT_EQ(played.meter.malformed_events(), 0);
    EXPECT_TRUE(played.meter.content_seen());
    // Only the events behind an error do not pass.
    if (played.meter.events_after_end() == 0) EXPECT_EQ(played.sent, Lf(bytes));
  }
}

TEST(StreamMeter, CutAnywhere_TheSameResult) {
  for (const auto& row : kStreams) {
    const std::string bytes = Golden(row.name);
    const fuzz::MeterResult whole = fuzz::MeterStream(row.dialect, true, bytes, 0);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      SseSplitter splitter;
      StreamMeter meter(row.dialect, {.strip_usage = true});
      SseEvent event;
      std::string sent;
      for (const auto piece :
           {std::string_view(bytes).substr(0, cut), std::string_view(bytes).substr(cut)}) {
        splitter.Append(piece);
        while (splitter.Next(event) == SseStatus::kEvent) sent += meter.OnEvent(event).bytes;
      }
      ASSERT_EQ(meter.usage(), whole.usage) << row.name << " cut at " << cut;
      ASSERT_EQ(meter.end(), whole.end);
      ASSERT_EQ(meter.EstimatedOutputTokens(), whole.estimate);
      ASSERT_EQ(sent, whole.sent);
    }
    for (int seed = 1; seed < 16; ++seed) {
      ASSERT_EQ(fuzz::MeterStream(row.dialect, true, bytes, static_cast<std::uint8_t>(seed)),
                whole);
    }
  }
}

TEST(StreamMeter, Chat_StrippedUsage_IsTheStreamOfSomeoneWhoDidNotAsk) {
  const Streamed played = Play(kC, Golden("openai_chat/with_usage.sse"), true);
  EXPECT_EQ(played.sent, Golden("openai_chat/without_usage.sse"));
  EXPECT_EQ(played.meter.usage(), Used(300, 256, 0, 25, 8));
  // Whoever did not have usage added sees every byte.
  EXPECT_EQ(Play(kC, Golden("openai_chat/without_usage.sse"), true).sent,
            Golden("openai_chat/without_usage.sse"));
}

TEST(StreamMeter, Chat_StripsUsage_WhereverItStands) {
  const std::pair<std::string_view, std::string_view> table[] = {
      {R"({"usage":null,"choices":[{"x":1}]})", R"({"choices":[{"x":1}]})"},
      {R"({"choices":[{"x":1}], "usage" : null })", R"({"choices":[{"x":1}] })"},
      {R"({"a":1,"usage":null,"choices":[{}]})", R"({"a":1,"choices":[{}]})"},
      {R"({"a":1,"usage":{"prompt_tokens":1},"choices":[{}]})", R"({"a":1,"choices":[{}]})"},
      {R"({"usage":null})", R"({})"},
      {R"({"choices":[],"usage":null,"prompt_filter_results":[]})",
       R"({"choices":[],"prompt_filter_results":[]})"},
      {R"({"choices":[{"delta":{"usage":null}}]})", R"({"choices":[{"delta":{"usage":null}}]})"},
      {R"({"us\u0061ge":null,"choices":[{}]})", R"({"choices":[{}]})"},
  };
  for (const auto& [data, stripped] : table) {
    EXPECT_EQ(Play(kC, "data: " + std::string(data) + "\n\n", true).sent,
              "data: " + std::string(stripped) + "\n\n");
    EXPECT_EQ(Play(kC, "data: " + std::string(data) + "\n\n", false).sent,
              "data: " + std::string(data) + "\n\n");
  }
  EXPECT_EQ(Play(kC, "data: {\"usage\":null,\ndata: \"choices\":[{}]}\n\n", true).sent,
            "data: {\ndata: \"choices\":[{}]}\n\n");
  EXPECT_EQ(Play(kC, "data: {\"usage\":{\"total_tokens\":1}}\n\n", true).sent, "");
}

TEST(StreamMeter, ContentAndTerminal_PerEvent) {
  struct Row {
    Dialect dialect;
    std::string_view data;
    bool content;
    StreamEnd end;
    bool terminal;
  };
  const Row table[] = {
      {kR, R"({"type":"response.created","response":{"model":"m"}})", false, StreamEnd::kNone,
       false},
      {kR, R"({"type":"response.in_progress","response":{}})", false, StreamEnd::kNone, false},
      {kR, R"({"type":"response.queued","response":{}})", false, StreamEnd::kNone, false},
      {kR, R"({"type":"codex.rate_limits","plan_type":"plus"})", false, StreamEnd::kNone, false},
      {kR, R"({"type":"response.output_item.added","item":{}})", true, StreamEnd::kNone, false},
      {kR, R"({"type":"response.output_text.delta","delta":"a"})", true, StreamEnd::kNone, false},
      {kR, R"({"delta":"a","type":"response.output_text.delta"})", true, StreamEnd::kNone, false},
      {kR, R"({"type":"response.completed","response":{}})", false, StreamEnd::kCompleted, true},
      {kR, R"({ "type" : "response.completed"})", false, StreamEnd::kCompleted, true},
      {kR, R"({"type":"response.c\u006fmpleted"})", false, StreamEnd::kCompleted, true},
      {kR, R"({"type":"response.incomplete"})", false, StreamEnd::kIncomplete, true},
      {kR, R"({"type":"response.failed"})", false, StreamEnd::kFailed, true},
      {kR, R"({"type":"error","message":"m"})", false, StreamEnd::kError, true},
      {kC, "[DONE]", false, StreamEnd::kCompleted, true},
      {kC, "[DONE] ", false, StreamEnd::kCompleted, true},
      {kC, R"({"choices":[{"delta":{"role":"assistant","content":""}}]})", false, StreamEnd::kNone,
       false},
      {kC, R"({"choices":[{"delta":{"content":"a"}}]})", true, StreamEnd::kNone, false},
      {kC, R"({"choices":[{"delta":{"tool_calls":[]}}]})", false, StreamEnd::kNone, false},
      {kC, R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})", true, StreamEnd::kNone,
       false},
      {kC, R"({"choices":[{"delta":{"reasoning_content":"a"}}]})", true, StreamEnd::kNone, false},
      {kC, R"({"choices":[{"delta":{},"finish_reason":"stop"}]})", false, StreamEnd::kNone, false},
      {kC, R"({"error":{"message":"m"}})", false, StreamEnd::kError, true},
      {kC, R"({"error":"m"})", false, StreamEnd::kError, true},
      {kC, R"({"error":null,"choices":[]})", false, StreamEnd::kNone, false},
      {kA, R"({"type":"message_start","message":{}})", false, StreamEnd::kNone, false},
      {kA, R"({"type":"ping"})", false, StreamEnd::kNone, false},
      {kA, R"({"type":"content_block_delta","delta":{"text":"a"}})", true, StreamEnd::kNone, false},
      {kA, R"({"type":"message_delta","usage":{}})", false, StreamEnd::kNone, false},
      {kA, R"({"type":"message_stop"})", false, StreamEnd::kCompleted, true},
      {kA, R"({"type":"error","error":{"type":"api_error"}})", false, StreamEnd::kError, true},
      {kG, R"({"candidates":[{"content":{"parts":[{"text":"a"}]}}]})", true, StreamEnd::kNone,
       false},
      {kG, R"({"candidates":[{"finishReason":"STOP"}]})", false, StreamEnd::kCompleted, false},
      {kG, R"({"promptFeedback":{"blockReason":"SAFETY"}})", false, StreamEnd::kCompleted, false},
      {kG, R"({"error":{"code":503,"message":"m","status":"UNAVAILABLE"}})", false,
       StreamEnd::kError, true},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.data);
    const Streamed played = Play(row.dialect, "data: " + std::string(row.data) + "\n\n");
    ASSERT_EQ(played.verdicts.size(), 1U);
    EXPECT_EQ(played.verdicts[0].content, row.content);
    EXPECT_EQ(played.verdicts[0].end, row.end);
    EXPECT_EQ(played.verdicts[0].terminal, row.terminal);
  }
}

TEST(StreamMeter, TypeOnlyInTheEventField_IsEnough) {
  EXPECT_EQ(Play(kR,
                 "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":3,"
                 "\"output_tokens\":4}}}\n\n")
                .meter.usage(),
            Used(3, 0, 0, 4, 0));
  EXPECT_EQ(Play(kA, "event: message_stop\ndata: {}\n\n").meter.end(), StreamEnd::kCompleted);
}

TEST(StreamMeter, AfterTheEnd_NothingPassesOrCounts) {
  const Streamed played =
      Play(kC,
           "data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":"
           "{\"prompt_tokens\":5}}\n\n: ping\n\ndata: [DONE]\n\n");
  EXPECT_EQ(played.sent, "data: [DONE]\n\n");
  EXPECT_EQ(played.meter.usage(), Usage{});
  EXPECT_EQ(played.meter.events_after_end(), 3);
}

TEST(StreamMeter, Comments_PassUnseen) {
  const Streamed played = Play(kC, ": ping\n\n");
  EXPECT_EQ(played.sent, ": ping\n\n");
  EXPECT_FALSE(played.meter.content_seen());
}

TEST(StreamMeter, BrokenJson_PassesAndIsCounted) {
  const Streamed played = Play(
      kC,
      "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":5}\n\n");
  EXPECT_FALSE(played.sent.empty());
  EXPECT_EQ(played.meter.malformed_events(), 1);
  EXPECT_EQ(played.meter.usage(), Usage{});
}

TEST(StreamMeter, Errors_AreRead) {
  UpstreamErrorText error = Play(kR, Golden("openai_responses/failed.sse")).meter.error();
  EXPECT_EQ(error.type, "usage_limit_reached");
  EXPECT_EQ(error.code, "usage_limit_reached");
  EXPECT_EQ(error.resets_in_seconds, 3600);
  EXPECT_EQ(error.resets_at, 1790003600);
  error = Play(kR, Golden("openai_responses/error.sse")).meter.error();
  EXPECT_EQ(error.code, "rate_limit_exceeded");
  EXPECT_EQ(error.message, "Slow down");
  EXPECT_FALSE(error.resets_at);
  error = Play(kA, Golden("anthropic_messages/error.sse")).meter.error();
  EXPECT_EQ(error.type, "overloaded_error");
  EXPECT_EQ(error.message, "Overloaded");
  error = Play(kG, "data: {\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"X\"}}\n\n")
              .meter.error();
  EXPECT_EQ(error.code, "429");
  EXPECT_EQ(error.type, "X");
}

TEST(StreamMeter, Usage_LastGivenFigureCounts_FallingIsFlagged) {
  const auto chunk = [](std::string_view usage) {
    return "data: {\"usageMetadata\":" + std::string(usage) + "}\n\n";
  };
  Streamed played = Play(kG, chunk(R"({"promptTokenCount":5,"candidatesTokenCount":2})") +
                                 chunk(R"({"promptTokenCount":5,"candidatesTokenCount":9})") +
                                 chunk(R"({"promptTokenCount":null})"));
  EXPECT_EQ(played.meter.usage(), Used(5, 0, 0, 9, 0));
  EXPECT_FALSE(played.meter.inconsistent());
  played =
      Play(kG, chunk(R"({"candidatesTokenCount":9})") + chunk(R"({"candidatesTokenCount":8})"));
  EXPECT_EQ(played.meter.usage(), Used(0, 0, 0, 8, 0));
  EXPECT_TRUE(played.meter.inconsistent());
}

struct GoldenReply {
  Dialect dialect;
  const char* name;
  Usage usage;
  std::int64_t output_bytes;
  std::string_view model;
};

const GoldenReply kReplies[] = {
    {kR, "openai_responses/reply.json", Used(1200, 1024, 16, 87, 32), kTextBytes + 28,
     "gpt-5.5-2026-05-01"},
    {kC, "openai_chat/reply.json", Used(300, 256, 0, 25, 8), kTextBytes, "gpt-5.4-mini"},
    {kA, "anthropic_messages/reply.json", Used(442, 400, 30, 55, 0), kTextBytes + 11,
     "claude-sonnet-5"},
    {kG, "gemini_generate/reply.json", Used(215, 80, 0, 44, 30), kTextBytes, "gemini-3.5-flash"},
    {kG, "gemini_generate/reply_array.json", Used(215, 80, 0, 44, 30), 3 + kTextBytes + 36,
     "gemini-3.5-flash"},
};

TEST(JsonMeter, Goldens_AtEveryCut) {
  for (const auto& row : kReplies) {
    const std::string bytes = Golden(row.name);
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      JsonMeter meter(row.dialect);
      meter.Append(std::string_view(bytes).substr(0, cut));
      meter.Append(std::string_view(bytes).substr(cut));
      ASSERT_EQ(meter.usage(), row.usage) << row.name << " cut at " << cut;
      ASSERT_EQ(meter.served_model(), row.model);
      ASSERT_EQ(meter.observed_output_bytes(), row.output_bytes) << row.name;
      ASSERT_TRUE(meter.complete());
      ASSERT_FALSE(meter.inconsistent());
    }
    for (int seed = 1; seed < 16; ++seed) {
      ASSERT_EQ(fuzz::MeterJson(row.dialect, bytes, static_cast<std::uint8_t>(seed)),
                fuzz::MeterJson(row.dialect, bytes, 0));
    }
  }
}

// A byte of JSON's grammar, a byte of a name or any byte in place of, before or instead of another.
std::string Mutated(std::string text, std::uint32_t& random) {
  constexpr std::string_view kBytes = "\"\\{}[],: \n\tu0d8-1.ent\x01\x7F\xC3";
  const auto next = [&random](std::size_t below) {
    random = random * 1664525U + 1013904223U;
    return static_cast<std::size_t>(random >> 8) % below;
  };
  for (std::size_t changes = 1 + next(3); changes > 0 && !text.empty(); --changes) {
    const std::size_t at = next(text.size());
    switch (next(4)) {
      case 0:
        text[at] = kBytes[next(kBytes.size())];
        break;
      case 1:
        text.insert(at, 1 + next(3), kBytes[next(kBytes.size())]);
        break;
      case 2:
        text.erase(at, 1 + next(20));
        break;
      default:
        text.insert(next(text.size()), text.substr(at, 1 + next(60)));
    }
  }
  return text;
}

// The quick ways through what is there whole against the way byte by byte, over every table.
TEST(JsonPathReader, WholeAndByteByByte_FindTheSame_InMutatedGoldens) {
  std::uint32_t random = 1;
  for (const auto& row : kReplies) {
    const std::string reply = Golden(row.name);
    fuzz::JsonPathEntry(reply);
    for (int i = 0; i < 150; ++i) fuzz::JsonPathEntry(Mutated(reply, random));
  }
  for (const auto& row : kStreams) {
    const std::string stream = Golden(row.name);
    SseSplitter splitter;
    SseEvent event;
    splitter.Append(stream);
    while (splitter.Next(event) == SseStatus::kEvent) {
      for (int i = 0; i < 3; ++i) fuzz::JsonPathEntry(Mutated(std::string(event.data), random));
    }
  }
}

// A member that ends just before, at and behind the reach of a quick look, in every form a writer
// may give it; the figure must be read in all of them.
TEST(JsonPathReader, MembersAtEveryDistanceFromTheEnd_AreRead) {
  for (const std::string_view between : {"", " ", "\n  ", "\t\r\n               "}) {
    for (std::size_t pad = 0; pad < 80; ++pad) {
      std::string body;
      for (const std::string_view token : {"{",
                                           "\"usage\"",
                                           ":",
                                           "{",
                                           "\"prompt_tokens\"",
                                           ":",
                                           "12",
                                           ",",
                                           "\"completion_tokens_details\"",
                                           ":",
                                           "{",
                                           "\"reasoning_tokens\"",
                                           ":",
                                           "3",
                                           "}",
                                           ",",
                                           "\"completion_tokens\"",
                                           ":",
                                           "4",
                                           "}",
                                           ",",
                                           "\"model\"",
                                           ":",
                                           "\"m\"",
                                           ",",
                                           "\"choices\"",
                                           ":",
                                           "[",
                                           "]",
                                           ",",
                                           "\"x\"",
                                           ":"}) {
        body.append(token).append(between);
      }
      body += '"' + std::string(pad, 'x') + "\"}";
      fuzz::JsonPathEntry(body);
      JsonMeter meter(kC);
      meter.Append(body);
      ASSERT_EQ(meter.usage(), Used(12, 0, 0, 4, 3)) << body;
      ASSERT_EQ(meter.served_model(), "m");
      ASSERT_TRUE(meter.complete());
    }
  }
}

TEST(JsonPathReader, NamesThatShareHeadAndLength_AreToldApart) {
  for (const std::string_view usage :
       {R"("prompt_tokenz":1)", R"("prompt_tokens_":1)", R"("prompt_token":1)",
        R"("completion_tokens_detailz":{"reasoning_tokens":1})",
        R"("completion_tokenz_details":{"reasoning_tokens":1})",
        R"("completi0n_tokens_details":{"reasoning_tokens":1})", R"("":1)",
        R"("prompt_tokens\u0000":1)"}) {
    JsonMeter meter(kC);
    meter.Append("{\"usage\":{" + std::string(usage) + "},\"metadata\":\"" + std::string(64, 'x') +
                 "\"}");
    EXPECT_EQ(meter.usage(), Usage{}) << usage;
    EXPECT_TRUE(meter.complete());
  }
}

TEST(JsonMeter, Truncated_KeepsWhatWasRead) {
  const std::string bytes = Golden("anthropic_messages/reply.json");
  JsonMeter meter(kA);
  meter.Append(std::string_view(bytes).substr(0, bytes.size() - 1));
  EXPECT_FALSE(meter.complete());
  EXPECT_EQ(meter.usage(), Used(442, 400, 30, 55, 0));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    JsonMeter cut(kA);
    cut.Append(std::string_view(bytes).substr(0, length));
    EXPECT_FALSE(cut.complete());
  }
}

struct UsageCase {
  Dialect dialect;
  std::string_view usage;
  Usage expected;
  bool inconsistent;
};

TEST(JsonMeter, FiguresThatLie_AreBroughtIntoRange) {
  const UsageCase table[] = {
      {kC, R"({"prompt_tokens":10,"completion_tokens":5})", Used(10, 0, 0, 5, 0), false},
      {kC, R"({"input_tokens":10,"output_tokens":5})", Used(10, 0, 0, 5, 0), false},
      {kC, R"({"prompt_tokens":-1,"completion_tokens":5})", Used(0, 0, 0, 5, 0), true},
      {kC, R"({"prompt_tokens":9007199254740992})", Used(kMax, 0, 0, 0, 0), false},
      {kC, R"({"prompt_tokens":9007199254740993})", Used(kMax, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":9223372036854775808})", Used(kMax, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":1e400})", Used(kMax, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":2e3})", Used(2000, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":2500e-2})", Used(25, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":12.0})", Used(12, 0, 0, 0, 0), false},
      {kC, R"({"prompt_tokens":12.5})", Used(12, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":"12"})", Used(12, 0, 0, 0, 0), true},
      {kC, R"({"prompt_tokens":true,"completion_tokens":1})", Used(0, 0, 0, 1, 0), true},
      {kC, R"({"prompt_tokens":4,"prompt_tokens_details":{"cached_tokens":5}})",
       Used(4, 4, 0, 0, 0), true},
      {kC,
       R"({"prompt_tokens":4,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":3}})",
       Used(4, 3, 1, 0, 0), true},
      {kC, R"({"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":5}})",
       Used(0, 0, 0, 4, 4), true},
      {kC, R"({"prompt_tokens":8,"total_tokens":8})", Used(8, 0, 0, 0, 0), false},
      {kC, R"({"prompt_tokens":8,"total_tokens":11})", Used(8, 0, 0, 3, 0), false},
      {kC, R"({"prompt_tokens":null,"completion_tokens":null})", Usage{}, false},
      {kC, R"({})", Usage{}, false},
      {kC, R"(null)", Usage{}, false},
      {kC, R"("none")", Usage{}, false},
      {kA, R"({"input_tokens":9007199254740992,"cache_read_input_tokens":9007199254740992})",
       Used(kMax, kMax, 0, 0, 0), true},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.usage);
    JsonMeter meter(row.dialect);
    meter.Append("{\"id\":\"x\",\"usage\":" + std::string(row.usage) + "}");
    EXPECT_EQ(meter.usage(), row.expected);
    EXPECT_EQ(meter.inconsistent(), row.inconsistent);
    EXPECT_TRUE(meter.complete());
  }
}

// What a provider bills apart besides the usual four, under the names vendors use.
TEST(JsonMeter, AudioLongCachesAndTools_AreCountedApart) {
  const auto with = [](Usage usage, std::int64_t input_audio, std::int64_t output_audio,
                       std::int64_t hour, std::int64_t calls) {
    usage.input_audio_tokens = input_audio;
    usage.output_audio_tokens = output_audio;
    usage.cache_write_1h_tokens = hour;
    usage.tool_calls = calls;
    return usage;
  };
  const UsageCase table[] = {
      {kC,
       R"({"prompt_tokens":10,"completion_tokens":8,"prompt_tokens_details":{"audio_tokens":4},)"
       R"("completion_tokens_details":{"audio_tokens":5,"reasoning_tokens":2}})",
       with(Used(10, 0, 0, 8, 2), 4, 5, 0, 0), false},
      {kC, R"({"input_tokens":9,"input_token_details":{"text_tokens":0,"audio_tokens":9}})",
       with(Used(9, 0, 0, 0, 0), 9, 0, 0, 0), false},
      // Cached audio is cached: nobody says which of the cached tokens are audio.
      {kC, R"({"prompt_tokens":10,"prompt_tokens_details":{"audio_tokens":8,"cached_tokens":6}})",
       with(Used(10, 6, 0, 0, 0), 4, 0, 0, 0), false},
      {kC, R"({"prompt_tokens":10,"prompt_tokens_details":{"audio_tokens":11}})",
       with(Used(10, 0, 0, 0, 0), 10, 0, 0, 0), true},
      {kC, R"({"completion_tokens":3,"completion_tokens_details":{"audio_tokens":-1}})",
       with(Used(0, 0, 0, 3, 0), 0, 0, 0, 0), true},
      {kA,
       R"({"input_tokens":2,"cache_creation_input_tokens":30,"cache_creation":)"
       R"({"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1,)"
       R"("server_tool_use":{"web_search_requests":3}})",
       with(Used(32, 0, 30, 1, 0), 0, 0, 20, 3), false},
      {kA,
       R"({"input_tokens":2,"cache_creation_input_tokens":3,)"
       R"("cache_creation":{"ephemeral_1h_input_tokens":4}})",
       with(Used(5, 0, 3, 0, 0), 0, 0, 3, 0), true},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.usage);
    JsonMeter meter(row.dialect);
    meter.Append("{\"id\":\"x\",\"usage\":" + std::string(row.usage) + "}");
    EXPECT_EQ(meter.usage(), row.expected);
    EXPECT_EQ(meter.inconsistent(), row.inconsistent);
  }
}

TEST(JsonMeter, UsageElsewhere_IsNotTheUsage) {
  JsonMeter meter(kC);
  meter.Append(R"({"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":7}",)"
               R"("usage":{"prompt_tokens":8}}}],"metadata":{"usage":{"prompt_tokens":9}}})");
  EXPECT_EQ(meter.usage(), Usage{});
  EXPECT_TRUE(meter.complete());
}

TEST(JsonMeter, DeepNesting_IsCountedThrough) {
  JsonMeter meter(kC);
  const std::string deep(1'000'000, '[');
  meter.Append("{\"x\":" + deep);
  meter.Append(std::string(1'000'000, ']') + ",\"usage\":{\"prompt_tokens\":1}}");
  EXPECT_TRUE(meter.complete());
  EXPECT_EQ(meter.usage(), Used(1, 0, 0, 0, 0));
}

TEST(JsonMeter, NotJson_IsNotComplete) {
  for (const std::string_view bytes :
       {"", "<html>", "{", "{\"a\":1", "{\"a\":1}x", "{\"a\" 1}", "{\"a\":}", "{a:1}", "[1,2}",
        "{\"a\":\"\\u12x4\",\"model\":\"m\"}"}) {
    JsonMeter meter(kC);
    meter.Append(bytes);
    EXPECT_FALSE(meter.complete()) << bytes;
  }
}

TEST(JsonMeter, ErrorAndStatus_AreRead) {
  JsonMeter meter(kR);
  meter.Append(
      R"({"status":"failed","error":{"code":"server_error","message":"m\u00e9"},"model":"x"})");
  EXPECT_EQ(meter.status(), "failed");
  EXPECT_EQ(meter.error().code, "server_error");
  EXPECT_EQ(meter.error().message, "m\xC3\xA9");
  JsonMeter fine(kR);
  fine.Append(R"({"status":"completed","error":null})");
  EXPECT_EQ(fine.error().message, "");
}

TEST(JsonMeter, LongTexts_AreCut) {
  JsonMeter meter(kC);
  meter.Append("{\"model\":\"" + std::string(1 << 20, 'm') + "\"}");
  EXPECT_EQ(meter.served_model().size(), kJsonTextBytesMax);
}

}  // namespace
}  // namespace weir::dialect
