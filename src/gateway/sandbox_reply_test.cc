// The sandbox's replies are checked three ways: a few whole texts by hand, every stream by a small
// checker of the order rules of the wire, and hostile bodies for an error of the right shape.
#include "gateway/sandbox_reply.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dialect/json_edit.h"
#include "gateway/sandbox_text.h"

namespace weir::gateway {
namespace {

namespace json = boost::json;

constexpr Instant kNow{1'795'173'844'123'456'789};

SandboxReply Ask(SandboxOperation operation, std::string_view body, bool omit_usage = false) {
  return MakeSandboxReply(
      {.target = {operation, {}}, .body = body, .now = kNow, .omit_usage = omit_usage});
}
SandboxReply Responses(std::string_view body) { return Ask(SandboxOperation::kResponses, body); }
SandboxReply Chat(std::string_view body) { return Ask(SandboxOperation::kChat, body); }

json::value Parse(std::string_view text) {
  json::error_code failed;
  json::parse_options options;
  options.max_depth = 128;
  auto value = json::parse({text.data(), text.size()}, failed, {}, options);
  EXPECT_FALSE(failed) << "not JSON: " << text.substr(0, 300);
  return failed ? json::value(json::object()) : value;
}

std::string At(const json::value& value, std::string_view pointer) {
  json::error_code failed;
  const auto* found = value.find_pointer({pointer.data(), pointer.size()}, failed);
  if (found == nullptr) return "(absent)";
  if (found->is_string()) return std::string(found->get_string());
  return json::serialize(*found);
}

// ---- the checker of a Responses stream (order rules of the wire) ----

struct Stream {
  std::vector<json::value> events;
  json::value final;  // the response object of the terminal event
  std::vector<std::string> types;
};

// What each event must have besides type and sequence_number.
const std::map<std::string, std::vector<const char*>> kRequired = {
    {"response.created", {"response"}},
    {"response.in_progress", {"response"}},
    {"response.completed", {"response"}},
    {"response.incomplete", {"response"}},
    {"response.output_item.added", {"output_index", "item"}},
    {"response.output_item.done", {"output_index", "item"}},
    {"response.content_part.added", {"item_id", "output_index", "content_index", "part"}},
    {"response.content_part.done", {"item_id", "output_index", "content_index", "part"}},
    {"response.output_text.delta",
     {"item_id", "output_index", "content_index", "delta", "logprobs"}},
    {"response.output_text.done", {"item_id", "output_index", "content_index", "text", "logprobs"}},
    {"response.function_call_arguments.delta", {"item_id", "output_index", "delta"}},
    {"response.function_call_arguments.done", {"item_id", "output_index", "name", "arguments"}},
    {"response.custom_tool_call_input.delta", {"item_id", "output_index", "delta"}},
    {"response.custom_tool_call_input.done", {"item_id", "output_index", "input"}},
    {"response.reasoning_summary_part.added", {"item_id", "output_index", "summary_index", "part"}},
    {"response.reasoning_summary_part.done", {"item_id", "output_index", "summary_index", "part"}},
    {"response.reasoning_summary_text.delta",
     {"item_id", "output_index", "summary_index", "delta"}},
    {"response.reasoning_summary_text.done", {"item_id", "output_index", "summary_index", "text"}},
};

constexpr const char* kResponseFields[] = {"id",
                                           "object",
                                           "created_at",
                                           "status",
                                           "background",
                                           "completed_at",
                                           "error",
                                           "frequency_penalty",
                                           "instructions",
                                           "incomplete_details",
                                           "max_output_tokens",
                                           "max_tool_calls",
                                           "model",
                                           "output",
                                           "parallel_tool_calls",
                                           "presence_penalty",
                                           "previous_response_id",
                                           "prompt_cache_key",
                                           "reasoning",
                                           "safety_identifier",
                                           "service_tier",
                                           "store",
                                           "temperature",
                                           "text",
                                           "tool_choice",
                                           "tools",
                                           "top_logprobs",
                                           "top_p",
                                           "truncation",
                                           "usage",
                                           "metadata"};

void CheckResponseObject(const json::value& response) {
  for (const auto* field : kResponseFields) {
    EXPECT_TRUE(response.as_object().contains(field)) << field;
  }
}

Stream CheckResponsesStream(const SandboxReply& reply) {
  Stream stream;
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_TRUE(reply.is_stream());
  EXPECT_EQ(reply.terminal_event, reply.event_count() - 1);
  std::string open_item;    // id of the item between added and done
  std::string text;         // its deltas so far
  std::string deltas_done;  // what the .done event said
  bool part_open = false;
  std::int64_t output_index = 0;
  std::vector<std::string> items;
  for (std::size_t i = 0; i < reply.event_count(); ++i) {
    const std::string_view raw = reply.event(i);
    EXPECT_EQ(raw.find('\r'), std::string_view::npos);
    EXPECT_TRUE(raw.starts_with("event: ") && raw.ends_with("}\n\n")) << raw;
    EXPECT_EQ(raw.find("\n\n"), raw.size() - 2);
    const auto line_end = raw.find('\n');
    const std::string type(raw.substr(7, line_end - 7));
    EXPECT_EQ(raw.substr(line_end + 1, 6), "data: ");
    const json::value event = Parse(raw.substr(line_end + 7, raw.size() - line_end - 9));
    EXPECT_EQ(At(event, "/type"), type);
    EXPECT_EQ(At(event, "/sequence_number"), std::to_string(i));
    EXPECT_TRUE(kRequired.contains(type)) << type;
    if (!kRequired.contains(type)) continue;
    for (const auto* field : kRequired.at(type)) {
      EXPECT_TRUE(event.as_object().contains(field)) << type << " lacks " << field;
    }
    const bool terminal = type == "response.completed" || type == "response.incomplete";
    EXPECT_EQ(terminal, i + 1 == reply.event_count()) << type;
    EXPECT_EQ(type == "response.created", i == 0);
    EXPECT_EQ(type == "response.in_progress", i == 1);
    if (event.as_object().contains("response")) {
      CheckResponseObject(event.at("response"));
      if (!terminal) {
        EXPECT_EQ(At(event, "/response/usage"), "null");
        EXPECT_EQ(At(event, "/response/output"), "[]");
        EXPECT_EQ(At(event, "/response/status"), "in_progress");
      }
    }
    if (event.as_object().contains("output_index")) {
      EXPECT_EQ(At(event, "/output_index"), std::to_string(output_index));
    }
    if (event.as_object().contains("item_id")) {
      EXPECT_EQ(At(event, "/item_id"), open_item) << type;
    }
    if (type == "response.output_item.added") {
      EXPECT_TRUE(open_item.empty()) << "two items at once";
      open_item = At(event, "/item/id");
      text.clear();
      deltas_done.clear();
    } else if (type.ends_with("part.added")) {
      EXPECT_FALSE(part_open);
      part_open = true;
    } else if (type.ends_with("part.done")) {
      EXPECT_TRUE(part_open);
      EXPECT_EQ(At(event, "/part/text"), text);
      part_open = false;
    } else if (type.ends_with(".delta")) {
      EXPECT_TRUE(deltas_done.empty()) << "a delta after the end of the text";
      EXPECT_FALSE(At(event, "/delta").empty());
      text += At(event, "/delta");
    } else if (type == "response.output_item.done") {
      EXPECT_FALSE(part_open);
      EXPECT_EQ(At(event, "/item/id"), open_item);
      items.push_back(json::serialize(event.at("item")));
      open_item.clear();
      ++output_index;
    } else if (type.ends_with(".done")) {
      for (const auto* field : {"text", "arguments", "input"}) {
        if (event.as_object().contains(field)) {
          EXPECT_EQ(std::string(event.at(field).as_string()), text);
        }
      }
      deltas_done = type;
    }
    if (terminal) {
      EXPECT_TRUE(open_item.empty());
      stream.final = event.at("response");
      const auto& output = stream.final.at("output").as_array();
      EXPECT_EQ(output.size(), items.size());
      for (std::size_t n = 0; n < output.size() && n < items.size(); ++n) {
        EXPECT_EQ(json::serialize(output[n]), items[n]);
      }
    }
    stream.types.push_back(type);
    stream.events.push_back(event);
  }
  return stream;
}

// ---- the checker of a chat stream ----

struct ChatStream {
  std::map<std::string, std::string> text;  // by choice: contents, or arguments
  std::map<std::string, std::string> finish;
  std::string usage;  // of the last chunk, or empty
  std::string call_name;
};

ChatStream CheckChatStream(const SandboxReply& reply, bool include_usage) {
  ChatStream stream;
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_TRUE(reply.is_stream());
  std::string id;
  const std::size_t last = reply.event_count() - 1;
  EXPECT_EQ(reply.event(last), "data: [DONE]\n\n");
  for (std::size_t i = 0; i < last; ++i) {
    const std::string_view raw = reply.event(i);
    EXPECT_TRUE(raw.starts_with("data: {") && raw.ends_with("}\n\n")) << raw;
    const json::value chunk = Parse(raw.substr(6, raw.size() - 8));
    EXPECT_EQ(At(chunk, "/object"), "chat.completion.chunk");
    EXPECT_EQ(At(chunk, "/created"), "1795173844");
    if (id.empty()) id = At(chunk, "/id");
    EXPECT_EQ(At(chunk, "/id"), id);
    const auto& choices = chunk.at("choices").as_array();
    if (choices.empty()) {
      EXPECT_TRUE(include_usage);
      EXPECT_EQ(i, last - 1);
      stream.usage = At(chunk, "/usage");
      continue;
    }
    EXPECT_EQ(At(chunk, "/usage"), include_usage ? "null" : "(absent)");
    const std::string choice = At(chunk, "/choices/0/index");
    const bool first = !stream.text.contains(choice);
    EXPECT_EQ(At(chunk, "/choices/0/delta/role"), first ? "assistant" : "(absent)");
    EXPECT_FALSE(stream.finish.contains(choice)) << "a delta after the end of the choice";
    auto& text = stream.text[choice];
    for (const auto* field :
         {"/choices/0/delta/content", "/choices/0/delta/tool_calls/0/function/arguments",
          "/choices/0/delta/tool_calls/0/custom/input"}) {
      const auto piece = At(chunk, field);
      if (piece != "(absent)" && piece != "null") text += piece;
    }
    for (const auto* kind : {"function", "custom"}) {
      const auto name = At(chunk, fmt::format("/choices/0/delta/tool_calls/0/{}/name", kind));
      if (name != "(absent)") stream.call_name = name;
    }
    const auto finish = At(chunk, "/choices/0/finish_reason");
    if (finish != "null") {
      EXPECT_GE(i, reply.terminal_event);
      EXPECT_EQ(At(chunk, "/choices/0/delta"), "{}");
      stream.finish[choice] = finish;
    } else {
      EXPECT_LT(i, reply.terminal_event);
    }
  }
  EXPECT_EQ(stream.text.size(), stream.finish.size());
  return stream;
}

void CheckBadRequest(const SandboxReply& reply, std::string_view param, std::string_view why) {
  EXPECT_EQ(reply.status, 400) << why << ": " << reply.body.substr(0, 300);
  EXPECT_FALSE(reply.is_stream());
  EXPECT_EQ(reply.usage.source, UsageSource::kNone);
  const json::value body = Parse(reply.body);
  EXPECT_EQ(At(body, "/error/type"), "invalid_request_error");
  EXPECT_FALSE(At(body, "/error/message").empty());
  EXPECT_NE(At(body, "/error/code"), "(absent)");
  EXPECT_EQ(At(body, "/error/param"), param) << why;
}

std::string ResponsesText(std::string_view input, std::string_view more = "") {
  std::string body = R"({"model":"m","input":)";
  dialect::AppendJsonString(body, input);
  body += more;
  body += '}';
  const auto reply = Responses(body);
  EXPECT_EQ(reply.status, 200) << reply.body;
  return At(Parse(reply.body), "/output/0/content/0/text");
}

// ---- what it answers ----

TEST(SandboxReply, PlainOrders_Table) {
  struct Case {
    const char* prompt;
    const char* answer;
  };
  const Case cases[] = {
      {"Reply with only: QuotaFlow is connected.", "QuotaFlow is connected."},
      {"Return only: connected", "connected"},
      {"Return only the word ready.", "ready"},
      {"please REPLY WITH EXACTLY: \"a b\"", "a b"},
      {"Say exactly OK\nand nothing else", "OK"},
      {"Hello.\nRespond only with: yes", "yes"},
      {"Reply with only: Gr\xC3\xBC\xC3\x9F Gott", "Gr\xC3\xBC\xC3\x9F Gott"},
      {"ECHO: a\nb ", " a\nb "},
      {"Count from one to five slowly.", "one, two, three, four, five"},
      {"Please count from 8 to 11", "8, 9, 10, 11"},
      {"count from three to zero", "three, two, one, zero"},
      {"count from 7 to 7", "7"},
      {"Return a JSON object with status connected.", R"({"status":"connected"})"},
      // Not orders: an empty X, another word, a number that is none.
      {"Reply with only:",
       "This is a synthetic answer from the sandbox to \"Reply with only:\". No model was called."},
      {"undersay exactly: no",
       "This is a synthetic answer from the sandbox to \"undersay exactly: no\". No model was "
       "called."},
      {"count from 1 to 99999999999",
       "This is a synthetic answer from the sandbox to \"count from 1 to 99999999999\". No model "
       "was called."},
      {"count from 1 to 10001",
       "This is a synthetic answer from the sandbox to \"count from 1 to 10001\". No model was "
       "called."},
      {"  \n", "This is a synthetic answer from the sandbox. No model was called."},
  };
  for (const auto& c : cases) EXPECT_EQ(ResponsesText(c.prompt), c.answer) << c.prompt;
}

TEST(SandboxReply, ResponsesJson_IsCompleteAndExact) {
  const auto reply = Responses(
      R"({"model":"gpt-5.5","input":"Reply with only: QuotaFlow is connected.","stream":false})");
  EXPECT_FALSE(reply.is_stream());
  const auto body = Parse(reply.body);
  CheckResponseObject(body);
  EXPECT_EQ(At(body, "/status"), "completed");
  EXPECT_EQ(At(body, "/created_at"), "1795173844");
  EXPECT_EQ(At(body, "/completed_at"), "1795173844");
  EXPECT_EQ(At(body, "/model"), "gpt-5.5");
  EXPECT_TRUE(At(body, "/id").starts_with("resp_"));
  EXPECT_TRUE(At(body, "/output/0/id").starts_with("msg_"));
  EXPECT_EQ(
      At(body, "/usage"),
      R"({"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},)"
      R"("output_tokens":6,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":16})");
  EXPECT_EQ(reply.usage,
            (Usage{.input_tokens = 10, .output_tokens = 6, .source = UsageSource::kProvider}));
  EXPECT_EQ(reply.model, "gpt-5.5");
}

TEST(SandboxReply, ResponsesStream_SaysTheSameAsJson) {
  const auto stream = CheckResponsesStream(
      Responses(R"({"model":"m","input":"Count from one to five","stream":true})"));
  EXPECT_EQ(At(stream.final, "/output/0/content/0/text"), "one, two, three, four, five");
  const std::vector<std::string> expected = {
      "response.created",           "response.in_progress",
      "response.output_item.added", "response.content_part.added",
      "response.output_text.delta", "response.output_text.delta",
      "response.output_text.delta", "response.output_text.delta",
      "response.output_text.delta", "response.output_text.done",
      "response.content_part.done", "response.output_item.done",
      "response.completed"};
  EXPECT_EQ(stream.types, expected);
  EXPECT_EQ(At(stream.final, "/usage/output_tokens"), "7");
}

TEST(SandboxReply, FirstEvent_IsThisText) {
  const auto reply = Responses(R"({"model":"m","input":"hi","stream":true})");
  const std::string_view event = reply.event(0);
  const std::string id = At(Parse(event.substr(event.find('{'))), "/response/id");
  EXPECT_EQ(
      event,
      "event: response.created\n"
      "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"" +
          id +
          "\",\"object\":\"response\",\"created_at\":1795173844,\"error\":null,\"model\":\"m\","
          "\"background\":false,\"frequency_penalty\":0,\"instructions\":null,"
          "\"max_tool_calls\":null,\"metadata\":{},\"parallel_tool_calls\":true,"
          "\"presence_penalty\":0,\"previous_response_id\":null,\"prompt_cache_key\":null,"
          "\"safety_identifier\":null,\"store\":true,\"temperature\":1,\"top_logprobs\":0,"
          "\"top_p\":1,\"truncation\":\"disabled\",\"service_tier\":\"default\","
          "\"max_output_tokens\":null,\"reasoning\":{\"effort\":null,\"summary\":null},"
          "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],"
          "\"status\":\"in_progress\",\"completed_at\":null,\"incomplete_details\":null,"
          "\"output\":[],\"usage\":null}}\n\n");
}

TEST(SandboxReply, EqualRequests_GetEqualReplies_OthersGetOtherIds) {
  const char* body = R"({"model":"m","input":"hi","stream":true})";
  EXPECT_EQ(Responses(body).body, Responses(body).body);
  std::set<std::string> ids;
  for (int seed = 0; seed < 20; ++seed) {
    const auto reply =
        MakeSandboxReply({.target = {SandboxOperation::kChat, {}},
                          .body = R"({"model":"m","messages":[{"role":"user","content":"x"}]})",
                          .seed = static_cast<std::uint64_t>(seed),
                          .now = kNow});
    ids.insert(At(Parse(reply.body), "/id"));
  }
  ids.insert(At(Parse(Responses(R"({"model":"m","input":"hi"})").body), "/id"));
  ids.insert(At(Parse(Responses(R"({"model":"m","input":"ho"})").body), "/id"));
  EXPECT_EQ(ids.size(), 22u);
}

TEST(SandboxReply, RequestFields_AreGivenBack) {
  const auto body = Parse(
      Responses(
          R"({"model":"m","input":"hi","instructions":"be \"kind\"","temperature":0.5,"store":false,)"
          R"("metadata":{"k":"v"},"max_output_tokens":900,"text":{"verbosity":"low"},)"
          R"("reasoning":{"effort":"none"},"tools":[{"type":"function","name":"f"},{"type":"web_search"}]})")
          .body);
  EXPECT_EQ(At(body, "/instructions"), "be \"kind\"");
  EXPECT_EQ(At(body, "/temperature"), "5E-1");
  EXPECT_EQ(At(body, "/store"), "false");
  EXPECT_EQ(At(body, "/metadata/k"), "v");
  EXPECT_EQ(At(body, "/max_output_tokens"), "900");
  EXPECT_EQ(At(body, "/text"), R"({"format":{"type":"text"},"verbosity":"low"})");
  EXPECT_EQ(At(body, "/reasoning"), R"({"effort":"none","summary":null})");
  EXPECT_EQ(
      At(body, "/tools"),
      R"([{"type":"function","name":"f","description":null,"parameters":null,"strict":true},{"type":"web_search"}])");
}

TEST(SandboxReply, LargeFields_AreNotMultiplied) {
  const std::string body = R"({"model":"m","input":"hi","stream":true,"instructions":")" +
                           std::string(1 << 20, 'x') + R"("})";
  EXPECT_LT(Responses(body).body.size(), 32u << 10);
}

// ---- tools ----

constexpr const char* kWeather =
    R"("tools":[{"type":"function","name":"get_weather","parameters":{"type":"object",)"
    R"("properties":{"location":{"type":"string"}},"required":["location"]},"strict":true}])";

TEST(SandboxReply, ToolCalls_Table) {
  struct Case {
    const char* prompt;
    const char* more;
    bool calls;
  };
  const Case cases[] = {
      {"What is the weather in Paris?", "", true},
      {"Use get_weather now", "", true},
      {"Please use a tool", "", true},
      {"Explain this repository structure.", "", false},
      {"Explain this repository structure.", R"(,"tool_choice":"required")", true},
      {"Explain.", R"(,"tool_choice":{"type":"function","name":"get_weather"})", true},
      {"What is the weather?", R"(,"tool_choice":"none")", false},
      {"Reply with only: weather", "", false},
      {"Reply with only: weather", R"(,"tool_choice":"required")", true},
      {"What is the weather in Paris? Then reply with only: done", "", true},
      {"ECHO: run a tool", "", false},
      {"Explain.",
       R"(,"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"get_weather"}]})",
       true},
      {"Use a tool.",
       R"(,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"other"}]})",
       false},
  };
  for (const auto& c : cases) {
    std::string body = R"({"model":"m","stream":true,"input":)";
    dialect::AppendJsonString(body, c.prompt);
    body += std::string(",") + kWeather + c.more + "}";
    const auto stream = CheckResponsesStream(Responses(body));
    EXPECT_EQ(At(stream.final, "/output/0/type"), c.calls ? "function_call" : "message")
        << c.prompt << c.more;
    if (c.calls) {
      EXPECT_EQ(At(stream.final, "/output/0/name"), "get_weather");
      EXPECT_EQ(At(stream.final, "/output/0/arguments"), R"({"location":"Paris"})");
      EXPECT_TRUE(At(stream.final, "/output/0/call_id").starts_with("call_"));
      EXPECT_TRUE(At(stream.final, "/output/0/id").starts_with("fc_"));
    }
  }
}

// What Codex sends in a turn: the prompt last, then the call and its result.
std::string CodexBody(std::string_view prompt, bool with_result) {
  std::string body =
      R"({"model":"gpt-5.5","stream":true,"tool_choice":"auto","reasoning":{"effort":"medium"},)"
      R"("include":["reasoning.encrypted_content"],"tools":[)"
      R"({"type":"function","name":"exec_command","parameters":{"type":"object","properties":)"
      R"({"cmd":{"type":"string"},"login":{"type":"boolean"}},"required":["cmd"]}},)"
      R"({"type":"custom","name":"apply_patch","format":{"type":"grammar"}},{"type":"tool_search"}],)"
      R"("input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"You run tools."}]},)"
      R"({"type":"message","role":"user","content":[{"type":"input_text","text":"<cwd>/x</cwd>"}]},)"
      R"({"type":"message","role":"user","content":[{"type":"input_text","text":)";
  dialect::AppendJsonString(body, prompt);
  body += "}]}";
  if (with_result) {
    body +=
        R"(,{"type":"reasoning","id":"rs_1","summary":[],"content":null,"encrypted_content":"x"},)"
        R"({"type":"function_call","id":"fc_1","call_id":"call_1","name":"exec_command","arguments":"{}"},)"
        R"({"type":"function_call_output","call_id":"call_1","output":"Output:\nweir-sandbox\n"})";
  }
  return body + "]}";
}

TEST(SandboxReply, CodexTurn_IsOneHarmlessCallAndThenAnAnswer) {
  const char* prompt = "Run the command that lists files and tell me what you see.";
  const auto call = CheckResponsesStream(Responses(CodexBody(prompt, false)));
  EXPECT_EQ(At(call.final, "/output/0/type"), "reasoning");
  EXPECT_TRUE(At(call.final, "/output/0/encrypted_content").starts_with("gAAAA"));
  EXPECT_EQ(At(call.final, "/output/1/name"), "exec_command");
  EXPECT_EQ(At(call.final, "/output/1/arguments"), R"({"cmd":"echo weir-sandbox"})");
  const auto answer = CheckResponsesStream(Responses(CodexBody(prompt, true)));
  EXPECT_EQ(At(answer.final, "/output/1/content/0/text"),
            "The tool answered: Output:\nweir-sandbox");
  const auto plain =
      CheckResponsesStream(Responses(CodexBody("Reply with only: connected", false)));
  EXPECT_EQ(At(plain.final, "/output/1/content/0/text"), "connected");
}

TEST(SandboxReply, CustomTool_GetsTextInput) {
  const auto stream = CheckResponsesStream(
      Responses(R"({"model":"m","stream":true,"input":"x","tools":[{"type":"custom","name":"py"}],)"
                R"("tool_choice":{"type":"custom","name":"py"}})"));
  EXPECT_EQ(At(stream.final, "/output/0/type"), "custom_tool_call");
  EXPECT_EQ(At(stream.final, "/output/0/input"), "echo weir-sandbox");
  EXPECT_TRUE(At(stream.final, "/output/0/id").starts_with("ctc_"));
}

TEST(SandboxReply, AdditionalTools_InANamespace_AreFound) {
  const auto stream = CheckResponsesStream(Responses(
      R"({"model":"m","stream":true,"input":[{"type":"additional_tools","tools":[{"type":"namespace",)"
      R"("name":"functions","tools":[{"type":"function","name":"shell","parameters":{"type":"object",)"
      R"("properties":{"command":{"type":"array","items":{"type":"string"}}},"required":["command"]}}]}]},)"
      R"({"role":"user","content":"run it"}]})"));
  EXPECT_EQ(At(stream.final, "/output/0/arguments"),
            R"({"command":["bash","-lc","echo weir-sandbox"]})");
}

// ---- structured output, bounds, reasoning, compaction ----

TEST(SandboxReply, JsonSchema_IsAnsweredWithItsLeast) {
  const auto body = Parse(
      Responses(
          R"({"model":"m","input":"hi","text":{"format":{"type":"json_schema","name":"s","strict":true,"schema":)"
          R"({"type":"object","properties":{"ok":{"type":"boolean"},"n":{"type":"integer"}},"required":["ok","n"]}}}})")
          .body);
  EXPECT_EQ(At(body, "/output/0/content/0/text"), R"({"ok":true,"n":1})");
  EXPECT_EQ(At(body, "/text/format/name"), "s");
  const auto chat = Parse(
      Chat(
          R"({"model":"m","messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema",)"
          R"("json_schema":{"name":"s","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}}}})")
          .body);
  EXPECT_EQ(At(chat, "/choices/0/message/content"), R"({"a":"ok"})");
  EXPECT_EQ(ResponsesText("hi", R"(,"text":{"format":{"type":"json_object"}})"), R"({"ok":true})");
}

TEST(SandboxReply, OutputBound_CutsAndSaysSo) {
  const auto stream = CheckResponsesStream(Responses(
      R"({"model":"m","stream":true,"max_output_tokens":2,"input":"ECHO:abcd\u00fc\u00fc\u00fcxyz"})"));
  EXPECT_EQ(stream.types.back(), "response.incomplete");
  EXPECT_EQ(At(stream.final, "/status"), "incomplete");
  EXPECT_EQ(At(stream.final, "/incomplete_details/reason"), "max_output_tokens");
  EXPECT_EQ(At(stream.final, "/output/0/status"), "incomplete");
  EXPECT_EQ(At(stream.final, "/output/0/content/0/text"), "abcd\xC3\xBC\xC3\xBC");
  EXPECT_EQ(At(stream.final, "/usage/output_tokens"), "2");
  EXPECT_EQ(At(stream.final, "/completed_at"), "null");
  // Exactly enough is not cut.
  EXPECT_EQ(
      At(Parse(Responses(R"({"model":"m","max_output_tokens":2,"input":"ECHO:abcdefgh"})").body),
         "/status"),
      "completed");
  const auto chat = Chat(
      R"({"model":"m","max_completion_tokens":1,"stream":true,"stream_options":{"include_usage":true},)"
      R"("messages":[{"role":"user","content":"ECHO:abcdefgh"}]})");
  const auto chunks = CheckChatStream(chat, true);
  EXPECT_EQ(chunks.text.at("0"), "abcd");
  EXPECT_EQ(chunks.finish.at("0"), "length");
  EXPECT_EQ(chat.usage.output_tokens, 1);
}

TEST(SandboxReply, ReasoningThatUsesUpTheBound_LeavesNoMessage) {
  const auto stream = CheckResponsesStream(Responses(
      R"({"model":"m","stream":true,"max_output_tokens":3,"reasoning":{"effort":"low"},"input":"hi"})"));
  EXPECT_EQ(stream.final.at("output").as_array().size(), 1u);
  EXPECT_EQ(At(stream.final, "/output/0/type"), "reasoning");
  EXPECT_EQ(At(stream.final, "/usage/output_tokens"), "3");
  EXPECT_EQ(At(stream.final, "/usage/output_tokens_details/reasoning_tokens"), "3");
}

TEST(SandboxReply, Reasoning_IsInsideTheOutputTokens) {
  const auto reply = Responses(
      R"({"model":"m","stream":true,"reasoning":{"effort":"high","summary":"auto"},"input":"ECHO:abcd"})");
  const auto stream = CheckResponsesStream(reply);
  EXPECT_EQ(At(stream.final, "/output/1/content/0/text"), "abcd");
  EXPECT_GT(reply.usage.reasoning_tokens, 0);
  EXPECT_EQ(reply.usage.output_tokens, reply.usage.reasoning_tokens + 1);
  EXPECT_GT(
      Chat(R"({"model":"o3","messages":[{"role":"user","content":"x"}]})").usage.reasoning_tokens,
      0);
  EXPECT_EQ(
      Chat(R"({"model":"o3","reasoning_effort":"none","messages":[{"role":"user","content":"x"}]})")
          .usage.reasoning_tokens,
      0);
}

TEST(SandboxReply, LongPrompt_IsPartlyCached) {
  const auto cached = [](std::size_t bytes) {
    return Responses(R"({"model":"m","input":")" + std::string(bytes, 'x') + R"("})").usage;
  };
  EXPECT_EQ(cached(4096).input_tokens, 1024);
  EXPECT_EQ(cached(4096).cached_input_tokens, 0);
  EXPECT_EQ(cached(4097).input_tokens, 1025);
  EXPECT_EQ(cached(4097).cached_input_tokens, 768);
}

TEST(SandboxReply, CompactionTrigger_GetsExactlyOneCompactionItem) {
  const char* body =
      R"({"model":"m","stream":true,"reasoning":{"effort":"high"},"max_output_tokens":1,"tools":[{"type":"function","name":"run"}],)"
      R"("tool_choice":"auto","input":[{"role":"user","content":"run"},{"type":"compaction_trigger"}]})";
  const auto stream = CheckResponsesStream(Responses(body));
  EXPECT_EQ(stream.final.at("output").as_array().size(), 1u);
  EXPECT_EQ(At(stream.final, "/output/0/type"), "compaction");
  EXPECT_EQ(At(stream.final, "/status"), "completed");
  EXPECT_TRUE(At(stream.final, "/output/0/encrypted_content").starts_with("gAAAA"));
  // Only the last item counts.
  const auto later = CheckResponsesStream(Responses(
      R"({"model":"m","stream":true,"input":[{"type":"compaction_trigger"},{"role":"user","content":"hi"}]})"));
  EXPECT_EQ(At(later.final, "/output/0/type"), "message");
}

TEST(SandboxReply, CompactAndInputTokens) {
  const char* body = R"({"model":"m","input":[{"role":"user","content":"12345678"}]})";
  const auto compact = Ask(SandboxOperation::kCompact, body);
  const auto value = Parse(compact.body);
  EXPECT_EQ(At(value, "/object"), "response.compaction");
  EXPECT_EQ(At(value, "/created_at"), "1795173844");
  EXPECT_EQ(At(value, "/output/0/content/0/text"), "12345678");
  EXPECT_EQ(At(value, "/output/1/type"), "compaction");
  EXPECT_EQ(compact.usage.source, UsageSource::kProvider);
  const auto counted = Ask(SandboxOperation::kInputTokens, body);
  EXPECT_EQ(counted.body, R"({"object":"response.input_tokens","input_tokens":6})");
  EXPECT_EQ(counted.usage.source, UsageSource::kNone);
  EXPECT_EQ(Responses(body).usage.input_tokens, 6) << "counted as it is billed";
}

// ---- chat ----

TEST(SandboxReply, ChatJson_IsThisText) {
  const auto reply = Chat(
      R"({"model":"gpt-5.5","messages":[{"role":"user","content":"Return only the word ready."}],"stream":false})");
  const std::string id = At(Parse(reply.body), "/id");
  EXPECT_TRUE(id.starts_with("chatcmpl-"));
  EXPECT_EQ(
      reply.body,
      R"({"id":")" + id +
          R"(","object":"chat.completion","created":1795173844,"model":"gpt-5.5","service_tier":"default",)"
          R"("system_fingerprint":"fp_sandbox","choices":[{"index":0,"message":{"role":"assistant",)"
          R"("content":"ready","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],)"
          R"("usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13,"prompt_tokens_details":)"
          R"({"cached_tokens":0,"audio_tokens":0,"cache_write_tokens":0},"completion_tokens_details":)"
          R"({"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,)"
          R"("rejected_prediction_tokens":0}}})");
}

TEST(SandboxReply, ChatStream_WithAndWithoutUsage) {
  const std::string start =
      R"({"model":"m","stream":true,"messages":[{"role":"user","content":"ECHO:a b c"}])";
  const auto without = Chat(start + "}");
  EXPECT_EQ(CheckChatStream(without, false).text.at("0"), "a b c");
  EXPECT_EQ(without.body.find("usage"), std::string::npos);
  EXPECT_EQ(without.usage.source, UsageSource::kNone) << "the stream says nothing of usage";
  const auto with = Chat(start + R"(,"stream_options":{"include_usage":true}})");
  const auto chunks = CheckChatStream(with, true);
  EXPECT_EQ(chunks.finish.at("0"), "stop");
  EXPECT_NE(chunks.usage.find("\"total_tokens\""), std::string::npos);
  EXPECT_EQ(with.usage.output_tokens, 2);
}

TEST(SandboxReply, ChatChoices_AreEachWholeAndPaidFor) {
  const auto reply =
      Chat(R"({"model":"m","stream":true,"n":3,"stream_options":{"include_usage":true},)"
           R"("messages":[{"role":"user","content":"ECHO:abcdefgh"}]})");
  const auto chunks = CheckChatStream(reply, true);
  EXPECT_EQ(chunks.text.size(), 3u);
  EXPECT_EQ(chunks.text.at("2"), "abcdefgh");
  EXPECT_EQ(reply.usage.output_tokens, 6);
  EXPECT_EQ(Parse(Chat(R"({"model":"m","n":4,"messages":[{"role":"user","content":"x"}]})").body)
                .at("choices")
                .as_array()
                .size(),
            4u);
}

TEST(SandboxReply, ChatTools_FunctionAndCustom) {
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",)"
      R"("properties":{"location":{"type":"string"}},"required":["location"]}}},)"
      R"({"type":"custom","custom":{"name":"py"}}])";
  const std::string ask =
      R"({"model":"m","messages":[{"role":"user","content":"weather?"}],)" + tools;
  const auto body = Parse(Chat(ask + "}").body);
  EXPECT_EQ(At(body, "/choices/0/finish_reason"), "tool_calls");
  EXPECT_EQ(At(body, "/choices/0/message/content"), "null");
  EXPECT_EQ(At(body, "/choices/0/message/tool_calls/0/function"),
            R"({"name":"get_weather","arguments":"{\"location\":\"Paris\"}"})");
  const auto chunks = CheckChatStream(Chat(ask + R"(,"stream":true})"), false);
  EXPECT_EQ(chunks.text.at("0"), R"({"location":"Paris"})");
  EXPECT_EQ(chunks.call_name, "get_weather");
  EXPECT_EQ(chunks.finish.at("0"), "tool_calls");
  const auto custom = CheckChatStream(
      Chat(ask + R"(,"stream":true,"tool_choice":{"type":"custom","custom":{"name":"py"}}})"),
      false);
  EXPECT_EQ(custom.call_name, "py");
  EXPECT_EQ(custom.text.at("0"), "echo weir-sandbox");
  const auto after = Parse(Chat(R"({"model":"m","messages":[{"role":"user","content":"weather?"},)"
                                R"({"role":"assistant","content":null,"tool_calls":[]},)"
                                R"({"role":"tool","tool_call_id":"c","content":"12 degrees"}],)" +
                                tools + "}")
                               .body);
  EXPECT_EQ(At(after, "/choices/0/message/content"), "The tool answered: 12 degrees");
}

// ---- the small operations ----

TEST(SandboxReply, Embeddings_SayTheSameInBothEncodings) {
  const auto floats = Parse(
      Ask(SandboxOperation::kEmbeddings, R"({"model":"e","input":["a","b"],"dimensions":2})").body);
  EXPECT_EQ(floats.at("data").as_array().size(), 2u);
  EXPECT_EQ(At(floats, "/usage"), R"({"prompt_tokens":2,"total_tokens":2})");
  const auto base64 =
      Parse(Ask(SandboxOperation::kEmbeddings,
                R"({"model":"e","input":"a","dimensions":2,"encoding_format":"base64"})")
                .body);
  const std::string text = At(base64, "/data/0/embedding");
  ASSERT_EQ(text.size(), 12u);
  EXPECT_EQ(text.substr(11), "=");
  std::string bytes;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    const std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bits = (bits << 6) | static_cast<std::uint32_t>(alphabet.find(c));
    held += 6;
    if (held >= 8) bytes += static_cast<char>((bits >> (held -= 8)) & 255);
  }
  ASSERT_EQ(bytes.size(), 8u);
  for (std::size_t i = 0; i < 2; ++i) {
    float number = 0;
    std::memcpy(&number, bytes.data() + 4 * i, 4);
    EXPECT_EQ(static_cast<double>(number),
              floats.at("data").as_array()[0].at("embedding").as_array()[i].as_double());
  }
  EXPECT_EQ(
      Ask(SandboxOperation::kEmbeddings, R"({"model":"e","input":[[1,2],[3]]})").usage.input_tokens,
      3);
  EXPECT_EQ(Ask(SandboxOperation::kEmbeddings, R"({"model":"e","input":[1,2]})").usage.input_tokens,
            2);
  for (const auto* bad : {R"({"model":"e"})", R"({"model":"e","input":[]})",
                          R"({"model":"e","input":{}})", R"({"model":"e","input":[[1],"a",null]})",
                          R"({"model":"e","input":[[-1]]})", R"({"model":"e","input":[["a"]]})"}) {
    CheckBadRequest(Ask(SandboxOperation::kEmbeddings, bad), "input", bad);
  }
  for (const auto* bad : {"0", "3073", "1.5", "\"8\"", "99999999999999999999"}) {
    CheckBadRequest(Ask(SandboxOperation::kEmbeddings,
                        std::string(R"({"model":"e","input":"a","dimensions":)") + bad + "}"),
                    "dimensions", bad);
  }
}

// Forms are in sandbox_transcript_test.cc.
TEST(SandboxReply, Transcription_TakesAnyBody) {
  const auto reply =
      Ask(SandboxOperation::kTranscription, std::string_view("\xFF\x00not json", 10));
  EXPECT_EQ(
      reply.body,
      R"({"text":"Hello from the sandbox.","usage":{"type":"tokens","input_tokens":1,)"
      R"("input_token_details":{"text_tokens":0,"audio_tokens":1},"output_tokens":6,"total_tokens":7}})");
  EXPECT_EQ(reply.usage.input_tokens, 1);
}

TEST(SandboxReply, Models_ListAndOne) {
  const auto list = Parse(Ask(SandboxOperation::kModels, "").body);
  EXPECT_EQ(At(list, "/object"), "list");
  EXPECT_EQ(At(list, "/data/3/id"), "gpt-5.5");
  const auto one =
      MakeSandboxReply({.target = {SandboxOperation::kModel, "any-name"}, .body = {}, .now = kNow});
  EXPECT_EQ(one.body,
            R"({"id":"any-name","object":"model","created":1767225600,"owned_by":"sandbox"})");
  const auto odd =
      MakeSandboxReply({.target = {SandboxOperation::kModel, "a\xFF"}, .body = {}, .now = kNow});
  EXPECT_EQ(odd.status, 404);
  EXPECT_EQ(At(Parse(odd.body), "/error/code"), "model_not_found");
}

TEST(SandboxReply, Targets_Table) {
  struct Case {
    const char* method;
    const char* path;
    SandboxOperation operation;
    const char* model;
  };
  const Case cases[] = {
      {"POST", "/v1/responses", SandboxOperation::kResponses, ""},
      {"POST", "/openai/v1/responses", SandboxOperation::kResponses, ""},
      {"POST", "/responses", SandboxOperation::kResponses, ""},
      {"GET", "/v1/responses", SandboxOperation::kMethodNotAllowed, ""},
      {"POST", "/v1/responses/", SandboxOperation::kUnknownPath, ""},
      {"POST", "/v1/responses/input_tokens", SandboxOperation::kInputTokens, ""},
      {"POST", "/v1/responses/compact", SandboxOperation::kCompact, ""},
      {"POST", "/v1/chat/completions", SandboxOperation::kChat, ""},
      {"POST", "/v1/embeddings", SandboxOperation::kEmbeddings, ""},
      {"POST", "/v1/audio/transcriptions", SandboxOperation::kTranscription, ""},
      {"GET", "/v1/models", SandboxOperation::kModels, ""},
      {"POST", "/v1/models", SandboxOperation::kMethodNotAllowed, ""},
      {"GET", "/v1/models/a/b", SandboxOperation::kModel, "a/b"},
      {"GET", "/v1/models/", SandboxOperation::kUnknownPath, ""},
      {"DELETE", "/v1/models/a", SandboxOperation::kMethodNotAllowed, ""},
      {"GET", "", SandboxOperation::kUnknownPath, ""},
      {"GET", "/openai/", SandboxOperation::kUnknownPath, ""},
      {"POST", "/v1/v1/responses", SandboxOperation::kUnknownPath, ""},
  };
  for (const auto& c : cases) {
    const auto target = SandboxTargetOf(c.method, c.path);
    EXPECT_EQ(target.operation, c.operation) << c.path;
    EXPECT_EQ(target.model, c.model) << c.path;
  }
  EXPECT_EQ(Ask(SandboxOperation::kUnknownPath, "").status, 404);
  EXPECT_EQ(Ask(SandboxOperation::kMethodNotAllowed, "").status, 405);
}

TEST(SandboxReply, OmitUsage_LeavesNoUsageAnywhere) {
  const char* responses = R"({"model":"m","input":"hi","stream":true})";
  const auto reply = Ask(SandboxOperation::kResponses, responses, true);
  EXPECT_EQ(reply.body.find("input_tokens"), std::string::npos);
  EXPECT_EQ(reply.usage.source, UsageSource::kNone);
  const auto chat = Ask(
      SandboxOperation::kChat,
      R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]})",
      true);
  EXPECT_EQ(chat.body.find("usage"), std::string::npos);
  EXPECT_EQ(Ask(SandboxOperation::kTranscription, "", true).body,
            R"({"text":"Hello from the sandbox."})");
}

// ---- bounds and hostile bodies ----

TEST(SandboxReply, LongAnswers_StayWithinTheBounds) {
  const std::string many_words = [] {
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += "a ";
    return text;
  }();
  const auto stream =
      Responses(R"({"model":"m","stream":true,"input":"ECHO:)" + many_words + R"("})");
  EXPECT_LE(stream.event_count(), kSandboxDeltasMax + 16);
  EXPECT_LE(stream.usage.output_tokens, static_cast<std::int64_t>(kSandboxTextBytesMax / 4));
  const auto choices =
      Chat(R"({"model":"m","stream":true,"n":128,"messages":[{"role":"user","content":"ECHO:)" +
           many_words + R"("}]})");
  EXPECT_EQ(choices.status, 200);
  EXPECT_LE(choices.event_count(), kSandboxDeltasMax + 128 * 3 + 2);
  const auto numbers = CheckResponsesStream(
      Responses(R"({"model":"m","stream":true,"input":"Count from 1 to 1000"})"));
  EXPECT_EQ(numbers.types.size(), 1000u + 8);
}

TEST(SandboxReply, NotAJsonObject_IsRefused) {
  for (const auto operation :
       {SandboxOperation::kResponses, SandboxOperation::kInputTokens, SandboxOperation::kCompact,
        SandboxOperation::kChat, SandboxOperation::kEmbeddings}) {
    for (const std::string_view body :
         {std::string_view(), std::string_view("{"), std::string_view("[]"),
          std::string_view("null"), std::string_view("\"x\""),
          std::string_view("{\"model\":\"\xFF\"}"), std::string_view("{\"model\":\"\\ud800\"}"),
          std::string_view("{\"a\":1}x"), std::string_view("\0{}", 3),
          std::string_view("{\"a\":01}"), std::string_view("nan")}) {
      CheckBadRequest(Ask(operation, body), "null", body);
    }
  }
}

TEST(SandboxReply, DeepNesting_IsRefusedNotRecursedInto) {
  for (const int depth : {65, 1000, 1'000'000}) {
    const std::string body =
        R"({"model":"m","input":)" + std::string(static_cast<std::size_t>(depth), '[');
    CheckBadRequest(Responses(body), "null", "deep");
    CheckBadRequest(Responses(body + std::string(static_cast<std::size_t>(depth), ']') + "}"),
                    "null", "deep");
  }
}

// Every field that is looked at, with every type it must not have. Null counts as absent.
TEST(SandboxReply, WrongTypes_AreRefusedByName) {
  struct Case {
    const char* field;
    const char* allowed;  // the types it may have: s, n, b, a, o
  };
  const Case responses[] = {{"model", "s"},
                            {"stream", "b"},
                            {"max_output_tokens", "n"},
                            {"tools", "a"},
                            {"input", "sa"},
                            {"tool_choice", "so"},
                            {"reasoning", "o"},
                            {"include", "a"},
                            {"text", "o"},
                            {"background", "b"},
                            {"frequency_penalty", "n"},
                            {"instructions", "s"},
                            {"max_tool_calls", "n"},
                            {"metadata", "o"},
                            {"parallel_tool_calls", "b"},
                            {"presence_penalty", "n"},
                            {"previous_response_id", "s"},
                            {"prompt_cache_key", "s"},
                            {"safety_identifier", "s"},
                            {"store", "b"},
                            {"temperature", "n"},
                            {"top_logprobs", "n"},
                            {"top_p", "n"},
                            {"truncation", "s"}};
  const Case chat[] = {{"model", "s"},
                       {"stream", "b"},
                       {"max_tokens", "n"},
                       {"max_completion_tokens", "n"},
                       {"n", "n"},
                       {"stream_options", "o"},
                       {"tools", "a"},
                       {"messages", "a"},
                       {"tool_choice", "so"},
                       {"reasoning_effort", "s"},
                       {"response_format", "o"}};
  const std::pair<char, const char*> values[] = {
      {'s', "\"x\""}, {'n', "7"}, {'b', "true"}, {'a', "[]"}, {'o', "{}"}};
  const auto check = [&](const Case& c, SandboxOperation operation, const char* rest) {
    for (const auto& [type, value] : values) {
      if (std::string_view(c.allowed).contains(type)) continue;
      const std::string body = std::string("{\"") + c.field + "\":" + value + rest + "}";
      const auto reply = Ask(operation, body);
      // Duplicate names: the last wins, so the rest only adds what the field under test is not.
      CheckBadRequest(reply, c.field, body);
    }
  };
  for (const auto& c : responses) {
    const std::string_view field = c.field;
    check(c, SandboxOperation::kResponses,
          field == "model"   ? R"(,"input":"x")"
          : field == "input" ? R"(,"model":"m")"
                             : R"(,"model":"m","input":"x")");
  }
  for (const auto& c : chat) {
    const std::string_view field = c.field;
    check(c, SandboxOperation::kChat,
          field == "model"      ? R"(,"messages":[{"role":"user","content":"x"}])"
          : field == "messages" ? R"(,"model":"m")"
                                : R"(,"model":"m","messages":[{"role":"user","content":"x"}])");
  }
}

TEST(SandboxReply, BadValues_AreRefusedByName) {
  struct Case {
    const char* param;
    const char* body;
  };
  const Case responses[] = {
      {"model", R"({"input":"x"})"},
      {"model", R"({"model":"","input":"x"})"},
      {"input", R"({"model":"m"})"},
      {"max_output_tokens", R"({"model":"m","input":"x","max_output_tokens":0})"},
      {"max_output_tokens", R"({"model":"m","input":"x","max_output_tokens":-1})"},
      {"max_output_tokens", R"({"model":"m","input":"x","max_output_tokens":1.5})"},
      {"max_output_tokens", R"({"model":"m","input":"x","max_output_tokens":1e3})"},
      {"max_output_tokens",
       R"({"model":"m","input":"x","max_output_tokens":18446744073709551615})"},
      {"max_output_tokens", R"({"model":"m","input":"x","max_output_tokens":1e999})"},
      {"input[0]", R"({"model":"m","input":["x"]})"},
      {"input[1].role", R"({"model":"m","input":[{"role":"user","content":"x"},{"content":"x"}]})"},
      {"input[0].role", R"({"model":"m","input":[{"role":7,"content":"x"}]})"},
      {"input[0].type", R"({"model":"m","input":[{"type":7}]})"},
      {"input[0].content", R"({"model":"m","input":[{"role":"user"}]})"},
      {"input[0].content", R"({"model":"m","input":[{"role":"user","content":{}}]})"},
      {"input[0].content[0]", R"({"model":"m","input":[{"role":"user","content":[1]}]})"},
      {"input[0].content[0].text",
       R"({"model":"m","input":[{"role":"user","content":[{"text":1}]}]})"},
      {"input[0].output", R"({"model":"m","input":[{"type":"function_call_output","output":1}]})"},
      {"input[0].tools", R"({"model":"m","input":[{"type":"additional_tools","tools":1}]})"},
      {"tools[0]", R"({"model":"m","input":"x","tools":[1]})"},
      {"tools[0].type", R"({"model":"m","input":"x","tools":[{}]})"},
      {"tools[0].type", R"({"model":"m","input":"x","tools":[{"type":1}]})"},
      {"tools[0].name", R"({"model":"m","input":"x","tools":[{"type":"function"}]})"},
      {"tools[0].name", R"({"model":"m","input":"x","tools":[{"type":"custom","name":1}]})"},
      {"tools[0].parameters",
       R"({"model":"m","input":"x","tools":[{"type":"function","name":"f","parameters":[]}]})"},
      {"tool_choice", R"({"model":"m","input":"x","tool_choice":"sometimes"})"},
      {"tool_choice",
       R"({"model":"m","input":"x","tool_choice":{"type":"function","name":"none_such"}})"},
      {"tool_choice.name", R"({"model":"m","input":"x","tool_choice":{"type":"function"}})"},
      {"tool_choice.type", R"({"model":"m","input":"x","tool_choice":{}})"},
      {"tool_choice.tools", R"({"model":"m","input":"x","tool_choice":{"type":"allowed_tools"}})"},
      {"reasoning.effort", R"({"model":"m","input":"x","reasoning":{"effort":1}})"},
      {"include", R"({"model":"m","input":"x","include":[1]})"},
      {"text.format", R"({"model":"m","input":"x","text":{"format":"json"}})"},
      {"text.format.type", R"({"model":"m","input":"x","text":{"format":{}}})"},
      {"text.format.name",
       R"({"model":"m","input":"x","text":{"format":{"type":"json_schema","schema":{}}}})"},
      {"text.format.schema",
       R"({"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"s"}}})"},
      {"text.format.schema",
       R"({"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"s","schema":1}}})"},
  };
  for (const auto& c : responses) CheckBadRequest(Responses(c.body), c.param, c.body);
  const Case chat[] = {
      {"messages", R"({"model":"m"})"},
      {"messages", R"({"model":"m","messages":[]})"},
      {"messages[0]", R"({"model":"m","messages":["x"]})"},
      {"messages[0].role", R"({"model":"m","messages":[{}]})"},
      {"messages[0].content", R"({"model":"m","messages":[{"role":"user"}]})"},
      {"messages[0].content", R"({"model":"m","messages":[{"role":"user","content":5}]})"},
      {"n", R"({"model":"m","messages":[{"role":"user","content":"x"}],"n":0})"},
      {"n", R"({"model":"m","messages":[{"role":"user","content":"x"}],"n":129})"},
      {"stream_options",
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"stream_options":{}})"},
      {"include_usage",
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":1}})"},
      {"tools[0].function",
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]})"},
      {"tools[0].function",
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":1}]})"},
      {"tool_choice.function",
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"function"}})"},
      {"response_format.json_schema",
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema"}})"},
  };
  for (const auto& c : chat) CheckBadRequest(Chat(c.body), c.param, c.body);
}

// Truncated and bent copies of a rich body: always JSON or events, never a crash. The sanitizers
// watch.
TEST(SandboxReply, MutatedBodies_AlwaysGetAReply) {
  const std::string body = CodexBody("Run it \\u00fc \xF0\x9F\x98\x80", true);
  std::uint64_t state = 1;
  int refused = 0;
  for (std::size_t i = 0; i < 3000; ++i) {
    std::string bent = body;
    if (i < body.size()) {
      bent.resize(i);
    } else {
      for (int k = 0; k < 3; ++k) {
        state = HashBytes({}, state);
        bent[state % bent.size()] = static_cast<char>(state >> 32);
      }
    }
    const auto reply = Responses(bent);
    if (reply.status != 200) {
      CheckBadRequest(reply, At(Parse(reply.body), "/error/param"), bent);
      ++refused;
    } else if (reply.is_stream()) {
      CheckResponsesStream(reply);
    } else {
      CheckResponseObject(Parse(reply.body));  // the change hit "stream"
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace weir::gateway
