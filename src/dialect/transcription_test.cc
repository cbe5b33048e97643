#include "dialect/transcription.h"

#include <gtest/gtest.h>

#include <string>

#include "dialect/json_edit.h"
#include "dialect/sse.h"
#include "dialect/usage_reader.h"

namespace weir::dialect {
namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=b0";

std::string Field(const std::string& name, const std::string& content) {
  return "--b0\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + content + "\r\n";
}
std::string File(const std::string& content) {
  return "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n"
         "Content-Type: audio/wav\r\n\r\n" +
         content + "\r\n";
}
const std::string kModel = Field("model", "gpt-4o-mini-transcribe");
const std::string kEnd = "--b0--\r\n";

TEST(Transcription, TheModelMayStandBehindTheFile) {
  const std::string body = File(std::string(3 << 20, 'x')) + Field("prompt", "Hi") + kModel + kEnd;
  const auto shape = ReadTranscription(kType, body);
  ASSERT_TRUE(shape) << shape.error().message;
  EXPECT_EQ(shape->dialect, Dialect::kOpenAiTranscription);
  EXPECT_EQ(shape->model, "gpt-4o-mini-transcribe");
  EXPECT_EQ(shape->audio->file.length, 3U << 20);
  EXPECT_EQ(shape->audio->text_bytes, 2);
  EXPECT_FALSE(shape->stream);
  EXPECT_EQ(shape->audio->format, TranscriptFormat::kJson);
  EXPECT_FALSE(shape->audio->length.known);
  EXPECT_EQ(shape->audio->length.ms_max, (3 << 20) / 1000 * 1000 + 2000);

  std::vector<Edit> edits;
  EditModel(*shape, "whisper \"1\"", edits);  // plain bytes: nothing is quoted
  EXPECT_EQ(*Apply(body, edits), File(std::string(3 << 20, 'x')) + Field("prompt", "Hi") +
                                     Field("model", "whisper \"1\"") + kEnd);
}

TEST(Transcription, WhatIsActedOn_IsRead) {
  const auto shape = ReadTranscription(
      kType, kModel + File("x") + Field("stream", "true") + Field("response_format", "vtt") + kEnd);
  ASSERT_TRUE(shape) << shape.error().message;
  EXPECT_TRUE(shape->stream);
  EXPECT_EQ(shape->audio->format, TranscriptFormat::kVtt);
}

TEST(Transcription, Refusals_NameThePart) {
  struct {
    std::string body;
    const char* param;
  } const rows[] = {
      {File("x") + kEnd, "model"},
      {kModel + kEnd, "file"},
      {kModel + File("") + kEnd, "file"},
      {kModel + Field("file", "not a file") + kEnd, "file"},
      {Field("model", "") + File("x") + kEnd, "model"},
      {Field("model", std::string(257, 'm')) + File("x") + kEnd, "model"},
      {Field("model", "a\r\nb") + File("x") + kEnd, "model"},
      {kModel + File("x") + Field("stream", "yes") + kEnd, "stream"},
      {kModel + File("x"), ""},
  };
  for (const auto& row : rows) {
    const auto shape = ReadTranscription(kType, row.body);
    ASSERT_FALSE(shape) << row.body;
    EXPECT_EQ(shape.error().refusal, Refusal::kInvalidRequest);
    EXPECT_EQ(shape.error().param, row.param);
    EXPECT_FALSE(shape.error().message.empty());
  }
}

Usage OfReply(std::string_view json) {
  JsonMeter meter(Dialect::kOpenAiTranscription);
  meter.Append(json);
  return meter.usage();
}

// OpenAI's openapi.json 2.3.0: usage of type tokens or duration; verbose_json has a duration of its
// own besides.
TEST(TranscriptionReply, UsageIsTokensOrSeconds) {
  const Usage tokens =
      OfReply(R"({"text":"Hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":)"
              R"({"text_tokens":0,"audio_tokens":14},"output_tokens":5,"total_tokens":19}})");
  EXPECT_EQ(tokens, (Usage{.input_tokens = 14,
                           .output_tokens = 5,
                           .source = UsageSource::kProvider,
                           .input_audio_tokens = 14}));
  struct {
    const char* json;
    std::int64_t ms;
  } const rows[] = {
      {R"({"text":"Hi","usage":{"type":"duration","seconds":1}})", 1'000},
      {R"({"usage":{"type":"duration","seconds":8.47}})", 8'470},
      {R"({"usage":{"type":"duration","seconds":8.4700001}})", 8'471},  // always up
      {R"({"usage":{"type":"duration","seconds":0}})", 0},
      {R"({"duration":8.47,"usage":{"type":"duration","seconds":9}})", 9'000},  // the usage's word
      {R"({"duration":8.47,"text":"Hi"})", 8'470},
      {R"({"duration":"8.47","text":"Hi"})", 8'470},  // as texts in older versions
  };
  for (const auto& row : rows) {
    const Usage usage = OfReply(row.json);
    EXPECT_EQ(usage.audio_ms, row.ms) << row.json;
    EXPECT_EQ(usage.source, UsageSource::kProvider) << row.json;
    EXPECT_EQ(usage.input_tokens, 0) << row.json;
  }
  EXPECT_EQ(OfReply(R"({"text":"Hi"})").source, UsageSource::kNone);
  EXPECT_EQ(OfReply(R"({"text":"Hi","usage":{}})").source, UsageSource::kNone);
}

TEST(TranscriptionReply, SecondsOfAnyKind_AreInRange) {
  const auto ms = [](std::string_view text) { return ReadMilliseconds(text); };
  EXPECT_EQ(ms("12"), (JsonCount{12'000, true, false}));
  EXPECT_EQ(ms("0.001"), (JsonCount{1, true, false}));
  EXPECT_EQ(ms("0.0001"), (JsonCount{1, true, false}));
  EXPECT_EQ(ms("2e1"), (JsonCount{20'000, true, true}));
  EXPECT_TRUE(ms("-1").odd);
  EXPECT_EQ(ms("-1").value, 0);
  EXPECT_EQ(ms("99999999999999999999").value, kTokensMax / 1000 * 1000);
  EXPECT_TRUE(ms("99999999999999999999").odd);
}

TEST(TranscriptionReply, TheTextIsOurOwnCount) {
  JsonMeter meter(Dialect::kOpenAiTranscription);
  meter.Append(R"({"text":"12345678","segments":[{"text":"12345678"}],"words":[{"word":"1"}]})");
  EXPECT_EQ(meter.EstimatedOutputTokens(), 2);
}

struct Seen {
  StreamMeter meter{Dialect::kOpenAiTranscription};
  std::string out;
  std::string held;
  bool terminal = false;
};

void Feed(Seen& seen, std::string_view bytes) {
  SseSplitter splitter;
  splitter.Append(bytes);
  SseEvent event;
  while (splitter.Next(event) == SseStatus::kEvent) {
    const EventVerdict verdict = seen.meter.OnEvent(event);
    (verdict.last || verdict.terminal ? seen.held : seen.out) += verdict.bytes;
    seen.terminal |= verdict.terminal;
  }
}

constexpr std::string_view kDelta =
    "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hello\"}\n\n";
constexpr std::string_view kDone =
    "data: {\"type\":\"transcript.text.done\",\"text\":\"Hello\",\"usage\":{\"input_tokens\":14,"
    "\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},\"output_tokens\":5,"
    "\"total_tokens\":19}}\n\n";

// The page's own example of the last event has no usage.type and no [DONE].
TEST(TranscriptStream, TheLastEventIsHeld_WithOrWithoutDone) {
  for (const std::string done : {"", "data: [DONE]\n\n"}) {
    Seen seen;
    Feed(seen, std::string(kDelta) + std::string(kDone) + done);
    EXPECT_EQ(seen.out, kDelta);
    EXPECT_EQ(seen.held, std::string(kDone) + done);
    EXPECT_EQ(seen.terminal, !done.empty());
    EXPECT_EQ(seen.meter.end(), StreamEnd::kCompleted);
    EXPECT_EQ(seen.meter.usage(), (Usage{.input_tokens = 14,
                                         .output_tokens = 5,
                                         .source = UsageSource::kProvider,
                                         .input_audio_tokens = 14}));
    EXPECT_EQ(seen.meter.EstimatedOutputTokens(), 2);  // of the deltas, not of both
    EXPECT_TRUE(seen.meter.content_seen());
  }
}

TEST(TranscriptStream, Silence_IsAReply) {
  Seen seen;
  Feed(seen, "data: {\"type\":\"transcript.text.done\",\"text\":\"\"}\n\n");
  EXPECT_TRUE(seen.meter.content_seen());
  EXPECT_EQ(seen.meter.end(), StreamEnd::kCompleted);
  EXPECT_EQ(seen.meter.usage().source, UsageSource::kNone);
}

TEST(TranscriptStream, SegmentsAreTextToo) {
  Seen seen;
  Feed(seen, "data: {\"type\":\"transcript.text.segment\",\"text\":\"12345678\"}\n\n");
  EXPECT_EQ(seen.meter.EstimatedOutputTokens(), 2);
  Feed(seen, "data: {\"type\":\"transcript.text.done\",\"text\":\"12345678\"}\n\n");
  EXPECT_EQ(seen.meter.EstimatedOutputTokens(), 2);
}

TEST(TranscriptStream, AnErrorEndsIt) {
  Seen seen;
  Feed(seen, "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n");
  EXPECT_TRUE(seen.terminal);
  EXPECT_EQ(seen.meter.end(), StreamEnd::kError);
  EXPECT_EQ(seen.meter.error().type, "server_error");
}

}  // namespace
}  // namespace weir::dialect
