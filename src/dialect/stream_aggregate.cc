#include "dialect/stream_aggregate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "dialect/json_edit.h"
#include "dialect/json_view.h"

// Not on the path of a stream that is passed on, so maps are fine here. Texts are kept as the
// insides of JSON strings, escapes as they came: joining two of them is joining their texts, and
// half a surrogate pair at a cut finds its other half.

namespace weir::dialect {
namespace {

// What an entry of a map costs besides its text; an upstream could send a million empty ones.
constexpr std::size_t kEntryBytes = 256;
constexpr std::int64_t kIndexMax = 1 << 20;

std::optional<std::int64_t> Index(std::string_view value) {
  std::int64_t index = 0;
  const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), index);
  if (code != std::errc() || end != value.data() + value.size()) return std::nullopt;
  if (index < 0 || index > kIndexMax) return std::nullopt;
  return index;
}

bool IsObject(std::string_view value) { return KindOf(value) == JsonKind::kObject; }
bool IsArray(std::string_view value) { return KindOf(value) == JsonKind::kArray; }
bool IsString(std::string_view value) { return KindOf(value) == JsonKind::kString; }
bool IsNull(std::string_view value) { return KindOf(value) == JsonKind::kNull; }

// The values of the named members, empty where absent; nothing when one is there twice.
template <std::size_t kCount>
std::optional<std::array<std::string_view, kCount>> Values(
    std::string_view object, const std::array<std::string_view, kCount>& names) {
  std::array<JsonMember, kCount> found;
  if (!FindMembers(object, names, found)) return std::nullopt;
  std::array<std::string_view, kCount> values;
  for (std::size_t i = 0; i < kCount; ++i) values[i] = found[i].value;
  return values;
}

void AppendItem(std::string& out, std::string_view text) {
  if (out.back() != '[' && out.back() != '{') out += ',';
  out += text;
}

void AppendMember(std::string& out, std::string_view name, std::string_view value) {
  AppendItem(out, "\"");
  out.append(name).append("\":").append(value);
}

void AppendTextMember(std::string& out, std::string_view name, std::string_view inside) {
  AppendItem(out, "\"");
  out.append(name).append("\":\"").append(inside).append("\"");
}

struct Replacement {
  std::string_view name;
  std::string value;
};

// `object` with the members' values replaced where they stand, and those it has not behind.
std::string WithValues(std::string_view object, const std::vector<Replacement>& values) {
  std::string out = "{";
  std::size_t size = object.size();
  for (const auto& each : values) size += each.value.size() + each.name.size() + 4;
  out.reserve(size);
  std::vector<bool> placed(values.size());
  JsonMembers members(object);
  JsonMember member;
  while (members.Next(member)) {
    std::size_t i = 0;
    while (i < values.size() && !JsonTextIs(member.name, values[i].name)) ++i;
    if (i == values.size()) {
      AppendItem(out, member.whole);
    } else if (!placed[i]) {
      placed[i] = true;
      AppendMember(out, values[i].name, values[i].value);
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!placed[i]) AppendMember(out, values[i].name, values[i].value);
  }
  out += '}';
  return out;
}

// ---- Responses

// What of an item comes in pieces.
enum class Part : std::uint8_t {
  kText,
  kRefusal,
  kArguments,
  kToolInput,
  kSummary,
  kReasoning,
  kWhole,  // a content part that came whole: its JSON, not a string's inside
};

// Events called NAME.delta, with `delta`, and NAME.done, with the whole. Evidence: OpenAI's
// specification 2.3.0 and recorded streams; reasoning_text comes from open-weight servers.
struct PartEvents {
  std::string_view name;
  Part part;
  std::string_view index;  // the member that tells one part of an item from another
  std::string_view whole;  // of .done
};

constexpr PartEvents kPartEvents[] = {
    {"response.output_text", Part::kText, "content_index", "text"},
    {"response.refusal", Part::kRefusal, "content_index", "refusal"},
    {"response.function_call_arguments", Part::kArguments, "content_index", "arguments"},
    {"response.custom_tool_call_input", Part::kToolInput, "content_index", "input"},
    {"response.reasoning_summary_text", Part::kSummary, "summary_index", "text"},
    {"response.reasoning_text", Part::kReasoning, "content_index", "text"},
};

struct Item {
  std::string done;   // the item of response.output_item.done
  std::string added;  // of response.output_item.added, while there is no `done`
  std::string id;     // item_id of a piece, a JSON string
  std::map<std::pair<std::int64_t, Part>, std::string> parts;

  std::size_t held() const {
    std::size_t bytes = kEntryBytes + done.size() + added.size() + id.size();
    for (const auto& [key, text] : parts) bytes += kEntryBytes + text.size();
    return bytes;
  }
};

// The item as its pieces tell it. `status` is a JSON string.
std::string FromPieces(const Item& item, std::string_view status) {
  std::string content = "[";
  std::string summary = "[";
  std::string thoughts = "[";
  const std::string* arguments = nullptr;
  const std::string* tool_input = nullptr;
  for (const auto& [key, text] : item.parts) {
    // A content part that came whole has the text, and its annotations with it.
    const bool whole = item.parts.contains({key.first, Part::kWhole});
    switch (key.second) {
      case Part::kText:
        if (whole) break;
        AppendItem(content, R"({"type":"output_text","annotations":[],"text":")");
        content.append(text).append("\"}");
        break;
      case Part::kRefusal:
        if (whole) break;
        AppendItem(content, R"({"type":"refusal","refusal":")");
        content.append(text).append("\"}");
        break;
      case Part::kReasoning:
        if (whole) break;
        AppendItem(thoughts, R"({"type":"reasoning_text","text":")");
        thoughts.append(text).append("\"}");
        break;
      case Part::kWhole:
        AppendItem(content, text);
        break;
      case Part::kSummary:
        AppendItem(summary, R"({"type":"summary_text","text":")");
        summary.append(text).append("\"}");
        break;
      case Part::kArguments:
        arguments = &text;
        break;
      case Part::kToolInput:
        tool_input = &text;
        break;
    }
  }
  const bool has_content = content.size() > 1;
  const bool has_summary = summary.size() > 1;
  const bool has_thoughts = thoughts.size() > 1;
  std::string base = item.added;
  const std::string_view type = arguments != nullptr          ? "function_call"
                                : tool_input != nullptr       ? "custom_tool_call"
                                : has_summary || has_thoughts ? "reasoning"
                                                              : "message";
  std::vector<Replacement> values;
  if (base.empty()) {
    base = "{}";
    if (!item.id.empty()) values.push_back({"id", item.id});
    values.push_back({"type", std::string("\"").append(type).append("\"")});
    if (type == "message") values.push_back({"role", "\"assistant\""});
    if (type == "reasoning" && !has_summary) values.push_back({"summary", "[]"});
  }
  const auto had = Values(base, std::array<std::string_view, 1>{"status"});
  if (item.added.empty() ? type != "reasoning" : had && !(*had)[0].empty()) {
    values.push_back({"status", std::string(status)});
  }
  if (has_content) values.push_back({"content", std::move(content.append("]"))});
  if (has_thoughts && !has_content) values.push_back({"content", std::move(thoughts.append("]"))});
  if (has_summary) values.push_back({"summary", std::move(summary.append("]"))});
  const auto quoted = [](const std::string& inside) { return "\"" + inside + "\""; };
  if (arguments != nullptr) values.push_back({"arguments", quoted(*arguments)});
  if (tool_input != nullptr) values.push_back({"input", quoted(*tool_input)});
  return WithValues(base, values);
}

// ---- chat

struct ToolCall {
  std::string id, type, name;  // JSON values
  std::string arguments;       // the inside of a string
  bool custom = false;         // {"type":"custom","custom":{"name","input"}}
};

// Text that is null until a piece of it came.
struct OptionalText {
  std::string inside;
  bool given = false;
};

struct Choice {
  std::string role;
  OptionalText content, refusal, reasoning_content, reasoning;
  std::map<std::int64_t, ToolCall> tool_calls;
  OptionalText function_name, function_arguments;  // the older function_call
  std::string logprobs_content, logprobs_refusal;  // elements with commas between them
  bool has_logprobs = false;
  std::string finish_reason;
  // Members of a delta that we do not know, the last value of each: name's inside, JSON.
  std::map<std::string, std::string, std::less<>> others;
};

}  // namespace

struct StreamAggregate::State {
  State(Dialect family, Options given) : dialect(family), options(std::move(given)) {}

  Dialect dialect;
  Options options;
  bool ended = false;
  bool incomplete = false;  // Responses: response.incomplete
  std::optional<AggregateError> error;
  std::size_t held = 0;
  std::int64_t malformed = 0;

  std::string response;  // Responses: of the terminal event
  std::map<std::int64_t, Item> items;

  std::map<std::int64_t, Choice> choices;
  std::string id, created, model, fingerprint, tier, usage;  // chat: JSON values

  void Fail(AggregateFailure failure, UpstreamErrorText text = {}) {
    error = AggregateError{failure, std::move(text)};
    response.clear();
    items.clear();
    choices.clear();
    held = 0;
  }

  void FailAsSaid(const SseEvent& event) {
    StreamMeter meter(dialect);
    meter.OnEvent(event);
    Fail(AggregateFailure::kUpstream, meter.error());
  }

  // Replaces a kept text, in the account too.
  void Keep(std::string& kept, std::string_view text) {
    held -= kept.size();
    kept = text;
    held += kept.size();
  }

  void Append(std::string& kept, std::string_view text) {
    kept += text;
    held += text.size();
  }

  void Append(OptionalText& kept, std::string_view value) {
    if (!IsString(value)) return;
    kept.given = true;
    Append(kept.inside, InsideQuotes(value));
  }

  void OnResponsesEvent(const SseEvent& event);
  void OnTerminal(const SseEvent& event, bool valid);
  void OnPiece(std::string_view data, const PartEvents& kind, bool whole);
  void OnContentPart(std::string_view data);
  void OnItem(std::string_view data, bool done);
  Item& ItemAt(std::int64_t index);
  // The index an event gives, or the one it must mean when it gives none.
  std::optional<std::int64_t> ItemIndex(std::string_view value, bool added) const;
  std::string WriteResponse();

  void OnChatEvent(const SseEvent& event);
  bool OnChoice(std::string_view choice);
  bool OnDelta(Choice& choice, std::string_view delta);
  bool OnToolCall(Choice& choice, std::string_view call);
  bool OnLogprobs(Choice& choice, std::string_view logprobs);
  std::string WriteCompletion() const;
};

// ---- Responses

Item& StreamAggregate::State::ItemAt(std::int64_t index) {
  const auto [at, added] = items.try_emplace(index);
  if (added) held += kEntryBytes;
  return at->second;
}

std::optional<std::int64_t> StreamAggregate::State::ItemIndex(std::string_view value,
                                                              bool added) const {
  if (!value.empty()) return Index(value);
  if (items.empty()) return 0;
  const auto& [last, item] = *items.rbegin();
  return added || !item.done.empty() ? last + 1 : last;
}

void StreamAggregate::State::OnItem(std::string_view data, bool done) {
  const auto found = Values(data, std::array<std::string_view, 2>{"output_index", "item"});
  const auto index = found ? ItemIndex((*found)[0], !done) : std::nullopt;
  if (!index || !IsObject((*found)[1])) {
    ++malformed;
    return;
  }
  Item& item = ItemAt(*index);
  if (!item.done.empty()) return;
  if (!done) {
    Keep(item.added, (*found)[1]);
    return;
  }
  // The whole is there: its pieces are not needed any more.
  held -= item.held();
  item = Item{.done = std::string((*found)[1]), .added = {}, .id = {}, .parts = {}};
  held += item.held();
}

void StreamAggregate::State::OnPiece(std::string_view data, const PartEvents& kind, bool whole) {
  const auto found =
      Values(data, std::array<std::string_view, 4>{"output_index", "item_id", kind.index,
                                                   whole ? kind.whole : "delta"});
  const auto index = found ? ItemIndex((*found)[0], false) : std::nullopt;
  const auto part_index =
      found && !(*found)[2].empty() ? Index((*found)[2]) : std::optional<std::int64_t>(0);
  if (!index || !part_index || !IsString((*found)[3])) {
    ++malformed;
    return;
  }
  Item& item = ItemAt(*index);
  if (!item.done.empty()) return;
  if (item.id.empty() && IsString((*found)[1])) Keep(item.id, (*found)[1]);
  const auto [at, added] = item.parts.try_emplace({*part_index, kind.part});
  if (added) held += kEntryBytes;
  const std::string_view text = InsideQuotes((*found)[3]);
  if (whole) {
    Keep(at->second, text);
  } else {
    Append(at->second, text);
  }
}

void StreamAggregate::State::OnContentPart(std::string_view data) {
  const auto found = Values(
      data, std::array<std::string_view, 4>{"output_index", "item_id", "content_index", "part"});
  const auto index = found ? ItemIndex((*found)[0], false) : std::nullopt;
  const auto part_index =
      found && !(*found)[2].empty() ? Index((*found)[2]) : std::optional<std::int64_t>(0);
  if (!index || !part_index || !IsObject((*found)[3])) {
    ++malformed;
    return;
  }
  Item& item = ItemAt(*index);
  if (!item.done.empty()) return;
  if (item.id.empty() && IsString((*found)[1])) Keep(item.id, (*found)[1]);
  const auto [at, added] = item.parts.try_emplace({*part_index, Part::kWhole});
  if (added) held += kEntryBytes;
  Keep(at->second, (*found)[3]);
}

void StreamAggregate::State::OnTerminal(const SseEvent& event, bool valid) {
  const std::string_view data = TrimJson(event.data);
  const auto found = valid && IsObject(data)
                         ? Values(data, std::array<std::string_view, 1>{"response"})
                         : std::nullopt;
  if (!found || !IsObject((*found)[0])) {
    Fail(AggregateFailure::kMalformed);
    return;
  }
  Keep(response, (*found)[0]);
  ended = true;
}

void StreamAggregate::State::OnResponsesEvent(const SseEvent& event) {
  const std::string_view data = TrimJson(event.data);
  if (data == "[DONE]") return;  // not of this family, but some servers send it
  const bool valid = CheckJson(data).has_value() && IsObject(data);
  std::string type(event.type);
  if (valid) {
    const auto found = Values(data, std::array<std::string_view, 2>{"type", "error"});
    if (found && IsString((*found)[0])) type = DecodeJson(InsideQuotes((*found)[0]));
    if (type == "error" || (!type.starts_with("response.") && found && !IsNull((*found)[1]))) {
      FailAsSaid(event);
      return;
    }
  }
  if (type == "response.failed") return FailAsSaid(event);
  if (type == "response.completed" || type == "response.incomplete") {
    incomplete = type == "response.incomplete";
    return OnTerminal(event, valid);
  }
  if (!valid) {
    ++malformed;
    return;
  }
  if (type == "response.output_item.done") return OnItem(data, true);
  if (type == "response.output_item.added") return OnItem(data, false);
  if (type == "response.content_part.done") return OnContentPart(data);
  for (const auto& kind : kPartEvents) {
    if (!type.starts_with(kind.name)) continue;
    const std::string_view ending = std::string_view(type).substr(kind.name.size());
    if (ending == ".delta") return OnPiece(data, kind, false);
    if (ending == ".done") return OnPiece(data, kind, true);
  }
}

std::string StreamAggregate::State::WriteResponse() {
  const auto found =
      Values(response, std::array<std::string_view, 4>{"output", "object", "status", "model"});
  if (!found) return {};
  const auto& [output, object, status, model_value] = *found;
  const std::string_view ending = incomplete ? "\"incomplete\"" : "\"completed\"";
  std::vector<Replacement> values;
  if (IsNull(object)) values.push_back({"object", "\"response\""});
  if (IsNull(status)) values.push_back({"status", std::string(ending)});
  std::string_view element;
  const bool has_output = IsArray(output) && JsonElements(output).Next(element);
  if (!has_output && (!items.empty() || !IsArray(output))) {
    std::string rebuilt = "[";
    for (const auto& [index, item] : items) {
      AppendItem(rebuilt, item.done.empty() ? FromPieces(item, ending) : item.done);
    }
    values.push_back({"output", std::move(rebuilt.append("]"))});
  }
  if (!options.model.empty()) {
    std::string text;
    AppendJsonString(text, options.model);
    values.push_back({"model", std::move(text)});
  }
  return values.empty() ? std::move(response) : WithValues(response, values);
}

// ---- chat

void StreamAggregate::State::OnChatEvent(const SseEvent& event) {
  const std::string_view data = TrimJson(event.data);
  if (data == "[DONE]") {
    ended = true;
    return;
  }
  const auto found =
      CheckJson(data).has_value() && IsObject(data)
          ? Values(data, std::array<std::string_view, 8>{"error", "id", "created", "model",
                                                         "system_fingerprint", "service_tier",
                                                         "usage", "choices"})
          : std::nullopt;
  if (!found) {
    ++malformed;
    return;
  }
  const auto& value = *found;
  if (!IsNull(value[0])) return FailAsSaid(event);
  std::string* const firsts[] = {&id, &created, &model, &fingerprint};
  for (std::size_t i = 0; i < std::size(firsts); ++i) {
    if (firsts[i]->empty() && !IsNull(value[i + 1])) Keep(*firsts[i], value[i + 1]);
  }
  if (!IsNull(value[5])) Keep(tier, value[5]);
  if (IsObject(value[6])) Keep(usage, value[6]);
  if (!IsArray(value[7])) return;
  JsonElements elements(value[7]);
  std::string_view element;
  bool taken = true;
  while (elements.Next(element)) taken &= IsObject(element) && OnChoice(element);
  if (!taken) ++malformed;
}

bool StreamAggregate::State::OnChoice(std::string_view choice) {
  const auto found = Values(
      choice, std::array<std::string_view, 4>{"index", "delta", "logprobs", "finish_reason"});
  if (!found) return false;
  const auto& [index_value, delta, logprobs, finish] = *found;
  const auto index = index_value.empty() ? std::optional<std::int64_t>(0) : Index(index_value);
  if (!index || *index >= kChoicesMax) return false;
  const auto [at, added] = choices.try_emplace(*index);
  if (added) held += kEntryBytes * 4;
  if (!IsNull(finish)) Keep(at->second.finish_reason, finish);
  bool taken = true;
  if (IsObject(logprobs)) taken &= OnLogprobs(at->second, logprobs);
  if (IsObject(delta)) taken &= OnDelta(at->second, delta);
  return taken;
}

bool StreamAggregate::State::OnLogprobs(Choice& choice, std::string_view logprobs) {
  const auto found = Values(logprobs, std::array<std::string_view, 2>{"content", "refusal"});
  if (!found) return false;
  choice.has_logprobs = true;
  std::string* const lists[] = {&choice.logprobs_content, &choice.logprobs_refusal};
  for (std::size_t i = 0; i < std::size(lists); ++i) {
    if (!IsArray((*found)[i])) continue;
    JsonElements elements((*found)[i]);
    std::string_view element;
    while (elements.Next(element)) {
      if (!lists[i]->empty()) Append(*lists[i], ",");
      Append(*lists[i], element);
    }
  }
  return true;
}

bool StreamAggregate::State::OnDelta(Choice& choice, std::string_view delta) {
  JsonMembers members(delta);
  JsonMember member;
  bool taken = true;
  while (members.Next(member)) {
    if (IsNull(member.value)) continue;
    if (JsonTextIs(member.name, "role")) {
      if (choice.role.empty()) Keep(choice.role, member.value);
    } else if (JsonTextIs(member.name, "content")) {
      Append(choice.content, member.value);
    } else if (JsonTextIs(member.name, "refusal")) {
      Append(choice.refusal, member.value);
    } else if (JsonTextIs(member.name, "reasoning_content")) {
      Append(choice.reasoning_content, member.value);
    } else if (JsonTextIs(member.name, "reasoning")) {
      Append(choice.reasoning, member.value);
    } else if (JsonTextIs(member.name, "tool_calls")) {
      if (!IsArray(member.value)) return false;
      JsonElements calls(member.value);
      std::string_view call;
      while (calls.Next(call)) taken &= IsObject(call) && OnToolCall(choice, call);
    } else if (JsonTextIs(member.name, "function_call")) {
      const auto found =
          IsObject(member.value)
              ? Values(member.value, std::array<std::string_view, 2>{"name", "arguments"})
              : std::nullopt;
      if (!found) return false;
      Append(choice.function_name, (*found)[0]);
      Append(choice.function_arguments, (*found)[1]);
    } else if (!member.name.contains('\\')) {  // else two spellings could name one member twice
      auto at = choice.others.find(member.name);
      if (at == choice.others.end()) {
        at = choice.others.emplace(std::string(member.name), std::string()).first;
        held += kEntryBytes + member.name.size();
      }
      Keep(at->second, member.value);
    }
  }
  return taken;
}

bool StreamAggregate::State::OnToolCall(Choice& choice, std::string_view call) {
  const auto found =
      Values(call, std::array<std::string_view, 5>{"index", "id", "type", "function", "custom"});
  if (!found) return false;
  const auto& [index_value, call_id, type, function, custom] = *found;
  std::optional<std::int64_t> index;
  if (!index_value.empty()) {
    index = Index(index_value);
  } else {
    // Some servers number no calls: an id begins a new one.
    const std::int64_t last = choice.tool_calls.empty() ? -1 : choice.tool_calls.rbegin()->first;
    index = IsString(call_id) || last < 0 ? last + 1 : last;
  }
  if (!index) return false;
  const auto [at, added] = choice.tool_calls.try_emplace(*index);
  if (added) held += kEntryBytes;
  ToolCall& kept = at->second;
  if (kept.id.empty() && IsString(call_id)) Keep(kept.id, call_id);
  if (kept.type.empty() && IsString(type)) Keep(kept.type, type);
  kept.custom |= IsObject(custom);
  const std::string_view inner = IsObject(custom) ? custom : function;
  if (!IsObject(inner)) return true;
  const auto said = Values(
      inner, std::array<std::string_view, 2>{"name", IsObject(custom) ? "input" : "arguments"});
  if (!said) return false;
  if (kept.name.empty() && IsString((*said)[0])) Keep(kept.name, (*said)[0]);
  if (IsString((*said)[1])) Append(kept.arguments, InsideQuotes((*said)[1]));
  return true;
}

std::string StreamAggregate::State::WriteCompletion() const {
  const auto text_or_null = [](std::string& out, std::string_view name, const OptionalText& text,
                               bool given) {
    if (given) {
      AppendTextMember(out, name, text.inside);
    } else {
      AppendMember(out, name, "null");
    }
  };
  const auto or_else = [](const std::string& value, std::string_view other) {
    return value.empty() ? other : std::string_view(value);
  };
  std::string out = "{";
  out.reserve(held + 512);
  AppendMember(out, "id", or_else(id, "null"));
  AppendMember(out, "object", "\"chat.completion\"");
  AppendMember(out, "created", or_else(created, "0"));
  if (options.model.empty()) {
    AppendMember(out, "model", or_else(model, "null"));
  } else {
    AppendMember(out, "model", "");
    AppendJsonString(out, options.model);
  }
  AppendMember(out, "choices", "[");
  for (const auto& [index, choice] : choices) {
    AppendItem(out, "{");
    AppendMember(out, "index", std::to_string(index));
    AppendMember(out, "message", "{");
    AppendMember(out, "role", or_else(choice.role, "\"assistant\""));
    // With calls alone the first delta's empty text stands for none: OpenAI's JSON says null.
    const bool calls = !choice.tool_calls.empty() || choice.function_name.given;
    text_or_null(out, "content", choice.content,
                 choice.content.given && (!calls || !choice.content.inside.empty()));
    text_or_null(out, "refusal", choice.refusal, choice.refusal.given);
    if (choice.reasoning_content.given) {
      AppendTextMember(out, "reasoning_content", choice.reasoning_content.inside);
    }
    if (choice.reasoning.given) AppendTextMember(out, "reasoning", choice.reasoning.inside);
    for (const auto& [name, value] : choice.others) AppendMember(out, name, value);
    if (!choice.tool_calls.empty()) {
      AppendMember(out, "tool_calls", "[");
      for (const auto& [call_index, call] : choice.tool_calls) {
        AppendItem(out, "{");
        AppendMember(out, "id", or_else(call.id, "null"));
        AppendMember(out, "type", or_else(call.type, call.custom ? "\"custom\"" : "\"function\""));
        AppendMember(out, call.custom ? "custom" : "function", "{");
        AppendMember(out, "name", or_else(call.name, "\"\""));
        AppendTextMember(out, call.custom ? "input" : "arguments", call.arguments);
        out += "}}";
      }
      out += ']';
    }
    if (choice.function_name.given) {
      AppendMember(out, "function_call", "{");
      AppendTextMember(out, "name", choice.function_name.inside);
      AppendTextMember(out, "arguments", choice.function_arguments.inside);
      out += '}';
    }
    out += '}';
    if (choice.has_logprobs) {
      AppendMember(out, "logprobs", "{");
      AppendMember(out, "content", "[");
      out.append(choice.logprobs_content).append("]");
      AppendMember(out, "refusal", choice.logprobs_refusal.empty() ? "null" : "[");
      if (!choice.logprobs_refusal.empty()) out.append(choice.logprobs_refusal).append("]");
      out += '}';
    } else {
      AppendMember(out, "logprobs", "null");
    }
    AppendMember(out, "finish_reason", or_else(choice.finish_reason, "null"));
    out += '}';
  }
  out += ']';
  if (!usage.empty()) AppendMember(out, "usage", usage);
  if (!tier.empty()) AppendMember(out, "service_tier", tier);
  if (!fingerprint.empty()) AppendMember(out, "system_fingerprint", fingerprint);
  out += '}';
  return out;
}

bool LooksLikeEventStream(std::string_view content_type, std::string_view first_bytes) {
  constexpr std::string_view kType = "text/event-stream";
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  const std::string_view type = content_type.substr(0, kType.size());
  if (std::ranges::equal(type, kType, {}, lower)) return true;
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (first_bytes.starts_with(kByteOrderMark)) first_bytes.remove_prefix(kByteOrderMark.size());
  first_bytes = TrimJson(first_bytes);
  return first_bytes.starts_with("data:") || first_bytes.starts_with("event:") ||
         first_bytes.starts_with(':');
}

StreamAggregate::StreamAggregate(Dialect dialect, Options options)
    : state_(std::make_unique<State>(dialect, std::move(options))) {
  CHECK(IsOpenAi(dialect), "only the OpenAI families are aggregated");
}
StreamAggregate::~StreamAggregate() = default;
StreamAggregate::StreamAggregate(StreamAggregate&&) noexcept = default;
StreamAggregate& StreamAggregate::operator=(StreamAggregate&&) noexcept = default;

bool StreamAggregate::Add(const SseEvent& event) {
  State& state = *state_;
  if (state.ended || state.error) return false;
  if (!event.has_data) return true;
  if (state.dialect == Dialect::kOpenAiResponses) {
    state.OnResponsesEvent(event);
  } else {
    state.OnChatEvent(event);
  }
  if (state.held > state.options.bytes_max) {
    state.ended = false;
    state.Fail(AggregateFailure::kTooLarge);
  }
  return !state.ended && !state.error;
}

std::expected<std::string, AggregateError> StreamAggregate::Finish() {
  State& state = *state_;
  if (state.error) return std::unexpected(std::move(*state.error));
  if (!state.ended) return std::unexpected(AggregateError{AggregateFailure::kNoTerminal, {}});
  if (state.dialect == Dialect::kOpenAiResponses) {
    std::string text = state.WriteResponse();
    if (!text.empty()) return text;
  } else if (!state.choices.empty()) {
    return state.WriteCompletion();
  }
  return std::unexpected(AggregateError{AggregateFailure::kMalformed, {}});
}

std::int64_t StreamAggregate::malformed_events() const { return state_->malformed; }

std::size_t StreamAggregate::held_bytes() const { return state_->held; }

}  // namespace weir::dialect
