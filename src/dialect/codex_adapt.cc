#include "dialect/codex_adapt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>

#include "dialect/json_edit.h"
#include "dialect/json_view.h"

// Sources, named beside the rules: CRS is claude-relay-service (openaiRoutes.js,
// requestBodyRuleService.js), S2A is sub2api (openai_codex_transform.go), both read in 2026; issues
// are on GitHub. Left out on purpose: CRS overwrites `instructions` with a vendor's prompt, and
// both set a vendor's client headers. CRS also drops `text` and `service_tier`; real Codex sends
// both to that backend, and without `text` a caller loses its structured output, so both profiles
// keep them.

namespace weir::dialect {
namespace {

using enum AdaptAction;
using enum AdaptScope;

constexpr AdaptRule kRules[] = {
    // ---- dropped: the backend answers 400 {"detail":"Unsupported parameter: max_output_tokens"}
    // (RayBytes/ChatMock#103, kortix-ai/suna#5124, 9router#812) and likewise for the others.
    {"temperature", kDrop, kStrict},             // CRS, S2A
    {"top_p", kDrop, kStrict},                   // CRS, S2A
    {"max_output_tokens", kDrop, kStrict},       // CRS, S2A; the issues above
    {"prompt_cache_retention", kDrop, kStrict},  // CRS, S2A
    {"user", kDrop, kStrict},                    // CRS, S2A
    {"text_formatting", kDrop, kStrict},         // CRS
    {"truncation", kDrop, kStrict},              // CRS, S2A
    {"safety_identifier", kDrop, kStrict},       // CRS, S2A
    {"max_completion_tokens", kDrop, kStrict},   // S2A
    {"frequency_penalty", kDrop, kStrict},       // S2A
    {"presence_penalty", kDrop, kStrict},        // S2A

    // ---- forced: "Store must be set to false" (openai/codex#26173); the backend only streams, the
    // reply is put together again for a caller that did not ask for a stream (stream_aggregate).
    {"store", kForce, kStrict, "false"},  // CRS, S2A
    {"stream", kForce, kStrict, "true"},  // S2A

    // ---- /responses/compact knows neither (S2A).
    {"store", kDrop, kCompact},
    {"stream", kDrop, kCompact},

    // ---- the model: white space and a router's `vendor/` are no part of its name; the effort that
    // clients hide behind the name (gpt-5.4-high, 9router#560) goes where the API has a place for
    // it. An effort that the caller set stays (S2A, CRS).
    {"model", kRewrite, kBoth, "plain_name", AdaptStep::kPlainModel},
    {"model", kRewrite, kBoth, "effort_suffix", AdaptStep::kEffortSuffix},

    // ---- tools as chat completions writes them, old and new (S2A): Responses refuses these forms.
    // A function without a name can never be called, and one of them fails the whole request.
    {"functions", kRewrite, kBoth, "tools", AdaptStep::kFunctionsToTools},
    {"function_call", kRewrite, kBoth, "tool_choice", AdaptStep::kFunctionCallToToolChoice},
    {"tools", kRewrite, kBoth, "flat", AdaptStep::kFlatTools},
    {"tools", kDrop, kBoth, "nameless", AdaptStep::kNamelessTools},
    {"tool_choice", kRewrite, kBoth, "flat", AdaptStep::kFlatToolChoice},

    // ---- input: the backend wants a list, and no role `system` in it (S2A).
    {"input", kRewrite, kStrict, "message_list", AdaptStep::kInputToList},
    {"input", kRewrite, kStrict, "system_to_instructions", AdaptStep::kSystemToInstructions},
    {"instructions", kDefault, kStrict, "\"You are a helpful coding assistant.\""},  // S2A

    // ---- items: a result names its call by call_id alone. With store:false an id means nothing to
    // the backend: 404 "Item with id 'rs_...' not found. Items are not persisted when `store` is
    // set
    // to false" (opencode#7724, CLIProxyAPI#999). Ids stay where a tool's result continues a turn,
    // because calls and results are matched by them (S2A).
    {"input", kRewrite, kBoth, "call_ids", AdaptStep::kCallIds},
    {"input", kDrop, kStrict, "item_references", AdaptStep::kItemReferences},
    {"input", kDrop, kStrict, "item_ids", AdaptStep::kItemIds},
};

using Step = std::expected<bool, ShapeError>;  // whether something was changed

std::unexpected<ShapeError> Bad(std::string_view param, std::string_view what) {
  return std::unexpected(ShapeError{Refusal::kInvalidRequest,
                                    fmt::format("Invalid value for '{}': {}", param, what),
                                    std::string(param)});
}

std::unexpected<ShapeError> Twice(std::string_view param) {
  return Bad(param, "a member is there twice");
}

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

// Whether the inside of a string stands for white space alone, or nothing.
bool IsBlankInside(std::string_view inside) {
  while (!inside.empty()) {
    if (IsBlank(inside.front())) {
      inside.remove_prefix(1);
    } else if (inside.starts_with("\\n") || inside.starts_with("\\r") ||
               inside.starts_with("\\t")) {
      inside.remove_prefix(2);
    } else {
      return false;
    }
  }
  return true;
}

bool IsFullString(std::string_view value) {
  return KindOf(value) == JsonKind::kString && !IsBlankInside(InsideQuotes(value));
}

bool StringIs(std::string_view value, std::string_view text) {
  return KindOf(value) == JsonKind::kString && JsonTextIs(InsideQuotes(value), text);
}

// The top level of a body: its members as they came, and what became of them.
class Document {
 public:
  // REQUIRES text that CheckJson took. Fails when it is no object or a member is there twice.
  static std::expected<Document, ShapeError> Read(std::string_view body);

  // The value; empty when the member is not there. Valid until the member is set.
  std::string_view Get(std::string_view name) const {
    const Entry* const entry = Find(name);
    if (entry == nullptr) return {};
    return entry->replaced ? std::string_view(entry->text) : entry->raw.value;
  }

  void Set(std::string_view name, std::string text) {
    Entry* entry = const_cast<Entry*>(Find(name));
    if (entry == nullptr) {
      entries_.push_back({.name = name, .raw = {.whole = {}, .name = name, .value = {}}});
      entry = &entries_.back();
    }
    entry->text = std::move(text);
    entry->replaced = true;
  }

  void Drop(std::string_view name) {
    if (const Entry* const entry = Find(name); entry != nullptr) {
      const_cast<Entry*>(entry)->gone = true;
    }
  }

  // What the rules on items need to know first, found in one pass once `input` is a list, so that
  // most of them need no pass of their own. Rules only ever take away from it.
  struct Items {
    bool continuation = false;  // results of tools, or an earlier reply: ids have a meaning
    bool system = false;        // a role `system`
    bool no_call_id = false;    // an item that may lack a call_id
    bool reference = false;     // an item that may be a reference
    bool id = false;
  };
  std::expected<Items, ShapeError> Survey();

  std::string Write(std::size_t size_hint) const;

 private:
  struct Entry {
    std::string_view name;  // decoded
    JsonMember raw;
    std::string text = {};  // the value, when it was replaced
    bool replaced = false;
    bool gone = false;
  };

  const Entry* Find(std::string_view name) const {
    for (const auto& entry : entries_) {
      if (!entry.gone && entry.name == name) return &entry;
    }
    return nullptr;
  }

  std::deque<Entry> entries_;        // a deque: views into `text` stay when another is added
  std::deque<std::string> decoded_;  // names that had escapes
  std::optional<Items> items_;
};

std::expected<Document, ShapeError> Document::Read(std::string_view body) {
  body = TrimJson(body);
  if (KindOf(body) != JsonKind::kObject) {
    return std::unexpected(
        ShapeError{Refusal::kInvalidJson, "The request body must be a JSON object", {}});
  }
  Document document;
  JsonMembers members(body);
  JsonMember member;
  while (members.Next(member)) {
    if (document.entries_.size() == kAdaptMembersMax) {
      return std::unexpected(
          ShapeError{Refusal::kInvalidRequest,
                     fmt::format("The request has more than {} members", kAdaptMembersMax),
                     {}});
    }
    std::string_view name = member.name;
    if (name.contains('\\')) name = document.decoded_.emplace_back(DecodeJson(name));
    document.entries_.push_back({.name = name, .raw = member});
  }
  std::vector<std::string_view> names;
  names.reserve(document.entries_.size());
  for (const auto& entry : document.entries_) names.push_back(entry.name);
  std::ranges::sort(names);
  if (std::ranges::adjacent_find(names) != names.end()) {
    return std::unexpected(
        ShapeError{Refusal::kInvalidRequest, "A member of the request is there twice", {}});
  }
  return document;
}

std::string Document::Write(std::size_t size_hint) const {
  std::string text;
  text.reserve(size_hint);
  text += '{';
  for (const auto& entry : entries_) {
    if (entry.gone) continue;
    if (text.size() > 1) text += ',';
    if (entry.replaced) {
      text.append("\"").append(entry.raw.name).append("\":").append(entry.text);
    } else {
      text += entry.raw.whole;
    }
  }
  text += '}';
  return text;
}

// Takes "function_call_output", "custom_tool_call_output", ... (S2A's list by its endings).
bool IsToolOutput(std::string_view type) {
  return type.ends_with("_call_output") || type == "tool_search_output";
}

// Whether an item is a call or a result that are matched by call_id. The calls left out run at the
// vendor and have no call_id.
bool HasCallId(std::string_view type) {
  if (IsToolOutput(type)) return true;
  if (!type.ends_with("_call")) return false;
  for (const std::string_view hosted : {"web_search_call", "file_search_call", "mcp_call",
                                        "code_interpreter_call", "image_generation_call"}) {
    if (type == hosted) return false;
  }
  return true;
}

// The type of an item; empty when it has none or it is no text.
std::string TypeOf(std::string_view value) {
  return KindOf(value) == JsonKind::kString ? DecodeJson(InsideQuotes(value)) : std::string();
}

std::expected<Document::Items, ShapeError> Document::Survey() {
  if (items_) return *items_;
  Items all;
  all.continuation = IsFullString(Get("previous_response_id"));
  const std::string_view input = Get("input");
  if (KindOf(input) == JsonKind::kArray) {
    JsonElements items(input);
    std::string_view item;
    while (items.Next(item)) {
      if (KindOf(item) != JsonKind::kObject) continue;
      std::array<JsonMember, 4> found;
      if (!FindMembers(item, std::array<std::string_view, 4>{"type", "role", "id", "call_id"},
                       found)) {
        return Twice("input");
      }
      const std::string type = TypeOf(found[0].value);
      const bool id = !found[2].value.empty();
      all.continuation |= IsToolOutput(type);
      all.system |= StringIs(found[1].value, "system");
      all.no_call_id |= id && !IsFullString(found[3].value) && HasCallId(type);
      all.reference |= type == "item_reference" || (id && type.empty() && found[1].value.empty());
      all.id |= id;
    }
  }
  items_ = all;
  return all;
}

// `object` without the members in `without`, which are of this object or empty, and with the
// members in `added`, ready written, behind the others.
std::string Rebuilt(std::string_view object, std::span<const JsonMember> without,
                    std::string_view added) {
  std::string text;
  text.reserve(object.size() + added.size() + 1);
  text += '{';
  JsonMembers members(object);
  JsonMember member;
  while (members.Next(member)) {
    const bool gone = std::ranges::any_of(without, [&member](const JsonMember& other) {
      return other.whole.data() == member.whole.data();
    });
    if (gone) continue;
    if (text.size() > 1) text += ',';
    text += member.whole;
  }
  if (!added.empty()) {
    if (text.size() > 1) text += ',';
    text += added;
  }
  text += '}';
  return text;
}

enum class Fate : std::uint8_t { kKeep, kReplace, kDrop };
using FateOrError = std::expected<Fate, ShapeError>;

// The array after `decide(element, replacement)` was asked of each element; nothing when it kept
// them all. Elements that stay keep their bytes.
template <class Decide>
std::expected<std::optional<std::string>, ShapeError> MapElements(std::string_view array,
                                                                  Decide decide) {
  std::optional<std::string> out;
  std::string replacement;
  std::string_view element;
  const auto add = [&out](std::string_view text) {
    if (out->size() > 1) *out += ',';
    *out += text;
  };
  std::size_t kept = 0;  // before the first change
  JsonElements elements(array);
  while (elements.Next(element)) {
    replacement.clear();
    const FateOrError fate = decide(element, replacement);
    if (!fate) return std::unexpected(fate.error());
    if (!out) {
      if (*fate == Fate::kKeep) {
        ++kept;
        continue;
      }
      out.emplace("[").reserve(array.size());
      JsonElements again(array);
      std::string_view before;
      for (; kept > 0 && again.Next(before); --kept) add(before);
    }
    if (*fate == Fate::kKeep) add(element);
    if (*fate == Fate::kReplace) add(replacement);
  }
  if (out) *out += ']';
  return out;
}

// Runs `decide` over the objects of an array member; anything else is left to the upstream.
template <class Decide>
Step MapObjects(Document& document, std::string_view name, Decide decide) {
  const std::string_view array = document.Get(name);
  if (KindOf(array) != JsonKind::kArray) return false;
  auto mapped =
      MapElements(array, [&decide](std::string_view element, std::string& text) -> FateOrError {
        if (KindOf(element) != JsonKind::kObject) return Fate::kKeep;
        return decide(element, text);
      });
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  if (!*mapped) return false;
  document.Set(name, std::move(**mapped));
  return true;
}

Step PlainModel(Document& document) {
  const std::string_view value = document.Get("model");
  if (value.empty()) return false;
  if (KindOf(value) != JsonKind::kString) return Bad("model", "expected a string");
  const std::string decoded = DecodeJson(InsideQuotes(value));
  std::string_view plain = Trimmed(decoded);
  if (const auto slash = plain.rfind('/'); slash != std::string_view::npos) {
    const std::string_view behind = Trimmed(plain.substr(slash + 1));
    if (!behind.empty()) plain = behind;
  }
  if (plain == decoded || plain.empty()) return false;
  std::string text;
  AppendJsonString(text, plain);
  document.Set("model", std::move(text));
  return true;
}

Step EffortSuffix(Document& document) {
  const std::string_view value = document.Get("model");
  if (KindOf(value) != JsonKind::kString) return false;
  const std::string decoded = DecodeJson(InsideQuotes(value));
  std::string_view base = decoded;
  std::string_view effort;
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view suffix : {"-none", "-low", "-medium", "-high", "-xhigh"}) {
      if (!base.ends_with(suffix)) continue;
      const auto shorter = Trimmed(base.substr(0, base.size() - suffix.size()));
      if (shorter.empty()) continue;
      base = shorter;
      if (effort.empty()) effort = suffix.substr(1);  // the last one, where there are several
      found = true;
    }
  }
  if (effort.empty()) return false;
  const std::string_view reasoning = document.Get("reasoning");
  std::string member = fmt::format("\"effort\":\"{}\"", effort);
  if (KindOf(reasoning) == JsonKind::kObject) {
    std::array<JsonMember, 1> set;
    if (!FindMembers(reasoning, std::array<std::string_view, 1>{"effort"}, set)) {
      return Twice("reasoning");
    }
    if (KindOf(set[0].value) == JsonKind::kNull) {
      document.Set("reasoning", Rebuilt(reasoning, set, member));
    }
  } else if (KindOf(reasoning) == JsonKind::kNull) {
    document.Set("reasoning", fmt::format("{{{}}}", member));
  } else {
    return Bad("reasoning", "expected an object");
  }
  std::string text;
  AppendJsonString(text, base);
  document.Set("model", std::move(text));
  return true;
}

Step FunctionsToTools(Document& document) {
  const std::string_view functions = document.Get("functions");
  if (functions.empty()) return false;
  if (KindOf(functions) == JsonKind::kNull) {
    document.Drop("functions");
    return true;
  }
  if (KindOf(functions) != JsonKind::kArray) return Bad("functions", "expected an array");
  const std::string_view tools = document.Get("tools");
  std::string text = "[";
  text.reserve(functions.size() + tools.size() + 64);
  const auto add = [&text](std::string_view tool) {
    if (text.size() > 1) text += ',';
    text += tool;
  };
  std::string_view element;
  if (KindOf(tools) == JsonKind::kArray) {
    JsonElements had(tools);
    while (had.Next(element)) add(element);
  } else if (KindOf(tools) != JsonKind::kNull) {
    return Bad("tools", "expected an array");
  }
  JsonElements elements(functions);
  while (elements.Next(element)) {
    if (KindOf(element) != JsonKind::kObject) return Bad("functions", "expected objects");
    std::array<JsonMember, 1> type;
    if (!FindMembers(element, std::array<std::string_view, 1>{"type"}, type)) {
      return Twice("functions");
    }
    add(Rebuilt(element, type, "\"type\":\"function\""));
  }
  text += ']';
  document.Drop("functions");
  document.Set("tools", std::move(text));
  return true;
}

Step FunctionCallToToolChoice(Document& document) {
  const std::string_view call = document.Get("function_call");
  if (call.empty()) return false;
  // A tool_choice says the same in the newer word, so it wins.
  const bool chosen = KindOf(document.Get("tool_choice")) != JsonKind::kNull;
  if (KindOf(call) == JsonKind::kString) {
    if (!chosen) document.Set("tool_choice", std::string(call));
  } else if (KindOf(call) == JsonKind::kObject) {
    std::array<JsonMember, 1> name;
    if (!FindMembers(call, std::array<std::string_view, 1>{"name"}, name)) {
      return Twice("function_call");
    }
    if (!chosen && IsFullString(name[0].value)) {
      document.Set("tool_choice",
                   fmt::format("{{\"type\":\"function\",\"name\":{}}}", name[0].value));
    }
  } else if (KindOf(call) != JsonKind::kNull) {
    return Bad("function_call", "expected a string or an object");
  }
  document.Drop("function_call");
  return true;
}

// {"type":"function","function":{...}} without the inner object: its name, description, parameters
// and strict move out, where the outer one has none.
FateOrError FlatFunction(std::string_view param, std::string_view object, std::string& text) {
  constexpr std::array<std::string_view, 6> kOuter = {"type",        "function",   "name",
                                                      "description", "parameters", "strict"};
  std::array<JsonMember, 6> outer;
  if (!FindMembers(object, kOuter, outer)) return Twice(param);
  if (!StringIs(outer[0].value, "function") || KindOf(outer[1].value) != JsonKind::kObject) {
    return Fate::kKeep;
  }
  const std::span<const std::string_view> names = std::span(kOuter).subspan(2);
  std::array<JsonMember, 4> inner;
  if (!FindMembers(outer[1].value, names, inner)) return Twice(param);
  std::array<JsonMember, 5> without;
  without[0] = outer[1];
  std::string added;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string_view had = outer[i + 2].value;
    const bool usable = i == 0 ? IsFullString(had) : KindOf(had) != JsonKind::kNull;
    if (usable || inner[i].value.empty()) continue;
    without[i + 1] = outer[i + 2];
    if (!added.empty()) added += ',';
    added.append("\"").append(names[i]).append("\":").append(inner[i].value);
  }
  text = Rebuilt(object, without, added);
  return Fate::kReplace;
}

Step FlatTools(Document& document) {
  return MapObjects(document, "tools", [](std::string_view tool, std::string& text) {
    return FlatFunction("tools", tool, text);
  });
}

Step NamelessTools(Document& document) {
  return MapObjects(document, "tools", [](std::string_view tool, std::string&) -> FateOrError {
    std::array<JsonMember, 2> found;
    if (!FindMembers(tool, std::array<std::string_view, 2>{"type", "name"}, found)) {
      return Twice("tools");
    }
    const bool nameless = StringIs(found[0].value, "function") && !IsFullString(found[1].value);
    return nameless ? Fate::kDrop : Fate::kKeep;
  });
}

Step FlatToolChoice(Document& document) {
  const std::string_view choice = document.Get("tool_choice");
  if (KindOf(choice) != JsonKind::kObject) return false;
  std::string text;
  const FateOrError fate = FlatFunction("tool_choice", choice, text);
  if (!fate) return std::unexpected(fate.error());
  if (*fate == Fate::kKeep) return false;
  document.Set("tool_choice", std::move(text));
  return true;
}

Step InputToList(Document& document) {
  const std::string_view input = document.Get("input");
  if (KindOf(input) != JsonKind::kString) return false;
  document.Set("input",
               IsFullString(input)
                   ? fmt::format(R"([{{"type":"message","role":"user","content":{}}}])", input)
                   : std::string("[]"));
  return true;
}

// The text of a message's content, as the inside of a string; nothing when it has parts that are
// not text, which instructions cannot hold.
std::optional<std::string> TextOfContent(std::string_view content) {
  if (KindOf(content) == JsonKind::kString) return std::string(InsideQuotes(content));
  if (KindOf(content) != JsonKind::kArray) return std::nullopt;
  std::string text;
  JsonElements parts(content);
  std::string_view part;
  while (parts.Next(part)) {
    if (KindOf(part) != JsonKind::kObject) return std::nullopt;
    std::array<JsonMember, 2> found;
    if (!FindMembers(part, std::array<std::string_view, 2>{"type", "text"}, found)) {
      return std::nullopt;
    }
    const std::string_view type = found[0].value;
    if (!StringIs(type, "input_text") && !StringIs(type, "text") &&
        !StringIs(type, "output_text")) {
      return std::nullopt;
    }
    if (KindOf(found[1].value) != JsonKind::kString) return std::nullopt;
    text += InsideQuotes(found[1].value);
  }
  return text;
}

// System messages move in front of the instructions. One with an image or file becomes a developer
// message, which the backend takes: nothing the caller said is lost.
Step SystemToInstructions(Document& document) {
  const auto items = document.Survey();
  if (!items) return std::unexpected(items.error());
  if (!items->system) return false;
  std::string texts;
  const auto add = [&texts](std::string_view inside) {
    if (IsBlankInside(inside)) return;
    if (!texts.empty()) texts += "\\n\\n";
    texts += inside;
  };
  const Step changed = MapObjects(
      document, "input", [&add](std::string_view item, std::string& text) -> FateOrError {
        std::array<JsonMember, 3> found;
        if (!FindMembers(item, std::array<std::string_view, 3>{"type", "role", "content"}, found)) {
          return Twice("input");
        }
        const bool message =
            KindOf(found[0].value) == JsonKind::kNull || StringIs(found[0].value, "message");
        if (!message || !StringIs(found[1].value, "system")) return Fate::kKeep;
        if (const auto said = TextOfContent(found[2].value); said) {
          add(*said);
          return Fate::kDrop;
        }
        text = Rebuilt(item, std::span(found).subspan(1, 1), "\"role\":\"developer\"");
        return Fate::kReplace;
      });
  if (!changed || texts.empty()) return changed;
  const std::string_view instructions = document.Get("instructions");
  if (KindOf(instructions) == JsonKind::kString) {
    add(InsideQuotes(instructions));
  } else if (KindOf(instructions) != JsonKind::kNull) {
    return Bad("instructions", "expected a string");
  }
  document.Set("instructions", fmt::format("\"{}\"", texts));
  return true;
}

Step CallIds(Document& document) {
  const auto items = document.Survey();
  if (!items) return std::unexpected(items.error());
  if (!items->no_call_id) return false;
  return MapObjects(document, "input", [](std::string_view item, std::string& text) -> FateOrError {
    std::array<JsonMember, 3> found;
    if (!FindMembers(item, std::array<std::string_view, 3>{"type", "id", "call_id"}, found)) {
      return Twice("input");
    }
    if (KindOf(found[0].value) != JsonKind::kString || IsFullString(found[2].value) ||
        !IsFullString(found[1].value) || !HasCallId(DecodeJson(InsideQuotes(found[0].value)))) {
      return Fate::kKeep;
    }
    text = Rebuilt(item, std::span(found).subspan(2, 1),
                   fmt::format("\"call_id\":{}", found[1].value));
    return Fate::kReplace;
  });
}

Step ItemReferences(Document& document) {
  const auto items = document.Survey();
  if (!items) return std::unexpected(items.error());
  if (items->continuation || !items->reference) return false;
  return MapObjects(document, "input", [](std::string_view item, std::string&) -> FateOrError {
    std::array<JsonMember, 3> found;
    if (!FindMembers(item, std::array<std::string_view, 3>{"type", "role", "id"}, found)) {
      return Twice("input");
    }
    // OpenAI's specification lets a reference leave out its type.
    const bool untyped = KindOf(found[0].value) == JsonKind::kNull && found[1].value.empty() &&
                         IsFullString(found[2].value);
    return untyped || StringIs(found[0].value, "item_reference") ? Fate::kDrop : Fate::kKeep;
  });
}

Step ItemIds(Document& document) {
  const auto items = document.Survey();
  if (!items) return std::unexpected(items.error());
  if (!items->id) return false;
  const bool continuation = items->continuation;
  return MapObjects(
      document, "input", [continuation](std::string_view item, std::string& text) -> FateOrError {
        std::array<JsonMember, 3> found;
        if (!FindMembers(item, std::array<std::string_view, 3>{"type", "id", "encrypted_content"},
                         found)) {
          return Twice("input");
        }
        if (found[1].value.empty()) return Fate::kKeep;
        // Reasoning that does not carry its content is looked up by its id, and is never found.
        const bool looked_up =
            StringIs(found[0].value, "reasoning") && !IsFullString(found[2].value);
        if (continuation && !looked_up) return Fate::kKeep;
        text = Rebuilt(item, std::span(found).subspan(1, 1), {});
        return Fate::kReplace;
      });
}

Step ApplyStep(const AdaptRule& rule, Document& document) {
  switch (rule.step) {
    case AdaptStep::kPlainModel:
      return PlainModel(document);
    case AdaptStep::kEffortSuffix:
      return EffortSuffix(document);
    case AdaptStep::kFunctionsToTools:
      return FunctionsToTools(document);
    case AdaptStep::kFunctionCallToToolChoice:
      return FunctionCallToToolChoice(document);
    case AdaptStep::kFlatTools:
      return FlatTools(document);
    case AdaptStep::kNamelessTools:
      return NamelessTools(document);
    case AdaptStep::kFlatToolChoice:
      return FlatToolChoice(document);
    case AdaptStep::kInputToList:
      return InputToList(document);
    case AdaptStep::kSystemToInstructions:
      return SystemToInstructions(document);
    case AdaptStep::kCallIds:
      return CallIds(document);
    case AdaptStep::kItemReferences:
      return ItemReferences(document);
    case AdaptStep::kItemIds:
      return ItemIds(document);
    case AdaptStep::kWhole:
      break;
  }
  const std::string_view value = document.Get(rule.member);
  switch (rule.action) {
    case kDrop:
      if (value.empty()) return false;
      document.Drop(rule.member);
      return true;
    case kForce:
      if (value == rule.value) return false;
      break;
    case kDefault:
      if (IsFullString(value)) return false;
      if (KindOf(value) != JsonKind::kNull && KindOf(value) != JsonKind::kString) {
        return Bad(rule.member, "expected a string");
      }
      break;
    case kRewrite:
      return false;
  }
  document.Set(rule.member, std::string(rule.value));
  return true;
}

bool Applies(AdaptScope scope, AdaptProfile profile, AdaptEndpoint endpoint) {
  if (endpoint == AdaptEndpoint::kResponsesCompact) return scope == kCompact;
  return scope == kBoth || (scope == kStrict && profile == AdaptProfile::kResponsesStrict);
}

std::string NameOfChange(const AdaptRule& rule) {
  switch (rule.action) {
    case kDrop:
      return rule.value.empty() ? fmt::format("drop:{}", rule.member)
                                : fmt::format("drop:{}={}", rule.member, rule.value);
    case kForce:
      return fmt::format("force:{}={}", rule.member, rule.value);
    case kDefault:
      return fmt::format("default:{}", rule.member);
    case kRewrite:
      return fmt::format("rewrite:{}={}", rule.member, rule.value);
  }
  return std::string(rule.member);
}

// The element that a segment names, or nothing when it is a name.
std::optional<std::size_t> IndexOf(std::string_view segment) {
  constexpr std::size_t kDigitsMax = 4;
  if (segment.empty() || segment.size() > kDigitsMax) return std::nullopt;
  std::size_t index = 0;
  for (const char c : segment) {
    if (c < '0' || c > '9') return std::nullopt;
    index = index * 10 + static_cast<std::size_t>(c - '0');
  }
  return index;
}

// `text` with its part `old`, a view into it, replaced.
std::string WithPart(std::string_view text, std::string_view old, std::string_view replacement) {
  const auto at = static_cast<std::size_t>(old.data() - text.data());
  std::string out;
  out.reserve(text.size() - old.size() + replacement.size());
  out.append(text.substr(0, at)).append(replacement).append(text.substr(at + old.size()));
  return out;
}

// `value`, which is empty when absent, with `set` at `path`. Recursive over the operator's path, at
// most kPayloadPathMax deep, never over the body.
std::expected<std::string, ShapeError> WithValueAt(std::string_view value,
                                                   std::span<const std::string> path,
                                                   std::string_view set) {
  if (path.empty()) return std::string(set);
  const std::string& segment = path.front();
  const auto rest = path.subspan(1);
  const auto index = IndexOf(segment);
  const auto no_way = [&segment] {
    return Bad(segment, "a payload rule of this API key does not fit the request");
  };
  const JsonKind kind = KindOf(value);
  std::string_view old;
  if (kind == JsonKind::kObject) {
    std::array<JsonMember, 1> found;
    if (!FindMembers(value, std::array<std::string_view, 1>{segment}, found)) return Twice(segment);
    old = found[0].value;
  } else if (kind == JsonKind::kArray) {
    if (!index) return no_way();
    JsonElements elements(value);
    std::size_t count = 0;
    while (count <= *index && elements.Next(old)) ++count;
    if (count < *index) return no_way();
    if (count == *index) old = {};  // it becomes the next one
  } else if (kind != JsonKind::kNull || (index && *index != 0)) {
    return no_way();
  }
  auto inner = WithValueAt(old, rest, set);
  if (!inner) return inner;
  if (!old.empty()) return WithPart(value, old, *inner);
  if (kind == JsonKind::kObject) {
    return Rebuilt(value, {}, fmt::format("\"{}\":{}", segment, *inner));
  }
  if (kind == JsonKind::kArray) {
    std::string text(value);
    text.pop_back();
    if (text.find_first_not_of(" \t\r\n", 1) != std::string::npos) text += ',';
    return text.append(*inner).append("]");
  }
  if (index) return fmt::format("[{}]", *inner);
  return fmt::format("{{\"{}\":{}}}", segment, *inner);
}

Step ApplyPayloadRule(const PayloadRule& rule, Document& document) {
  if (rule.path.empty()) return false;
  const std::string& member = rule.path.front();
  const std::string_view old = document.Get(member);
  auto text = WithValueAt(old, std::span(rule.path).subspan(1), rule.value);
  // Whoever reads this did not write the rule: it is named whole.
  if (!text) return Bad(PathText(rule), "a payload rule of this API key does not fit the request");
  if (*text == old) return false;
  document.Set(member, std::move(*text));
  return true;
}

}  // namespace

std::span<const AdaptRule> AdaptRules() { return kRules; }

std::expected<AdaptedBody, ShapeError> AdaptForCodex(std::string_view body, AdaptProfile profile,
                                                     AdaptEndpoint endpoint,
                                                     std::span<const PayloadRule> rules) {
  if (auto checked = CheckJson(body); !checked) return std::unexpected(std::move(checked.error()));
  auto document = Document::Read(body);
  if (!document) return std::unexpected(std::move(document.error()));
  AdaptedBody adapted;
  for (const auto& rule : kRules) {
    if (!Applies(rule.scope, profile, endpoint)) continue;
    const Step changed = ApplyStep(rule, *document);
    if (!changed) return std::unexpected(changed.error());
    if (*changed) adapted.changes.push_back(NameOfChange(rule));
  }
  if (endpoint == AdaptEndpoint::kResponses) {
    for (const auto& rule : rules) {
      const Step changed = ApplyPayloadRule(rule, *document);
      if (!changed) return std::unexpected(changed.error());
      if (*changed) {
        adapted.changes.push_back("rule:" + PathText(rule));
      }
    }
  }
  adapted.text = adapted.changes.empty() ? std::string(body) : document->Write(body.size() + 256);
  return adapted;
}

bool IsCodexClient(std::string_view user_agent) {
  return user_agent.starts_with("codex_vscode/") || user_agent.starts_with("codex_cli_rs/") ||
         user_agent.starts_with("codex_exec/");
}

}  // namespace weir::dialect
