#include "gateway/sandbox_transcript.h"

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "dialect/multipart.h"
#include "dialect/transcription.h"

namespace weir::gateway {
namespace {

using dialect::TranscriptFormat;

constexpr std::string_view kText = "Hello from the sandbox.";
constexpr std::int64_t kMsPerToken = 100;
constexpr std::int64_t kBytesPerToken = 4;

std::int64_t CeilOf(std::int64_t amount, std::int64_t each) { return (amount + each - 1) / each; }

template <class... T>
void Put(std::string& out, fmt::format_string<T...> form, T&&... values) {
  fmt::format_to(std::back_inserter(out), form, std::forward<T>(values)...);
}

// 2500 ms: "2.5" as JSON has it, "00:00:02,500" as subtitles do.
std::string Seconds(std::int64_t ms) {
  std::string text = fmt::format("{}.{:03}", ms / 1000, ms % 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text += '0';
  return text;
}
std::string Clock(std::int64_t ms, char point) {
  return fmt::format("{:02}:{:02}:{:02}{}{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60,
                     point, ms % 1000);
}

struct Heard {
  std::int64_t ms = 0;
  bool by_time = false;
  Usage usage;
};

void PutUsage(const Heard& heard, std::string& out) {
  if (heard.by_time) {
    Put(out, R"(,"usage":{{"type":"duration","seconds":{}}})", CeilOf(heard.ms, 1000));
    return;
  }
  const Usage& usage = heard.usage;
  Put(out,
      R"(,"usage":{{"type":"tokens","input_tokens":{},"input_token_details":)"
      R"({{"text_tokens":0,"audio_tokens":{}}},"output_tokens":{},"total_tokens":{}}})",
      usage.input_tokens, usage.input_tokens, usage.output_tokens,
      usage.input_tokens + usage.output_tokens);
}

void PutStream(const Heard& heard, bool omit_usage, SandboxReply& reply) {
  std::string& out = reply.body;
  const auto event = [&] {
    out += "}\n\n";
    reply.event_ends.push_back(out.size());
  };
  for (std::size_t at = 0; at < kText.size();) {
    const auto end = std::min(kText.find(' ', at + 1), kText.size());
    Put(out, R"(data: {{"type":"transcript.text.delta","delta":"{}")", kText.substr(at, end - at));
    event();
    at = end;
  }
  reply.terminal_event = reply.event_ends.size();
  Put(out, R"(data: {{"type":"transcript.text.done","text":"{}")", kText);
  if (!omit_usage) PutUsage(heard, out);
  event();
}

void PutJson(TranscriptFormat format, const Heard& heard, bool omit_usage, std::string& out) {
  const std::string end = Seconds(heard.ms);
  if (format == TranscriptFormat::kVerboseJson) {
    Put(out,
        R"({{"task":"transcribe","language":"english","duration":{},"text":"{}","segments":[)"
        R"({{"id":0,"seek":0,"start":0.0,"end":{},"text":"{}","tokens":[50364],)"
        R"("temperature":0.0,"avg_logprob":-0.1,"compression_ratio":1.0,)"
        R"("no_speech_prob":0.01}}])",
        end, kText, end, kText);
  } else if (format == TranscriptFormat::kDiarizedJson) {
    Put(out,
        R"({{"task":"transcribe","duration":{},"text":"{}","segments":[)"
        R"({{"type":"transcript.text.segment","id":"seg_0","start":0.0,"end":{},"text":"{}",)"
        R"("speaker":"A"}}])",
        end, kText, end, kText);
  } else {
    Put(out, R"({{"text":"{}")", kText);
  }
  if (!omit_usage) PutUsage(heard, out);
  out += '}';
}

}  // namespace

std::optional<dialect::ShapeError> MakeTranscript(const SandboxRequest& request,
                                                  SandboxReply& reply) {
  TranscriptFormat format = TranscriptFormat::kJson;
  bool stream = false;
  Heard heard;
  if (dialect::IsMultipartForm(request.content_type)) {
    auto shape = dialect::ReadTranscription(request.content_type, request.body);
    if (!shape) return std::move(shape.error());
    format = shape->audio->format;
    heard.ms = shape->audio->length.ms;
    const bool whisper = shape->model.starts_with("whisper");
    heard.by_time = whisper || format == TranscriptFormat::kVerboseJson;
    stream = shape->stream && !whisper;  // whisper-1 takes the member and does not stream
    reply.model = std::move(shape->model);
  } else {
    heard.ms = static_cast<std::int64_t>(request.body.size()) / 16;
  }
  heard.usage.source = UsageSource::kProvider;
  if (heard.by_time) {
    heard.usage.audio_ms = CeilOf(heard.ms, 1000) * 1000;
  } else {
    heard.usage.input_tokens = heard.ms / kMsPerToken + 1;
    heard.usage.output_tokens = CeilOf(static_cast<std::int64_t>(kText.size()), kBytesPerToken);
  }

  if (stream) {
    PutStream(heard, request.omit_usage, reply);
  } else if (format == TranscriptFormat::kSrt) {
    Put(reply.body, "1\n{} --> {}\n{}\n\n\n", Clock(0, ','), Clock(heard.ms, ','), kText);
  } else if (format == TranscriptFormat::kVtt) {
    Put(reply.body, "WEBVTT\n\n{} --> {}\n{}\n\n", Clock(0, '.'), Clock(heard.ms, '.'), kText);
  } else if (format == TranscriptFormat::kText) {
    Put(reply.body, "{}\n", kText);
  } else {
    PutJson(format, heard, request.omit_usage, reply.body);
  }
  const bool text = !stream && dialect::IsText(format);
  if (text) reply.content_type = "text/plain; charset=utf-8";
  if (!text && !request.omit_usage) reply.usage = heard.usage;
  return std::nullopt;
}

}  // namespace weir::gateway
