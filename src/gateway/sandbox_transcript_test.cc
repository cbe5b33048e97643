// The sandbox's transcripts: each format, whole.
#include "gateway/sandbox_transcript.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::gateway {
namespace {

// 2,500 ms of PCM at 8 kHz and 8 bits.
std::string Form(const std::string& more, const std::string& model = "gpt-4o-mini-transcribe") {
  const std::string head(
      "RIFF\x44\x4E\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1F\x00\x00\x40\x1F\x00\x00"
      "\x01\x00\x08\x00"
      "data\x20\x4E\x00\x00",
      44);
  return "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n" +
         head + std::string(20'000, '\0') +
         "\r\n--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" + model + "\r\n" +
         more + "--b0--\r\n";
}
std::string Field(const std::string& name, const std::string& value) {
  return "--b0\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n";
}
SandboxReply Ask(const std::string& body, bool omit_usage = false) {
  return MakeSandboxReply({.target = {SandboxOperation::kTranscription, {}},
                           .body = body,
                           .content_type = "multipart/form-data; boundary=b0",
                           .omit_usage = omit_usage});
}

constexpr const char* kTokens =
    R"("usage":{"type":"tokens","input_tokens":26,"input_token_details":{"text_tokens":0,)"
    R"("audio_tokens":26},"output_tokens":6,"total_tokens":32}})";

TEST(SandboxTranscript, Json) {
  const SandboxReply reply = Ask(Form(""));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, std::string(R"({"text":"Hello from the sandbox.",)") + kTokens);
  EXPECT_EQ(reply.content_type, "");
  EXPECT_EQ(reply.model, "gpt-4o-mini-transcribe");
  EXPECT_EQ(reply.usage,
            (Usage{.input_tokens = 26, .output_tokens = 6, .source = UsageSource::kProvider}));
  EXPECT_EQ(Ask(Form("")).body, reply.body);
  EXPECT_EQ(Ask(Form(""), true).body, R"({"text":"Hello from the sandbox."})");
}

TEST(SandboxTranscript, TextFormats_HaveNoUsage) {
  struct {
    const char* format;
    const char* body;
  } const rows[] = {
      {"text", "Hello from the sandbox.\n"},
      {"srt", "1\n00:00:00,000 --> 00:00:02,500\nHello from the sandbox.\n\n\n"},
      {"vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nHello from the sandbox.\n\n"},
  };
  for (const auto& row : rows) {
    const SandboxReply reply = Ask(Form(Field("response_format", row.format)));
    EXPECT_EQ(reply.body, row.body);
    EXPECT_EQ(reply.content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(reply.usage.source, UsageSource::kNone);
  }
}

TEST(SandboxTranscript, VerboseJson_AndWhisper_AreSoldByTheSecond) {
  const SandboxReply reply = Ask(Form(Field("response_format", "verbose_json")));
  EXPECT_TRUE(reply.body.starts_with(
      R"({"task":"transcribe","language":"english","duration":2.5,"text":"Hello from the sandbox.")"));
  EXPECT_TRUE(reply.body.ends_with(R"("usage":{"type":"duration","seconds":3}})"));
  EXPECT_EQ(reply.usage, (Usage{.source = UsageSource::kProvider, .audio_ms = 3'000}));
  const SandboxReply whisper = Ask(Form(Field("stream", "true"), "whisper-1"));
  EXPECT_EQ(whisper.body,
            R"({"text":"Hello from the sandbox.","usage":{"type":"duration","seconds":3}})");
  EXPECT_FALSE(whisper.is_stream());
}

TEST(SandboxTranscript, Stream) {
  const SandboxReply reply = Ask(Form(Field("stream", "true")));
  ASSERT_EQ(reply.event_count(), 5U);
  EXPECT_EQ(reply.event(0), "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hello\"}\n\n");
  EXPECT_EQ(reply.event(1), "data: {\"type\":\"transcript.text.delta\",\"delta\":\" from\"}\n\n");
  EXPECT_EQ(reply.terminal_event, 4U);
  EXPECT_EQ(reply.event(4),
            std::string("data: {\"type\":\"transcript.text.done\",\"text\":\"Hello from the "
                        "sandbox.\",") +
                kTokens + "\n\n");
}

TEST(SandboxTranscript, BrokenForms_AreRefusedAsOpenAiDoes) {
  const SandboxReply reply = Ask("--b0--");
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find(R"("type":"invalid_request_error","param":"model")"), std::string::npos)
      << reply.body;
}

}  // namespace
}  // namespace weir::gateway
