// What reading the wire costs: a request's shape, one event of a stream through splitter and meter,
// a JSON reply through its meter. build/release/bench/dialect_bench
#include <benchmark/benchmark.h>

#include <string>

#include "dialect/json_edit.h"
#include "dialect/request_shape.h"
#include "dialect/sse.h"
#include "dialect/usage_reader.h"

namespace {

using namespace weir::dialect;

// A chat request of about `bytes`: messages of code-like text with an escape every 40 bytes, and
// two tools.
std::string ChatRequest(std::size_t bytes) {
  std::string body =
      R"({"model":"gpt-5.5","stream":true,"temperature":0.2,"tools":[{"type":"function","function":)"
      R"({"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"},)"
      R"("days":{"type":"integer"}},"required":["city"]}}}],"messages":[)";
  const std::string message =
      R"({"role":"user","content":"The quick brown fox jumps over the dog.\nIt does so again, and )"
      R"(nobody minds very much.\nThen \"quoted\" words, a tab\t and more text up to the end."},)";
  while (body.size() + message.size() + 20 < bytes) body += message;
  body += R"({"role":"user","content":"go"}]})";
  return body;
}

void BM_RequestShape(benchmark::State& state) {
  const std::string body = ChatRequest(static_cast<std::size_t>(state.range(0)));
  RequestReader reader;
  for (auto _ : state) {
    auto shape = reader.Read(Dialect::kOpenAiChat, body);
    benchmark::DoNotOptimize(shape);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}
BENCHMARK(BM_RequestShape)->Arg(2 << 10)->Arg(100 << 10);

void BM_RequestEdits(benchmark::State& state) {
  const std::string body = ChatRequest(2 << 10);
  RequestReader reader;
  const auto shape = reader.Read(Dialect::kOpenAiChat, body);
  for (auto _ : state) {
    std::vector<Edit> edits;
    EditModel(*shape, "gpt-5.5-upstream", edits);
    EditOutputBound(*shape, 1000, edits);
    EditIncludeUsage(*shape, edits);
    auto pieces = Pieces(body, edits);
    benchmark::DoNotOptimize(pieces);
  }
}
BENCHMARK(BM_RequestEdits);

constexpr const char* kDeltas[] = {
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
    "\"sequence_number\":17,\"item_id\":\"msg_68af40302b2c81a3b7f5\",\"output_index\":0,"
    "\"content_index\":0,\"delta\":\" several "
    "words\",\"logprobs\":[],\"obfuscation\":\"aB3xY\"}\n\n",
    "data: {\"id\":\"chatcmpl-99450fb44755a0c960b888f25c2d\",\"object\":\"chat.completion.chunk\","
    "\"created\":1795173844,\"model\":\"gpt-5.5\",\"service_tier\":\"default\","
    "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" words\"},"
    "\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
    "{\"type\":\"text_delta\",\"text\":\" several words\"}}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" several words\"}],\"role\":"
    "\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":21,\"totalTokenCount\":21},"
    "\"modelVersion\":\"gemini\",\"responseId\":\"783cd8da968410726c5731\"}\n\n",
};

// Argument: the dialect; 12 is chat with usage stripped.
void BM_DeltaEvent(benchmark::State& state) {
  const auto dialect = static_cast<Dialect>(state.range(0) % 10);
  const std::string_view bytes = kDeltas[state.range(0) % 10 - 1];
  SseSplitter splitter;
  StreamMeter meter(dialect, {.strip_usage = state.range(0) > 10});
  SseEvent event;
  for (auto _ : state) {
    splitter.Append(bytes);
    while (splitter.Next(event) == SseStatus::kEvent) {
      auto verdict = meter.OnEvent(event);
      benchmark::DoNotOptimize(verdict);
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes.size()));
}
BENCHMARK(BM_DeltaEvent)->Arg(1)->Arg(2)->Arg(12)->Arg(3)->Arg(4);

void BM_SplitterAlone(benchmark::State& state) {
  const std::string_view bytes = kDeltas[state.range(0) - 1];
  SseSplitter splitter;
  SseEvent event;
  for (auto _ : state) {
    splitter.Append(bytes);
    while (splitter.Next(event) == SseStatus::kEvent) benchmark::DoNotOptimize(event);
  }
}
BENCHMARK(BM_SplitterAlone)->Arg(1)->Arg(2);

// A reply of about 1 KiB in each family, the text about half of it.
std::string Reply(Dialect dialect) {
  std::string text;
  while (text.size() < 500) text += "The quick brown fox jumps over the dog, and nobody minds.\\n";
  switch (dialect) {
    case Dialect::kOpenAiResponses:
      return R"({"id":"resp_1","object":"response","created_at":1790000000,"status":"completed",)"
             R"("error":null,"incomplete_details":null,"instructions":null,"model":"gpt-5.5",)"
             R"("output":[{"id":"msg_1","type":"message","status":"completed","role":"assistant",)"
             R"("content":[{"type":"output_text","annotations":[],"logprobs":[],"text":")" +
             text +
             R"("}]}],"parallel_tool_calls":true,"metadata":{},"tool_choice":"auto","tools":[],)"
             R"("temperature":1,"top_p":1,"usage":{"input_tokens":300,"input_tokens_details":)"
             R"({"cached_tokens":256},"output_tokens":25,"output_tokens_details":)"
             R"({"reasoning_tokens":8},"total_tokens":325}})";
    case Dialect::kOpenAiTranscription:
      return R"({"text":")" + text +
             R"(","usage":{"type":"tokens","input_tokens":14,"output_tokens":5,"total_tokens":19}})";
    case Dialect::kOpenAiChat:
      return R"({"id":"chatcmpl-1","object":"chat.completion","created":1790000000,)"
             R"("model":"gpt-5.5","choices":[{"index":0,"message":{"role":"assistant","content":")" +
             text +
             R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],)"
             R"("usage":{"prompt_tokens":300,"completion_tokens":25,"total_tokens":325,)"
             R"("prompt_tokens_details":{"cached_tokens":256,"audio_tokens":0},)"
             R"("completion_tokens_details":{"reasoning_tokens":8,"audio_tokens":0}},)"
             R"("service_tier":"default"})";
    case Dialect::kAnthropicMessages:
      return R"({"model":"claude","id":"msg_1","type":"message","role":"assistant","content":)"
             R"([{"type":"text","text":")" +
             text +
             R"("}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":44,)"
             R"("cache_creation_input_tokens":0,"cache_read_input_tokens":256,"cache_creation":)"
             R"({"ephemeral_5m_input_tokens":0},"output_tokens":25,"service_tier":"standard"}})";
    case Dialect::kGeminiGenerate:
      break;
  }
  // Gemini's are indented.
  return "{\n  \"candidates\": [\n    {\n      \"content\": {\n        \"parts\": [\n          {\n"
         "            \"text\": \"" +
         text +
         "\"\n          }\n        ],\n        \"role\": \"model\"\n      },\n"
         "      \"finishReason\": \"STOP\",\n      \"index\": 0\n    }\n  ],\n"
         "  \"usageMetadata\": {\n    \"promptTokenCount\": 300,\n    \"candidatesTokenCount\": "
         "17,\n"
         "    \"totalTokenCount\": 325,\n    \"thoughtsTokenCount\": 8\n  },\n"
         "  \"modelVersion\": \"gemini\",\n  \"responseId\": \"783cd8da968410726c5731\"\n}\n";
}

// Argument: the dialect. Per byte of the reply, which arrives whole.
void BM_JsonReply(benchmark::State& state) {
  const auto dialect = static_cast<Dialect>(state.range(0));
  const std::string body = Reply(dialect);
  for (auto _ : state) {
    JsonMeter meter(dialect);
    meter.Append(body);
    auto usage = meter.usage();
    benchmark::DoNotOptimize(usage);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}
BENCHMARK(BM_JsonReply)->Arg(1)->Arg(2)->Arg(3)->Arg(4);

}  // namespace

BENCHMARK_MAIN();
