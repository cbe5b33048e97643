#include "gateway/sandbox_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <iterator>
#include <optional>
#include <utility>

#include "dialect/json_edit.h"
#include "gateway/sandbox_prompt.h"
#include "gateway/sandbox_text.h"
#include "gateway/sandbox_transcript.h"

namespace weir::gateway {
namespace {

namespace json = boost::json;

constexpr std::size_t kJsonDepthMax = 64;
constexpr std::size_t kEchoBytesMax = 256 << 10;  // of one field given back in the response object
constexpr std::int64_t kModelCreated = 1'767'225'600;  // 2026-01-01
constexpr std::size_t kEmbeddingInputsMax = 2048;
constexpr std::int64_t kEmbeddingDimensionsMax = 3072;
constexpr std::size_t kEmbeddingNumbersMax = 256 << 10;  // over all inputs
constexpr std::string_view kReasoningText =
    "**Reading the request**\n\nThe sandbox picks a fixed answer for what was asked.";

constexpr auto kModelIds =
    std::to_array<std::string_view>({"gpt-5.2", "gpt-5.3-codex", "gpt-5.4", "gpt-5.5",
                                     "gpt-4o-mini-transcribe", "text-embedding-3-small"});

template <class... T>
void Put(std::string& out, fmt::format_string<T...> form, T&&... values) {
  fmt::format_to(std::back_inserter(out), form, std::forward<T>(values)...);
}

void Fail(SandboxReply& reply, int status, std::string_view message, std::string_view param,
          std::string_view code) {
  reply.status = status;
  reply.event_ends.clear();
  reply.usage = {};
  reply.body = R"({"error":{"message":)";
  dialect::AppendJsonString(reply.body, message);
  reply.body += R"(,"type":"invalid_request_error","param":)";
  if (param.empty()) {
    reply.body += "null";
  } else {
    dialect::AppendJsonString(reply.body, param);
  }
  reply.body += R"(,"code":)";
  dialect::AppendJsonString(reply.body, code);
  reply.body += "}}";
}

void Fail(SandboxReply& reply, const SandboxBadRequest& bad) {
  Fail(reply, 400, bad.message, bad.param, bad.code);
}

// What one id is for; each gets its own stream of digits.
enum class IdFor : std::uint64_t { kReply = 1, kReasoning, kItem, kCall, kCompaction, kKept };

std::string MakeId(std::string_view prefix, std::uint64_t request, IdFor what, std::size_t digits,
                   std::uint64_t n = 0) {
  std::string id(prefix);
  AppendHex(id, HashBytes({}, request + (static_cast<std::uint64_t>(what) << 32) + n), digits);
  return id;
}

// ---- usage ----

// A prompt long enough to be cached is cached for three quarters, in blocks of 128 tokens, as
// OpenAI's cache works from 1024 tokens on.
std::int64_t CachedTokens(std::int64_t input_tokens) {
  return input_tokens > 1024 ? input_tokens / 4 * 3 / 128 * 128 : 0;
}

void PutResponsesUsage(std::string& out, const Usage& usage) {
  Put(out,
      R"({{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{},"cache_write_tokens":{}}},)"
      R"("output_tokens":{},"output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}})",
      usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.output_tokens,
      usage.reasoning_tokens, usage.input_tokens + usage.output_tokens);
}

void PutChatUsage(std::string& out, const Usage& usage) {
  Put(out,
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
      R"("prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0,"cache_write_tokens":{}}},)"
      R"("completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":0,)"
      R"("accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}})",
      usage.input_tokens, usage.output_tokens, usage.input_tokens + usage.output_tokens,
      usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens);
}

// ---- an answer cut to the bound the request gave ----

struct Produced {
  SandboxAnswer answer;
  std::string_view reasoning;  // what is left of the reasoning text
  bool has_item = true;        // false: the reasoning used everything up
  bool cut = false;            // stopped by the bound on output tokens
  Usage usage;
};

Produced Produce(const SandboxAsk& ask) {
  Produced made;
  made.answer = AnswerAsk(ask);
  const std::size_t text_bytes_max =
      std::max<std::size_t>(kSandboxTextBytesMax / static_cast<std::size_t>(ask.choices), 1024);
  if (made.answer.kind == SandboxAnswer::Kind::kText) {
    made.answer.text = Utf8Prefix(made.answer.text, text_bytes_max);
  }
  if (ask.reasoning) made.reasoning = kReasoningText;
  std::int64_t reasoning_tokens = TokensOfBytes(made.reasoning.size());
  std::int64_t answer_tokens = TokensOfBytes(made.answer.text.size());
  if (ask.output_tokens_max > 0 && reasoning_tokens + answer_tokens > ask.output_tokens_max) {
    made.cut = true;
    if (reasoning_tokens >= ask.output_tokens_max) {
      made.has_item = false;
      made.reasoning =
          Utf8Prefix(made.reasoning, static_cast<std::size_t>(ask.output_tokens_max) * 4);
      reasoning_tokens = TokensOfBytes(made.reasoning.size());
      made.answer.text.clear();
    } else {
      const auto left = static_cast<std::size_t>(ask.output_tokens_max - reasoning_tokens);
      made.answer.text = Utf8Prefix(made.answer.text, left * 4);
    }
    answer_tokens = TokensOfBytes(made.answer.text.size());
  }
  made.usage = {.input_tokens = ask.input_tokens,
                .cached_input_tokens = CachedTokens(ask.input_tokens),
                .output_tokens = (reasoning_tokens + answer_tokens) * ask.choices,
                .reasoning_tokens = reasoning_tokens * ask.choices,
                .source = UsageSource::kProvider};
  return made;
}

// Cuts `text` into pieces no more than `pieces_max` of which are made.
template <class Each>
void EachPiece(std::string_view text, std::size_t pieces_max, Each each) {
  const std::size_t bytes_min = text.size() / pieces_max + 1;
  while (!text.empty()) {
    const auto piece = NextPiece(text, bytes_min);
    each(piece);
    text.remove_prefix(piece.size());
  }
}

// ---- Responses ----

enum class Accept : std::uint8_t { kString, kNumber, kBool, kObject, kArray };

// A field of the request that the response object gives back, and what stands there without it.
struct Echo {
  std::string_view name;
  Accept accept;
  std::string_view absent;
};

constexpr auto kEchoes = std::to_array<Echo>({
    {"background", Accept::kBool, "false"},
    {"frequency_penalty", Accept::kNumber, "0"},
    {"instructions", Accept::kString, "null"},
    {"max_tool_calls", Accept::kNumber, "null"},
    {"metadata", Accept::kObject, "{}"},
    {"parallel_tool_calls", Accept::kBool, "true"},
    {"presence_penalty", Accept::kNumber, "0"},
    {"previous_response_id", Accept::kString, "null"},
    {"prompt_cache_key", Accept::kString, "null"},
    {"safety_identifier", Accept::kString, "null"},
    {"store", Accept::kBool, "true"},
    {"temperature", Accept::kNumber, "1"},
    {"top_logprobs", Accept::kNumber, "0"},
    {"top_p", Accept::kNumber, "1"},
    {"truncation", Accept::kString, "\"disabled\""},
});

bool Accepts(Accept accept, const json::value& value) {
  switch (accept) {
    case Accept::kString:
      return value.is_string();
    case Accept::kNumber:
      return value.is_number();
    case Accept::kBool:
      return value.is_bool();
    case Accept::kObject:
      return value.is_object();
    case Accept::kArray:
      return value.is_array();
  }
  return false;
}

std::string_view NameOf(Accept accept) {
  switch (accept) {
    case Accept::kString:
      return "a string";
    case Accept::kNumber:
      return "a number";
    case Accept::kBool:
      return "a boolean";
    case Accept::kObject:
      return "an object";
    case Accept::kArray:
      return "an array";
  }
  return "something else";
}

const json::value* Find(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains({key.data(), key.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

// `value` as JSON, or `absent` when there is none or too much of it.
void PutEcho(std::string& out, const json::value* value, std::string_view absent) {
  if (value == nullptr) {
    out += absent;
    return;
  }
  if (value->is_string()) {
    const auto& text = value->get_string();
    if (text.size() <= kEchoBytesMax) {
      dialect::AppendJsonString(out, {text.data(), text.size()});
    } else {
      out += absent;
    }
    return;
  }
  const std::string text = json::serialize(*value);
  out += text.size() <= kEchoBytesMax ? std::string_view(text) : absent;
}

// The tools as the API gives them back: a function always has all of its fields.
void PutTools(std::string& out, const json::value* tools) {
  if (tools == nullptr || !tools->is_array()) {
    out += "[]";
    return;
  }
  std::string list = "[";
  for (const auto& tool : tools->get_array()) {
    if (list.size() > kEchoBytesMax) {
      out += "[]";
      return;
    }
    if (list.size() > 1) list += ',';
    const auto* object = tool.if_object();
    if (object == nullptr || StringAt(*object, "type") != "function") {
      list += json::serialize(tool);
      continue;
    }
    list += R"({"type":"function")";
    static constexpr auto kFields = std::to_array<std::pair<std::string_view, std::string_view>>(
        {{"name", "\"\""}, {"description", "null"}, {"parameters", "null"}, {"strict", "true"}});
    for (const auto& [name, absent] : kFields) {
      Put(list, R"(,"{}":)", name);
      PutEcho(list, Find(*object, name), absent);
    }
    list += '}';
  }
  out += list;
  out += ']';
}

// Everything of the response object that is the same in each event, up to but without its end.
std::expected<std::string, SandboxBadRequest> ResponseHead(const json::object& body,
                                                           const SandboxAsk& ask,
                                                           std::string_view id,
                                                           std::int64_t created_at) {
  std::string out;
  out.reserve(1024);
  Put(out, R"({{"id":"{}","object":"response","created_at":{},"error":null,"model":)", id,
      created_at);
  dialect::AppendJsonString(out, ask.model);
  for (const auto& echo : kEchoes) {
    const auto* value = Find(body, echo.name);
    if (value != nullptr && !Accepts(echo.accept, *value)) {
      return std::unexpected(SandboxBadRequest{
          fmt::format("Invalid type for '{}': expected {}.", echo.name, NameOf(echo.accept)),
          std::string(echo.name), "invalid_type"});
    }
    Put(out, R"(,"{}":)", echo.name);
    PutEcho(out, value, echo.absent);
  }
  out += R"(,"service_tier":"default","max_output_tokens":)";
  if (ask.output_tokens_max > 0) {
    Put(out, "{}", ask.output_tokens_max);
  } else {
    out += "null";
  }
  out += R"(,"reasoning":{"effort":)";
  const auto* reasoning = Find(body, "reasoning");
  const auto* reasoning_object = reasoning != nullptr ? reasoning->if_object() : nullptr;
  const auto from_reasoning = [&](std::string_view key) {
    return reasoning_object != nullptr ? Find(*reasoning_object, key) : nullptr;
  };
  PutEcho(out, from_reasoning("effort"), "null");
  out += R"(,"summary":)";
  PutEcho(out, from_reasoning("summary"), "null");
  out += R"(},"text":{"format":)";
  const auto* text = Find(body, "text");
  const auto* text_object = text != nullptr ? text->if_object() : nullptr;
  PutEcho(out, text_object != nullptr ? Find(*text_object, "format") : nullptr,
          R"({"type":"text"})");
  if (const auto verbosity = text_object != nullptr ? StringAt(*text_object, "verbosity") : "";
      !verbosity.empty()) {
    out += R"(,"verbosity":)";
    dialect::AppendJsonString(out, verbosity);
  }
  out += R"(},"tool_choice":)";
  PutEcho(out, Find(body, "tool_choice"), "\"auto\"");
  out += R"(,"tools":)";
  PutTools(out, Find(body, "tools"));
  return out;
}

// One output item, as it begins and as it ends.
struct Item {
  enum class Kind : std::uint8_t { kReasoning, kMessage, kFunctionCall, kCustomCall, kCompaction };
  Kind kind = Kind::kMessage;
  std::string id = {};
  std::string_view text = {};  // summary, text, arguments or input
  std::string call_id = {};
  std::string_view tool = {};
  std::string encrypted = {};
  bool cut = false;
};

void PutTextPart(std::string& out, std::string_view text) {
  out += R"({"type":"output_text","annotations":[],"logprobs":[],"text":)";
  dialect::AppendJsonString(out, text);
  out += '}';
}

void PutSummaryPart(std::string& out, std::string_view text) {
  out += R"({"type":"summary_text","text":)";
  dialect::AppendJsonString(out, text);
  out += '}';
}

// `done` false: as response.output_item.added shows it, without what is still to come.
void PutItem(std::string& out, const Item& item, bool done) {
  const std::string_view status = !done ? "in_progress" : item.cut ? "incomplete" : "completed";
  Put(out, R"({{"id":"{}",)", item.id);
  const std::string_view text = done ? item.text : std::string_view();
  switch (item.kind) {
    case Item::Kind::kReasoning:
      out += R"("type":"reasoning","summary":[)";
      if (done) PutSummaryPart(out, text);
      out += ']';
      if (!item.encrypted.empty()) Put(out, R"(,"encrypted_content":"{}")", item.encrypted);
      break;
    case Item::Kind::kMessage:
      Put(out, R"("type":"message","status":"{}","role":"assistant","content":[)", status);
      if (done) PutTextPart(out, text);
      out += ']';
      break;
    case Item::Kind::kFunctionCall:
      Put(out, R"("type":"function_call","status":"{}","arguments":)", status);
      dialect::AppendJsonString(out, text);
      Put(out, R"(,"call_id":"{}","name":)", item.call_id);
      dialect::AppendJsonString(out, item.tool);
      break;
    case Item::Kind::kCustomCall:
      Put(out, R"("type":"custom_tool_call","status":"{}","input":)", status);
      dialect::AppendJsonString(out, text);
      Put(out, R"(,"call_id":"{}","name":)", item.call_id);
      dialect::AppendJsonString(out, item.tool);
      break;
    case Item::Kind::kCompaction:
      Put(out, R"("type":"compaction","encrypted_content":"{}")", item.encrypted);
      break;
  }
  out += '}';
}

std::string Encrypted(std::uint64_t request, IdFor what) {
  return MakeId("gAAAA", request, what, 64, 1);
}

std::vector<Item> ItemsOf(const SandboxAsk& ask, const Produced& made, std::uint64_t request) {
  std::vector<Item> items;
  if (ask.compaction) {
    items.push_back({.kind = Item::Kind::kCompaction,
                     .id = MakeId("cmp_", request, IdFor::kCompaction, 48),
                     .encrypted = Encrypted(request, IdFor::kCompaction)});
    return items;
  }
  if (ask.reasoning) {
    items.push_back({.kind = Item::Kind::kReasoning,
                     .id = MakeId("rs_", request, IdFor::kReasoning, 48),
                     .text = made.reasoning,
                     .cut = !made.has_item});
    if (ask.encrypted_reasoning) {
      items.back().encrypted = Encrypted(request, IdFor::kReasoning);
    }
  }
  if (!made.has_item) return items;
  Item item{.text = made.answer.text, .tool = made.answer.tool, .cut = made.cut};
  switch (made.answer.kind) {
    case SandboxAnswer::Kind::kText:
      item.id = MakeId("msg_", request, IdFor::kItem, 48);
      break;
    case SandboxAnswer::Kind::kFunctionCall:
      item.kind = Item::Kind::kFunctionCall;
      item.id = MakeId("fc_", request, IdFor::kItem, 48);
      item.call_id = MakeId("call_", request, IdFor::kCall, 24);
      break;
    case SandboxAnswer::Kind::kCustomCall:
      item.kind = Item::Kind::kCustomCall;
      item.id = MakeId("ctc_", request, IdFor::kItem, 48);
      item.call_id = MakeId("call_", request, IdFor::kCall, 24);
      break;
  }
  items.push_back(std::move(item));
  return items;
}

// Writes the events of a Responses stream: each one is `event:` and `data:`, its type in both, and
// a sequence number that counts all of them.
class EventWriter {
 public:
  explicit EventWriter(SandboxReply& reply) : reply_(reply), out_(reply.body) {}

  std::string& Begin(std::string_view type) {
    Put(out_, "event: {}\ndata: {{\"type\":\"{}\",\"sequence_number\":{}", type, type, sequence_++);
    return out_;
  }
  void End() {
    out_ += "}\n\n";
    reply_.event_ends.push_back(out_.size());
  }

  void Item(const Item& item, std::size_t index) {
    Added("response.output_item.added", item, index, false);
    switch (item.kind) {
      case Item::Kind::kReasoning:
        Reasoning(item, index);
        break;
      case Item::Kind::kMessage:
        Message(item, index);
        break;
      case Item::Kind::kFunctionCall:
        Arguments(item, index);
        break;
      case Item::Kind::kCustomCall:
        Input(item, index);
        break;
      case Item::Kind::kCompaction:
        break;
    }
    Added("response.output_item.done", item, index, true);
  }

 private:
  using ItemT = weir::gateway::Item;

  void Added(std::string_view type, const ItemT& item, std::size_t index, bool done) {
    Put(Begin(type), R"(,"output_index":{},"item":)", index);
    PutItem(out_, item, done);
    End();
  }
  // An event about one item, up to its place in it.
  void At(std::string_view type, const ItemT& item, std::size_t index) {
    Put(Begin(type), R"(,"item_id":"{}","output_index":{})", item.id, index);
  }

  void Reasoning(const ItemT& item, std::size_t index) {
    constexpr std::string_view kPlace = R"(,"summary_index":0)";
    At("response.reasoning_summary_part.added", item, index);
    out_ += kPlace;
    out_ += R"(,"part":)";
    PutSummaryPart(out_, {});
    End();
    EachPiece(item.text, 64, [&](std::string_view piece) {
      At("response.reasoning_summary_text.delta", item, index);
      out_ += kPlace;
      out_ += R"(,"delta":)";
      dialect::AppendJsonString(out_, piece);
      End();
    });
    At("response.reasoning_summary_text.done", item, index);
    out_ += kPlace;
    out_ += R"(,"text":)";
    dialect::AppendJsonString(out_, item.text);
    End();
    At("response.reasoning_summary_part.done", item, index);
    out_ += kPlace;
    out_ += R"(,"part":)";
    PutSummaryPart(out_, item.text);
    End();
  }

  void Message(const ItemT& item, std::size_t index) {
    constexpr std::string_view kPlace = R"(,"content_index":0)";
    At("response.content_part.added", item, index);
    out_ += kPlace;
    out_ += R"(,"part":)";
    PutTextPart(out_, {});
    End();
    EachPiece(item.text, kSandboxDeltasMax, [&](std::string_view piece) {
      At("response.output_text.delta", item, index);
      out_ += kPlace;
      out_ += R"(,"delta":)";
      dialect::AppendJsonString(out_, piece);
      out_ += R"(,"logprobs":[])";
      End();
    });
    At("response.output_text.done", item, index);
    out_ += kPlace;
    out_ += R"(,"text":)";
    dialect::AppendJsonString(out_, item.text);
    out_ += R"(,"logprobs":[])";
    End();
    At("response.content_part.done", item, index);
    out_ += kPlace;
    out_ += R"(,"part":)";
    PutTextPart(out_, item.text);
    End();
  }

  void Arguments(const ItemT& item, std::size_t index) {
    EachPiece(item.text, 64, [&](std::string_view piece) {
      At("response.function_call_arguments.delta", item, index);
      out_ += R"(,"delta":)";
      dialect::AppendJsonString(out_, piece);
      End();
    });
    At("response.function_call_arguments.done", item, index);
    out_ += R"(,"name":)";
    dialect::AppendJsonString(out_, item.tool);
    out_ += R"(,"arguments":)";
    dialect::AppendJsonString(out_, item.text);
    End();
  }

  void Input(const ItemT& item, std::size_t index) {
    EachPiece(item.text, 64, [&](std::string_view piece) {
      At("response.custom_tool_call_input.delta", item, index);
      out_ += R"(,"delta":)";
      dialect::AppendJsonString(out_, piece);
      End();
    });
    At("response.custom_tool_call_input.done", item, index);
    out_ += R"(,"input":)";
    dialect::AppendJsonString(out_, item.text);
    End();
  }

  SandboxReply& reply_;
  std::string& out_;
  std::int64_t sequence_ = 0;
};

void Responses(const SandboxRequest& request, const json::object& body, SandboxReply& reply) {
  const auto ask = ReadResponsesAsk(body);
  if (!ask) return Fail(reply, ask.error());
  reply.model = ask->model;
  const std::int64_t now = request.now.ns / 1'000'000'000;
  const auto head = ResponseHead(body, *ask, MakeId("resp_", reply.id, IdFor::kReply, 48), now);
  if (!head) return Fail(reply, head.error());
  const Produced made = Produce(*ask);
  const std::vector<Item> items = ItemsOf(*ask, made, reply.id);
  Usage usage = made.usage;
  if (ask->compaction) usage.output_tokens = TokensOfBytes(items.front().encrypted.size());
  if (ask->compaction) usage.reasoning_tokens = 0;
  const bool cut = made.cut && !ask->compaction;

  std::string final = *head;
  final += cut ? R"(,"status":"incomplete","completed_at":null,)"
                 R"("incomplete_details":{"reason":"max_output_tokens"},"output":[)"
               : "";
  if (!cut) {
    Put(final, R"(,"status":"completed","completed_at":{},"incomplete_details":null,"output":[)",
        now);
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) final += ',';
    PutItem(final, items[i], true);
  }
  final += R"(],"usage":)";
  if (request.omit_usage) {
    final += "null";
  } else {
    PutResponsesUsage(final, usage);
    reply.usage = usage;
  }
  final += '}';
  if (!ask->stream) {
    reply.body = std::move(final);
    return;
  }
  reply.pause = made.answer.pause;
  reply.body.reserve(head->size() * 2 + final.size() + 4096);
  EventWriter events(reply);
  for (const auto* type : {"response.created", "response.in_progress"}) {
    auto& out = events.Begin(type);
    out += R"(,"response":)";
    out += *head;
    out += R"(,"status":"in_progress","completed_at":null,"incomplete_details":null,"output":[],)"
           R"("usage":null})";
    events.End();
  }
  for (std::size_t i = 0; i < items.size(); ++i) events.Item(items[i], i);
  auto& out = events.Begin(cut ? "response.incomplete" : "response.completed");
  out += R"(,"response":)";
  out += final;
  reply.terminal_event = reply.event_ends.size();
  events.End();
}

void InputTokens(const json::object& body, SandboxReply& reply) {
  const auto ask = ReadResponsesAsk(body);
  if (!ask) return Fail(reply, ask.error());
  reply.model = ask->model;
  Put(reply.body, R"({{"object":"response.input_tokens","input_tokens":{}}})", ask->input_tokens);
}

// Keeps the last words of the user in clear and "encrypts" the rest.
void Compact(const SandboxRequest& request, const json::object& body, SandboxReply& reply) {
  const auto ask = ReadResponsesAsk(body);
  if (!ask) return Fail(reply, ask.error());
  reply.model = ask->model;
  Put(reply.body, R"({{"id":"{}","object":"response.compaction","created_at":{},"output":[)",
      MakeId("resp_", reply.id, IdFor::kReply, 48), request.now.ns / 1'000'000'000);
  if (!ask->prompt.empty()) {
    Put(reply.body,
        R"({{"id":"{}","type":"message","status":"completed","role":"user",)"
        R"("content":[{{"type":"input_text","text":)",
        MakeId("msg_", reply.id, IdFor::kKept, 48));
    dialect::AppendJsonString(reply.body, ask->prompt);
    reply.body += "}]},";
  }
  const Item item{.kind = Item::Kind::kCompaction,
                  .id = MakeId("cmp_", reply.id, IdFor::kCompaction, 48),
                  .encrypted = Encrypted(reply.id, IdFor::kCompaction)};
  PutItem(reply.body, item, true);
  const Usage usage{.input_tokens = ask->input_tokens,
                    .cached_input_tokens = CachedTokens(ask->input_tokens),
                    .output_tokens = TokensOfBytes(item.encrypted.size()),
                    .source = UsageSource::kProvider};
  reply.body += R"(],"usage":)";
  if (request.omit_usage) {
    reply.body += "null";
  } else {
    PutResponsesUsage(reply.body, usage);
    reply.usage = usage;
  }
  reply.body += '}';
}

// ---- chat ----

std::string_view FinishReason(const Produced& made) {
  if (made.cut) return "length";
  return made.answer.kind == SandboxAnswer::Kind::kText ? "stop" : "tool_calls";
}

// {"id":..,"type":"function","function":{"name":..,"arguments":"..."}} or its custom kin, without
// the outer braces.
void PutChatCall(std::string& out, const SandboxAnswer& answer, std::string_view id,
                 std::string_view payload) {
  const bool custom = answer.kind == SandboxAnswer::Kind::kCustomCall;
  const std::string_view type = custom ? "custom" : "function";
  Put(out, R"("id":"{}","type":"{}","{}":{{"name":)", id, type, type);
  dialect::AppendJsonString(out, answer.tool);
  out += custom ? R"(,"input":)" : R"(,"arguments":)";
  dialect::AppendJsonString(out, payload);
  out += '}';
}

void Chat(const SandboxRequest& request, const json::object& body, SandboxReply& reply) {
  const auto read = ReadChatAsk(body);
  if (!read) return Fail(reply, read.error());
  const SandboxAsk& ask = *read;
  reply.model = ask.model;
  const Produced made = Produce(ask);
  const SandboxAnswer& answer = made.answer;
  const bool is_call = answer.kind != SandboxAnswer::Kind::kText && made.has_item;
  const auto call_id = [&](std::int64_t choice) {
    return MakeId("call_", reply.id, IdFor::kCall, 24, static_cast<std::uint64_t>(choice));
  };
  std::string head;
  Put(head, R"({{"id":"{}","object":"chat.completion{}","created":{},"model":)",
      MakeId("chatcmpl-", reply.id, IdFor::kReply, 28), ask.stream ? ".chunk" : "",
      request.now.ns / 1'000'000'000);
  dialect::AppendJsonString(head, ask.model);
  head += R"(,"service_tier":"default","system_fingerprint":"fp_sandbox","choices":[)";

  if (!ask.stream) {
    std::string& out = reply.body;
    out = head;
    for (std::int64_t choice = 0; choice < ask.choices; ++choice) {
      if (choice > 0) out += ',';
      Put(out, R"({{"index":{},"message":{{"role":"assistant","content":)", choice);
      if (is_call) {
        out += R"(null,"refusal":null,"annotations":[],"tool_calls":[{)";
        PutChatCall(out, answer, call_id(choice), answer.text);
        out += "}]";
      } else {
        dialect::AppendJsonString(out, answer.text);
        out += R"(,"refusal":null,"annotations":[])";
      }
      Put(out, R"(}},"logprobs":null,"finish_reason":"{}"}})", FinishReason(made));
    }
    out += ']';
    if (!request.omit_usage) {
      out += R"(,"usage":)";
      PutChatUsage(out, made.usage);
      reply.usage = made.usage;
    }
    out += '}';
    return;
  }

  reply.pause = answer.pause;
  std::string& out = reply.body;
  // Without the option no chunk may even mention usage: clients index choices[0] of every chunk.
  const bool usage_chunk = ask.include_usage && !request.omit_usage;
  const std::string_view tail = usage_chunk ? "],\"usage\":null}\n\n" : "]}\n\n";
  const auto begin = [&](std::int64_t choice) {
    out += "data: ";
    out += head;
    Put(out, R"({{"index":{},"delta":{{)", choice);
  };
  const auto end = [&](std::string_view finish) {
    out += R"(},"logprobs":null,"finish_reason":)";
    if (finish.empty()) {
      out += "null}";
    } else {
      Put(out, R"("{}"}})", finish);
    }
    out += tail;
    reply.event_ends.push_back(out.size());
  };
  const std::size_t pieces_max =
      std::max<std::size_t>(kSandboxDeltasMax / static_cast<std::size_t>(ask.choices), 1);
  for (std::int64_t choice = 0; choice < ask.choices; ++choice) {
    begin(choice);
    Put(out, R"("role":"assistant","content":{},"refusal":null)", is_call ? "null" : "\"\"");
    end({});
    if (is_call) {
      begin(choice);
      out += R"("tool_calls":[{"index":0,)";
      PutChatCall(out, answer, call_id(choice), {});
      out += "}]";
      end({});
    }
    const bool custom = answer.kind == SandboxAnswer::Kind::kCustomCall;
    EachPiece(answer.text, is_call ? std::min<std::size_t>(pieces_max, 64) : pieces_max,
              [&](std::string_view piece) {
                begin(choice);
                if (is_call) {
                  out += custom ? R"("tool_calls":[{"index":0,"custom":{"input":)"
                                : R"("tool_calls":[{"index":0,"function":{"arguments":)";
                  dialect::AppendJsonString(out, piece);
                  out += "}}]";
                } else {
                  out += R"("content":)";
                  dialect::AppendJsonString(out, piece);
                }
                end({});
              });
  }
  reply.terminal_event = reply.event_ends.size();
  for (std::int64_t choice = 0; choice < ask.choices; ++choice) {
    begin(choice);
    end(FinishReason(made));
  }
  if (usage_chunk) {
    out += "data: ";
    out += head;
    out += R"(],"usage":)";
    PutChatUsage(out, made.usage);
    out += "}\n\n";
    reply.event_ends.push_back(out.size());
    reply.usage = made.usage;
  }
  out += "data: [DONE]\n\n";
  reply.event_ends.push_back(out.size());
}

// ---- the small ones ----

// Number i of an embedding, as sign and a step from 0 to 7: plus or minus (8 + step) / 128. Exact
// both as a decimal of seven places and as a binary32, so both encodings say the same.
struct EmbeddingNumber {
  bool negative = false;
  std::uint32_t step = 0;
};

EmbeddingNumber EmbeddingAt(std::uint64_t hash, std::size_t i) {
  const std::uint64_t bits = HashBytes({}, hash + i);
  return {(bits & 8) != 0, static_cast<std::uint32_t>(bits & 7)};
}

void PutBase64(std::string& out, std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      const auto byte = i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0;
      group = (group << 8) | static_cast<std::uint32_t>(byte);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kAlphabet[(group >> (18 - 6 * j)) & 63] : '=';
    }
  }
}

void PutEmbedding(std::string& out, std::uint64_t hash, std::size_t dimensions, bool base64) {
  if (base64) {
    std::string bytes;
    for (std::size_t i = 0; i < dimensions; ++i) {
      const auto number = EmbeddingAt(hash, i);
      // (8 + step) / 128 = 1.step(eighths) * 2^-4.
      const std::uint32_t bits =
          (number.negative ? 0x80000000u : 0u) | (123u << 23) | (number.step << 20);
      for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((bits >> shift) & 255);
    }
    out += '"';
    PutBase64(out, bytes);
    out += '"';
    return;
  }
  out += '[';
  for (std::size_t i = 0; i < dimensions; ++i) {
    const auto number = EmbeddingAt(hash, i);
    Put(out, "{}{}0.{:07}", i > 0 ? "," : "", number.negative ? "-" : "",
        (8 + number.step) * 78125);
  }
  out += ']';
}

void Embeddings(const SandboxRequest& request, const json::object& body, SandboxReply& reply) {
  const auto bad = [&reply](std::string_view param, std::string_view message) {
    Fail(reply, 400, message, param, "invalid_value");
  };
  const auto model = StringAt(body, "model");
  if (model.empty()) return bad("model", "'model' must be the name of a model.");
  reply.model = model;
  const auto encoding = StringAt(body, "encoding_format");
  if (Find(body, "encoding_format") != nullptr && encoding != "base64" && encoding != "float") {
    return bad("encoding_format", "'encoding_format' must be 'float' or 'base64'.");
  }
  std::int64_t dimensions = 8;
  if (const auto* value = Find(body, "dimensions")) {
    const bool whole = value->is_int64();
    if (!whole || value->get_int64() < 1 || value->get_int64() > kEmbeddingDimensionsMax) {
      return bad("dimensions", "'dimensions' must be an integer from 1 to 3072.");
    }
    dimensions = value->get_int64();
  }
  const auto* input = Find(body, "input");
  if (input == nullptr) return bad("input", "Missing required parameter: 'input'.");
  // One text, or one list of token numbers, or a list of either.
  std::vector<const json::value*> inputs;
  if (input->is_string()) {
    inputs.push_back(input);
  } else if (input->is_array() && !input->get_array().empty()) {
    const auto& list = input->get_array();
    if (list.front().is_number()) {
      inputs.push_back(input);
    } else {
      for (const auto& one : list) inputs.push_back(&one);
    }
  }
  if (inputs.empty() || inputs.size() > kEmbeddingInputsMax) {
    return bad("input", "'input' must be a string or an array of 1 to 2048 of them.");
  }
  if (inputs.size() * static_cast<std::size_t>(dimensions) > kEmbeddingNumbersMax) {
    return bad("input", "The sandbox does not make that many numbers in one reply.");
  }
  std::string list;
  Usage usage{.source = UsageSource::kProvider};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    std::uint64_t hash = 0;
    if (inputs[i]->is_string()) {
      const auto& text = inputs[i]->get_string();
      usage.input_tokens += TokensOfBytes(text.size());
      hash = HashBytes({text.data(), text.size()}, 0);
    } else if (inputs[i]->is_array()) {
      for (const auto& token : inputs[i]->get_array()) {
        if (!token.is_int64() || token.get_int64() < 0) {
          return bad("input", "'input' holds something that is neither text nor a token.");
        }
        hash = HashBytes({}, hash + static_cast<std::uint64_t>(token.get_int64()));
        ++usage.input_tokens;
      }
    } else {
      return bad("input", "'input' holds something that is neither text nor a token.");
    }
    Put(list, R"({}{{"object":"embedding","index":{},"embedding":)", i > 0 ? "," : "", i);
    PutEmbedding(list, hash, static_cast<std::size_t>(dimensions), encoding == "base64");
    list += '}';
  }
  Put(reply.body, R"({{"object":"list","data":[{}],"model":)", list);
  dialect::AppendJsonString(reply.body, model);
  if (!request.omit_usage) {
    Put(reply.body, R"(,"usage":{{"prompt_tokens":{},"total_tokens":{}}})", usage.input_tokens,
        usage.input_tokens);
    reply.usage = usage;
  }
  reply.body += '}';
}

void PutModel(std::string& out, std::string_view id) {
  out += R"({"id":)";
  dialect::AppendJsonString(out, id);
  Put(out, R"(,"object":"model","created":{},"owned_by":"sandbox"}})", kModelCreated);
}

void Models(SandboxReply& reply) {
  reply.body = R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < kModelIds.size(); ++i) {
    if (i > 0) reply.body += ',';
    PutModel(reply.body, kModelIds[i]);
  }
  reply.body += "]}";
}

void Model(std::string_view id, SandboxReply& reply) {
  // Any plain name is a model here; other bytes could not be given back as JSON unchecked.
  const bool plain = std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7F; });
  if (!plain || id.size() > 256) {
    return Fail(reply, 404, "The model does not exist.", "model", "model_not_found");
  }
  PutModel(reply.body, id);
}

void Generate(const SandboxRequest& request, SandboxReply& reply) {
  std::array<unsigned char, 16 << 10> first_block;
  json::monotonic_resource memory(first_block.data(), first_block.size());
  json::error_code failed;
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  const json::value value =
      json::parse({request.body.data(), request.body.size()}, failed, &memory, options);
  if (failed) {
    return Fail(reply, 400,
                "We could not parse the JSON body of your request. (It must be valid JSON, at most "
                "64 levels deep.)",
                {}, "invalid_json");
  }
  const auto* body = value.if_object();
  if (body == nullptr) {
    return Fail(reply, 400, "The request body must be a JSON object.", {}, "invalid_type");
  }
  switch (request.target.operation) {
    case SandboxOperation::kResponses:
      return Responses(request, *body, reply);
    case SandboxOperation::kInputTokens:
      return InputTokens(*body, reply);
    case SandboxOperation::kCompact:
      return Compact(request, *body, reply);
    case SandboxOperation::kChat:
      return Chat(request, *body, reply);
    default:
      return Embeddings(request, *body, reply);
  }
}

}  // namespace

SandboxTarget SandboxTargetOf(std::string_view method, std::string_view path) {
  if (path.starts_with("/openai/")) path.remove_prefix(7);
  if (path.starts_with("/v1/")) path.remove_prefix(3);
  struct Route {
    std::string_view path;
    SandboxOperation operation;
  };
  static constexpr auto kPosts = std::to_array<Route>({
      {"/responses", SandboxOperation::kResponses},
      {"/chat/completions", SandboxOperation::kChat},
      {"/responses/input_tokens", SandboxOperation::kInputTokens},
      {"/responses/compact", SandboxOperation::kCompact},
      {"/audio/transcriptions", SandboxOperation::kTranscription},
      {"/embeddings", SandboxOperation::kEmbeddings},
  });
  for (const auto& route : kPosts) {
    if (route.path != path) continue;
    return {method == "POST" ? route.operation : SandboxOperation::kMethodNotAllowed, {}};
  }
  constexpr std::string_view kModelsPath = "/models";
  if (path == kModelsPath) {
    return {method == "GET" ? SandboxOperation::kModels : SandboxOperation::kMethodNotAllowed, {}};
  }
  if (path.starts_with("/models/") && path.size() > kModelsPath.size() + 1) {
    if (method != "GET") return {SandboxOperation::kMethodNotAllowed, {}};
    return {SandboxOperation::kModel, path.substr(kModelsPath.size() + 1)};
  }
  return {};
}

SandboxReply MakeSandboxReply(const SandboxRequest& request) {
  SandboxReply reply;
  reply.id = HashBytes(request.body, HashBytes(request.target.model, request.seed) +
                                         static_cast<std::uint64_t>(request.target.operation));
  switch (request.target.operation) {
    case SandboxOperation::kModels:
      Models(reply);
      break;
    case SandboxOperation::kModel:
      Model(request.target.model, reply);
      break;
    case SandboxOperation::kTranscription:
      if (const auto refused = MakeTranscript(request, reply)) {
        Fail(reply, 400, refused->message, refused->param, "invalid_value");
      }
      break;
    case SandboxOperation::kUnknownPath:
      Fail(reply, 404, "Unknown request URL. Check the path and the API version", {},
           "unknown_url");
      break;
    case SandboxOperation::kMethodNotAllowed:
      Fail(reply, 405, "This method is not allowed for this URL", {}, "method_not_allowed");
      break;
    default:
      // Boost.JSON is given an error code and checked accessors; what is left to throw is memory.
      try {
        Generate(request, reply);
      } catch (const std::exception&) {
        Fail(reply, 400, "The request body needs too much memory.", {}, "invalid_value");
      }
  }
  return reply;
}

}  // namespace weir::gateway
