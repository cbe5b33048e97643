// Streams are the recorded ones of test/golden, or small ones written here event by event. Replies
// are compared as documents where the order of members is nobody's promise, else as text.
#include "dialect/stream_aggregate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "dialect/golden_file_test.h"
#include "dialect/json_view.h"

namespace weir::dialect {
namespace {

using enum Dialect;

// Each event as the stream it is alone, so that it can be left out, doubled or moved.
std::vector<std::string> Events(std::string_view stream) {
  SseSplitter splitter;
  splitter.Append(stream);
  SseEvent event;
  std::vector<std::string> events;
  while (splitter.Next(event) == SseStatus::kEvent) events.emplace_back(event.raw);
  return events;
}

std::string Data(std::string_view data) { return fmt::format("data: {}\n\n", data); }

std::expected<std::string, AggregateError> Aggregate(Dialect dialect,
                                                     const std::vector<std::string>& events,
                                                     StreamAggregate::Options options = {}) {
  StreamAggregate aggregate(dialect, std::move(options));
  SseSplitter splitter;
  SseEvent event;
  bool wanted = true;
  for (const auto& text : events) {
    splitter.Append(text);
    while (splitter.Next(event) == SseStatus::kEvent) {
      const bool more = aggregate.Add(event);
      EXPECT_TRUE(wanted || !more) << "it asked for more after the end";
      wanted = more;
    }
  }
  auto reply = aggregate.Finish();
  if (reply) EXPECT_TRUE(CheckJson(*reply)) << *reply;
  return reply;
}

std::string Text(Dialect dialect, const std::vector<std::string>& datas,
                 StreamAggregate::Options options = {}) {
  std::vector<std::string> events;
  for (const auto& data : datas) events.push_back(Data(data));
  const auto reply = Aggregate(dialect, events, std::move(options));
  return reply ? *reply : fmt::format("error: {}", Name(reply.error().failure));
}

boost::json::value Parsed(std::string_view text) {
  boost::system::error_code code;
  auto value = boost::json::parse(text, code);
  EXPECT_FALSE(code) << text;
  return value;
}

boost::json::value Completed(std::string_view golden, Dialect dialect) {
  const auto reply = Aggregate(dialect, Events(Golden(golden)));
  EXPECT_TRUE(reply) << golden;
  return reply ? Parsed(*reply) : boost::json::value();
}

// The `response` of the last event of a recorded stream.
std::string LastResponse(std::string_view golden) {
  const std::string stream = Golden(golden);
  const auto at = stream.rfind("\"response\":{") + 11;
  const auto end = stream.find('\n', at);
  return stream.substr(at, end - 1 - at);
}

TEST(ResponsesAggregate, ATerminalWithOutput_IsTheReplyByteForByte) {
  for (const std::string_view golden :
       {"openai_responses/completed.sse", "openai_responses/no_usage.sse",
        "openai_responses/incomplete.sse"}) {
    const auto reply = Aggregate(kOpenAiResponses, Events(Golden(golden)));
    ASSERT_TRUE(reply) << golden;
    EXPECT_EQ(*reply, LastResponse(golden)) << golden;
  }
}

TEST(ResponsesAggregate, TheRecordedStream_GivesTheRecordedReply) {
  boost::json::value reply = Completed("openai_responses/completed.sse", kOpenAiResponses);
  boost::json::value recorded = Parsed(Golden("openai_responses/reply.json"));
  // The two calls were answered with other items; everything around them is the same.
  reply.as_object().erase("output");
  recorded.as_object().erase("output");
  EXPECT_EQ(reply, recorded);
}

// The recorded stream as a Codex-style backend sends it: the terminal event has no output.
std::vector<std::string> WithoutOutput(std::string_view golden) {
  auto events = Events(Golden(golden));
  std::string& last = events.back();
  const auto at = last.find("\"output\":[");
  const auto end = last.find("],\"parallel_tool_calls\"");
  EXPECT_TRUE(at != std::string::npos && end != std::string::npos);
  last.replace(at, end + 1 - at, "\"output\":[]");
  return events;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

TEST(ResponsesAggregate, AnEmptyOutput_IsMadeOfTheItems) {
  const auto reply = Aggregate(kOpenAiResponses, WithoutOutput("openai_responses/completed.sse"));
  ASSERT_TRUE(reply);
  const auto value = Parsed(*reply);
  const auto& output = value.at("output").as_array();
  ASSERT_EQ(output.size(), 2U);
  EXPECT_EQ(
      output[0],
      Parsed(
          R"({"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Adding up."}],"encrypted_content":"gAAAAB"})"));
  EXPECT_EQ(output[1].at("content").at(0).at("text"),
            "Gr\xC3\xBC\xC3\x9F"
            "e, the \"answer\" is 42\n\xF0\x9F\x9A\x80.");
}

TEST(ResponsesAggregate, WithoutItemsToo_ItIsMadeOfTheDeltas) {
  auto events = WithoutOutput("openai_responses/completed.sse");
  std::erase_if(events, [](const auto& e) { return Has(e, "response.output_item.done"); });
  const auto whole = Aggregate(kOpenAiResponses, events);
  // The same without the events that repeat the whole text.
  std::erase_if(events, [](const auto& e) { return Has(e, "_text.done") || Has(e, "_part.done"); });
  const auto pieces = Aggregate(kOpenAiResponses, events);
  ASSERT_TRUE(whole && pieces);
  EXPECT_EQ(Parsed(*whole), Parsed(*pieces));
  EXPECT_EQ(
      Parsed(*pieces).at("output"),
      Parsed(
          R"([{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Adding up."}]},
              {"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[
               {"type":"output_text","annotations":[],"text":"Grüße, the \"answer\" is 42\n🚀."}]}])"));
}

TEST(ResponsesAggregate, WhatCodexNeeds_IsEnough) {
  const auto reply = Aggregate(kOpenAiResponses, Events(Golden("openai_responses/items_only.sse")));
  ASSERT_TRUE(reply);
  EXPECT_EQ(
      *reply,
      R"({"id":"r","usage":null,"object":"response","status":"completed","output":[{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"forty-two"}]}]})");
}

const std::string kEnd =
    R"({"type":"response.completed","response":{"id":"r","object":"response","status":"completed","output":[]}})";

std::string Output(const std::vector<std::string>& datas) {
  std::vector<std::string> all = datas;
  all.push_back(kEnd);
  const std::string text = Text(kOpenAiResponses, all);
  const auto at = text.find("\"output\":");
  return at == std::string::npos ? text : text.substr(at + 9, text.size() - at - 10);
}

TEST(ResponsesAggregate, Items) {
  // In the order of output_index, whatever came first; the last word of an index is its .done.
  EXPECT_EQ(Output({R"({"type":"response.output_item.done","output_index":1,"item":{"b": 1}})",
                    R"({"type":"response.output_item.added","output_index":0,"item":{"x":1}})",
                    R"({"type":"response.output_text.delta","output_index":0,"delta":"lost"})",
                    R"({"type":"response.output_item.done","output_index":0,"item":{"a":1}})"}),
            R"([{"a":1},{"b": 1}])");
  // Without output_index: one after the other.
  EXPECT_EQ(Output({R"({"type":"response.output_item.added","item":{"x":1}})",
                    R"({"type":"response.output_item.done","item":{"a":1}})",
                    R"({"type":"response.output_item.done","item":{"b":1}})"}),
            R"([{"a":1},{"b":1}])");
  // An index that is done is done.
  EXPECT_EQ(Output({R"({"type":"response.output_item.done","output_index":0,"item":{"a":1}})",
                    R"({"type":"response.output_item.done","output_index":0,"item":{"a":2}})",
                    R"({"type":"response.output_item.added","output_index":0,"item":{"a":3}})",
                    R"({"type":"response.output_text.delta","output_index":0,"delta":"x"})"}),
            R"([{"a":1}])");
  EXPECT_EQ(Output({}), "[]");
}

TEST(ResponsesAggregate, Pieces) {
  struct Case {
    std::string_view why;
    std::vector<std::string> datas;
    std::string_view output;
  };
  const Case table[] = {
      {"a call, whose item was announced",
       {R"({"type":"response.output_item.added","output_index":0,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"f"}})",
        R"({"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\":"})",
        R"({"type":"response.function_call_arguments.delta","output_index":0,"delta":"1}"})"},
       R"([{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"a\":1}","call_id":"call_1","name":"f"}])"},
      {"the whole arguments count more than their pieces",
       {R"({"type":"response.function_call_arguments.delta","output_index":0,"delta":"{"})",
        R"({"type":"response.function_call_arguments.done","output_index":0,"item_id":"fc","arguments":"{}"})"},
       R"([{"id":"fc","type":"function_call","status":"completed","arguments":"{}"}])"},
      {"a custom tool",
       {R"({"type":"response.custom_tool_call_input.delta","output_index":0,"item_id":"c","delta":"*** "})"},
       R"([{"id":"c","type":"custom_tool_call","status":"completed","input":"*** "}])"},
      {"half a surrogate pair at a cut finds its other half",
       {R"({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\ud83d"})",
        R"({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\ude80"})"},
       R"([{"type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","annotations":[],"text":"\ud83d\ude80"}]}])"},
      {"parts in their order, one refused, one whole with its annotations",
       {R"({"type":"response.refusal.delta","output_index":0,"content_index":1,"delta":"no"})",
        R"({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"})",
        R"({"type":"response.output_text.delta","output_index":0,"content_index":2,"delta":"b"})",
        R"({"type":"response.content_part.done","output_index":0,"content_index":2,"part":{"type":"output_text","annotations":[{"u":1}],"text":"b"}})"},
       R"([{"type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","annotations":[],"text":"a"},{"type":"refusal","refusal":"no"},{"type":"output_text","annotations":[{"u":1}],"text":"b"}]}])"},
      {"reasoning of an open-weight server",
       {R"({"type":"response.reasoning_text.delta","output_index":0,"content_index":0,"delta":"hm"})"},
       R"([{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}])"},
      {"summaries in their order",
       {R"({"type":"response.reasoning_summary_text.delta","output_index":3,"summary_index":1,"delta":"two"})",
        R"({"type":"response.reasoning_summary_text.delta","output_index":3,"summary_index":0,"delta":"one"})"},
       R"([{"type":"reasoning","summary":[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}]}])"},
      {"what is announced and not said is kept",
       {R"({"type":"response.output_item.added","output_index":0,"item":{"type":"web_search_call","status":"in_progress"}})"},
       R"([{"type":"web_search_call","status":"completed"}])"},
  };
  for (const auto& c : table) EXPECT_EQ(Output(c.datas), c.output) << c.why;
}

TEST(ResponsesAggregate, AnIncompleteReply_SaysSo) {
  EXPECT_EQ(
      Text(kOpenAiResponses,
           {R"({"type":"response.output_text.delta","output_index":0,"delta":"a"})",
            R"({"type":"response.incomplete","response":{"id":"r"}})"}),
      R"({"id":"r","object":"response","status":"incomplete","output":[{"type":"message","role":"assistant","status":"incomplete","content":[{"type":"output_text","annotations":[],"text":"a"}]}]})");
}

TEST(Aggregate, TheCallersModelName_IsPutBack) {
  EXPECT_EQ(
      Text(
          kOpenAiResponses,
          {R"({"type":"response.completed","response":{"object":"response","model": "up","status":"completed","output":[{"model":"x"}]}})"},
          {.model = "a\"b"}),
      R"({"object":"response","model":"a\"b","status":"completed","output":[{"model":"x"}]})");
  const auto chat =
      Aggregate(kOpenAiChat, Events(Golden("openai_chat/with_usage.sse")), {.model = "mine"});
  ASSERT_TRUE(chat);
  EXPECT_EQ(Parsed(*chat).at("model"), "mine");
}

TEST(Aggregate, Failures) {
  struct Case {
    std::string_view golden;
    Dialect dialect;
    AggregateFailure failure;
    std::string_view code, message;
  };
  const Case table[] = {
      {"openai_responses/failed.sse", kOpenAiResponses, AggregateFailure::kUpstream,
       "usage_limit_reached", "The usage limit has been reached"},
      {"openai_responses/cut.sse", kOpenAiResponses, AggregateFailure::kNoTerminal, "", ""},
      {"openai_chat/error.sse", kOpenAiChat, AggregateFailure::kUpstream, "",
       "The server had an error"},
  };
  for (const auto& c : table) {
    const auto reply = Aggregate(c.dialect, Events(Golden(c.golden)));
    ASSERT_FALSE(reply) << c.golden;
    EXPECT_EQ(reply.error().failure, c.failure) << c.golden;
    EXPECT_EQ(reply.error().error.code, c.code) << c.golden;
    EXPECT_EQ(reply.error().error.message, c.message) << c.golden;
  }
  const auto limit = Aggregate(kOpenAiResponses, Events(Golden("openai_responses/failed.sse")));
  EXPECT_EQ(limit.error().error.resets_in_seconds, 3600);
  const auto error = Aggregate(kOpenAiResponses, Events(Golden("openai_responses/error.sse")));
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().failure, AggregateFailure::kUpstream);
  EXPECT_FALSE(error.error().error.message.empty());
}

TEST(Aggregate, StreamsThatMakeNoSense) {
  const auto failure = [](Dialect dialect, const std::vector<std::string>& datas) {
    return Text(dialect, datas);
  };
  EXPECT_EQ(failure(kOpenAiResponses, {}), "error: no_terminal");
  EXPECT_EQ(failure(kOpenAiResponses, {"[DONE]"}), "error: no_terminal");
  EXPECT_EQ(failure(kOpenAiResponses, {R"({"type":"response.completed"})"}), "error: malformed");
  EXPECT_EQ(failure(kOpenAiResponses, {R"({"type":"response.completed","response":7})"}),
            "error: malformed");
  EXPECT_EQ(failure(kOpenAiResponses,
                    {R"({"type":"response.completed","response":{"output":[],"output":[{}]}})"}),
            "error: malformed");
  EXPECT_EQ(failure(kOpenAiResponses, {R"({"error":{"message":"m"}})"}), "error: upstream");
  EXPECT_EQ(failure(kOpenAiChat, {}), "error: no_terminal");
  EXPECT_EQ(failure(kOpenAiChat, {"[DONE]"}), "error: malformed");
  EXPECT_EQ(
      failure(kOpenAiChat,
              {R"({"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]})"}),
      "error: no_terminal");
  // A terminal event that is not JSON, known by its name alone.
  const auto reply =
      Aggregate(kOpenAiResponses, {"event: response.completed\ndata: {\"type\":\n\n"});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().failure, AggregateFailure::kMalformed);
}

TEST(Aggregate, EventsThatAreNotJson_AreCountedAndPassedOver) {
  const std::vector<std::string> bad = {
      "{",
      "7",
      "null",
      "[]",
      "{\"type\":\"response.output_item.done\"}",
      R"({"type":"response.output_item.done","output_index":-1,"item":{}})",
      R"({"type":"response.output_item.done","output_index":99999999999999999999,"item":{}})",
      R"({"type":"response.output_item.done","output_index":1.0,"item":{}})",
      R"({"type":"response.output_item.done","output_index":0,"item":[]})",
      R"({"type":"response.output_text.delta","output_index":0,"delta":7})",
      R"({"type":"response.output_text.delta","output_index":0,"output_index":0,"delta":"x"})",
      R"({"type":"response.output_text.delta","output_index":0,"content_index":"0","delta":"x"})",
      std::string(1000, '[')};
  StreamAggregate aggregate(kOpenAiResponses, {});
  SseSplitter splitter;
  for (const auto& data : bad) splitter.Append(Data(data));
  splitter.Append(Data(kEnd));
  SseEvent event;
  while (splitter.Next(event) == SseStatus::kEvent) aggregate.Add(event);
  EXPECT_EQ(aggregate.malformed_events(), static_cast<std::int64_t>(bad.size()));
  const auto reply = aggregate.Finish();
  ASSERT_TRUE(reply);
  EXPECT_EQ(*reply, R"({"id":"r","object":"response","status":"completed","output":[]})");
}

TEST(Aggregate, Memory_IsBounded) {
  // Text, and empty entries, which cost too.
  for (const bool text : {true, false}) {
    StreamAggregate aggregate(kOpenAiResponses, {.bytes_max = 100'000, .model = {}});
    SseEvent event;
    bool more = true;
    int events = 0;
    for (; more && events < 10'000; ++events) {
      const std::string data =
          text ? fmt::format(
                     R"({{"type":"response.output_text.delta","output_index":0,"delta":"{}"}})",
                     std::string(1000, 'x'))
               : fmt::format(
                     R"({{"type":"response.output_text.delta","output_index":{},"delta":""}})",
                     events);
      event.data = data;
      event.has_data = true;
      more = aggregate.Add(event);
      EXPECT_LE(aggregate.held_bytes(), 100'000U);
    }
    EXPECT_LT(events, 500);
    const auto reply = aggregate.Finish();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().failure, AggregateFailure::kTooLarge);
  }
  for (const std::string_view delta :
       {R"({"content":"xxxxxxxxxxxxxxxx"})",
        R"({"tool_calls":[{"function":{"arguments":"xxxx"}}]})",
        R"({"tool_calls":[{"index":%,"id":"i"}]})", R"({"new%":1})"}) {
    StreamAggregate aggregate(kOpenAiChat, {.bytes_max = 20'000, .model = {}});
    SseEvent event;
    bool more = true;
    int events = 0;
    for (; more && events < 20'000; ++events) {
      std::string data = fmt::format(R"({{"choices":[{{"index":0,"delta":{}}}]}})", delta);
      if (const auto at = data.find('%'); at != std::string::npos)
        data.replace(at, 1, std::to_string(events));
      event.data = data;
      event.has_data = true;
      more = aggregate.Add(event);
    }
    EXPECT_FALSE(more) << delta;
  }
}

TEST(Aggregate, Memory_IsFreedWithWhatIsReplaced) {
  SseEvent event;
  event.has_data = true;
  StreamAggregate chat(kOpenAiChat, {.bytes_max = 20'000, .model = {}});
  event.data = R"({"choices":[{"delta":{"x":"xxxxxxxx"},"finish_reason":null}],"usage":{"a":1}})";
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(chat.Add(event));
  StreamAggregate responses(kOpenAiResponses, {.bytes_max = 20'000, .model = {}});
  for (int i = 0; i < 10; ++i) {
    for (int piece = 0; piece < 15; ++piece) {
      const std::string delta = fmt::format(
          R"({{"type":"response.output_text.delta","output_index":{},"content_index":{},"delta":"{}"}})",
          i, piece, std::string(500, 'x'));
      event.data = delta;
      ASSERT_TRUE(responses.Add(event));
    }
    const std::string done =
        fmt::format(R"({{"type":"response.output_item.done","output_index":{},"item":{{}}}})", i);
    event.data = done;
    ASSERT_TRUE(responses.Add(event));
  }
  EXPECT_EQ(responses.held_bytes(), 10U * (256 + 2));
}

TEST(Aggregate, EmptyEntries_CountToo) {
  const auto events = [](Dialect dialect, std::string_view head, std::string_view tail) {
    StreamAggregate aggregate(dialect, {.bytes_max = 20'000, .model = {}});
    SseEvent event;
    event.has_data = true;
    int count = 0;
    for (; count < 1'000; ++count) {
      const std::string data = fmt::format("{}{}{}", head, count, tail);
      event.data = data;
      if (!aggregate.Add(event)) break;
    }
    return count;
  };
  EXPECT_LT(events(kOpenAiResponses,
                   R"({"type":"response.output_text.delta","output_index":0,"content_index":)",
                   R"(,"delta":""})"),
            80);
  EXPECT_LT(events(kOpenAiResponses,
                   R"({"type":"response.content_part.done","output_index":0,"content_index":)",
                   R"(,"part":{}})"),
            80);
  EXPECT_LT(events(kOpenAiChat, R"({"choices":[{"delta":{"tool_calls":[{"index":)", "}]}}]}"), 80);
  EXPECT_LT(events(kOpenAiChat, R"({"choices":[{"index":)", "}]}"), 80);
}

TEST(LooksLikeEventStream, ByTypeOrFirstBytes) {
  EXPECT_TRUE(LooksLikeEventStream("text/event-stream", ""));
  EXPECT_TRUE(LooksLikeEventStream("Text/Event-Stream; charset=utf-8", "{"));
  for (const std::string_view bytes : {"data: {", "data:{", "event: response.created\n",
                                       ": ping\n\n", "\xEF\xBB\xBF\n\ndata: 1"}) {
    EXPECT_TRUE(LooksLikeEventStream("application/json", bytes)) << bytes;
  }
  for (const std::string_view bytes :
       {"", "{\"data\":1}", "\"data:\"", "database", " [", "<html>"}) {
    EXPECT_FALSE(LooksLikeEventStream("application/json", bytes)) << bytes;
    EXPECT_FALSE(LooksLikeEventStream("", bytes)) << bytes;
  }
}

TEST(ChatAggregate, TheRecordedStream_GivesTheRecordedReply) {
  boost::json::value reply = Completed("openai_chat/with_usage.sse", kOpenAiChat);
  boost::json::value recorded = Parsed(Golden("openai_chat/reply.json"));
  // The streamed call ended in a tool call, the other did not; JSON alone has annotations.
  auto& choice = reply.at("choices").at(0).as_object();
  EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
  EXPECT_EQ(
      choice.at("message").at("tool_calls"),
      Parsed(
          R"([{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Paris\"}"}}])"));
  choice["finish_reason"] = "stop";
  choice.at("message").as_object().erase("tool_calls");
  recorded.at("choices").at(0).at("message").as_object().erase("annotations");
  EXPECT_EQ(reply, recorded);

  EXPECT_EQ(Completed("openai_chat/crlf_bom.sse", kOpenAiChat),
            Completed("openai_chat/with_usage.sse", kOpenAiChat));
  boost::json::value without = Completed("openai_chat/without_usage.sse", kOpenAiChat);
  EXPECT_FALSE(without.as_object().contains("usage"));
}

std::string Chat(const std::vector<std::string>& choices) {
  std::vector<std::string> datas;
  for (const auto& choice : choices) {
    datas.push_back(fmt::format(R"({{"id":"c","created":1,"model":"m","choices":[{}]}})", choice));
  }
  datas.push_back("[DONE]");
  const std::string text = Text(kOpenAiChat, datas);
  const auto at = text.find("\"choices\":");
  return at == std::string::npos ? text : text.substr(at + 10, text.size() - at - 11);
}

TEST(ChatAggregate, Choices) {
  struct Case {
    std::string_view why;
    std::vector<std::string> choices;
    std::string_view reply;
  };
  const Case table[] = {
      {"several, in their order",
       {R"({"index":1,"delta":{"role":"assistant","content":"b"},"finish_reason":null})",
        R"({"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":"stop"})",
        R"({"index":1,"delta":{"content":"B"},"finish_reason":"length"})"},
       R"([{"index":0,"message":{"role":"assistant","content":"a","refusal":null},"logprobs":null,"finish_reason":"stop"},{"index":1,"message":{"role":"assistant","content":"bB","refusal":null},"logprobs":null,"finish_reason":"length"}])"},
      {"calls alone have no text; two at a time",
       {R"({"index":0,"delta":{"role":"assistant","content":""}})",
        R"({"index":0,"delta":{"tool_calls":[{"index":1,"id":"y","type":"function","function":{"name":"g","arguments":""}},{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":"{"}}]}})",
        R"({"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"})"},
       R"([{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"y","type":"function","function":{"name":"g","arguments":""}}]},"logprobs":null,"finish_reason":"tool_calls"}])"},
      {"calls that nobody numbered",
       {R"({"index":0,"delta":{"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{"}}]}})",
        R"({"index":0,"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}})",
        R"({"index":0,"delta":{"tool_calls":[{"id":"y","function":{"name":"g"}}]}})"},
       R"([{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"y","type":"function","function":{"name":"g","arguments":""}}]},"logprobs":null,"finish_reason":null}])"},
      {"a custom tool",
       {R"({"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","type":"custom","custom":{"name":"p","input":"a"}}]}})",
        R"({"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"b"}}]}})"},
       R"([{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"x","type":"custom","custom":{"name":"p","input":"ab"}}]},"logprobs":null,"finish_reason":null}])"},
      {"the older function_call",
       {R"({"index":0,"delta":{"content":null,"function_call":{"name":"f","arguments":"{"}}})",
        R"({"index":0,"delta":{"function_call":{"arguments":"}"}},"finish_reason":"function_call"})"},
       R"([{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"function_call":{"name":"f","arguments":"{}"}},"logprobs":null,"finish_reason":"function_call"}])"},
      {"a refusal, thoughts, log probabilities, and what we do not know",
       {R"({"index":0,"delta":{"refusal":"n","reasoning_content":"h"},"logprobs":{"content":[{"a": 1}],"refusal":null}})",
        R"({"index":0,"delta":{"refusal":"o","reasoning_content":"m","annotations":[1]},"logprobs":{"content":[{"b":2},{"c":3}]}})"},
       R"([{"index":0,"message":{"role":"assistant","content":null,"refusal":"no","reasoning_content":"hm","annotations":[1]},"logprobs":{"content":[{"a": 1},{"b":2},{"c":3}],"refusal":null},"finish_reason":null}])"},
  };
  for (const auto& c : table) EXPECT_EQ(Chat(c.choices), c.reply) << c.why;
  // Choices nobody asked for are not kept.
  EXPECT_EQ(Chat({R"({"index":128,"delta":{"content":"x"}})", R"({"index":-1,"delta":{}})"}),
            "error: malformed");
}

TEST(Aggregate, LostDoubledAndMovedEvents_NeverMakeItFall) {
  const std::pair<Dialect, std::string_view> streams[] = {
      {kOpenAiResponses, "openai_responses/completed.sse"},
      {kOpenAiResponses, "openai_responses/failed.sse"},
      {kOpenAiResponses, "openai_responses/incomplete.sse"},
      {kOpenAiChat, "openai_chat/with_usage.sse"},
      {kOpenAiChat, "openai_chat/error.sse"},
      {kOpenAiChat, "openai_responses/completed.sse"},
      {kOpenAiResponses, "openai_chat/with_usage.sse"},
  };
  std::mt19937 random(7);
  int replies = 0;
  for (const auto& [dialect, golden] : streams) {
    const auto recorded = golden.ends_with("completed.sse") && dialect == kOpenAiResponses
                              ? WithoutOutput(golden)
                              : Events(Golden(golden));
    for (int round = 0; round < 200; ++round) {
      std::vector<std::string> events;
      for (const auto& event : recorded) {
        const auto luck = random() % 8;
        if (luck < 2) continue;
        events.push_back(event);
        if (luck == 2) events.push_back(event);
        if (luck == 3 && events.size() > 1)
          std::swap(events.back(), events[random() % events.size()]);
        if (luck == 4) events.back().erase(random() % event.size(), 1);
      }
      if (const auto reply = Aggregate(dialect, events); reply) ++replies;  // checked to be JSON
    }
  }
  EXPECT_GT(replies, 100);
}

}  // namespace
}  // namespace weir::dialect
