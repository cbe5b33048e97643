#include "gateway/sandbox_prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>

#include "dialect/json_edit.h"
#include "gateway/sandbox_reply.h"
#include "gateway/sandbox_schema.h"
#include "gateway/sandbox_text.h"

namespace weir::gateway {
namespace {

namespace json = boost::json;
using Status = std::expected<void, SandboxBadRequest>;

constexpr std::size_t kQuoteBytesMax = 400;  // of a tool's result, in the answer

// Tools and words are looked for in each other, so both have bounds of their own: the product is
// what a hostile body could make us do.
constexpr std::size_t kToolsMax = 128;            // OpenAI's bound; those after it are not called
constexpr std::size_t kOrderBytesMax = 16 << 10;  // of the prompt, read for orders
constexpr std::size_t kHintBytesMax = 2 << 10;    // of the prompt, read for name=value

std::string_view View(const json::string& text) { return {text.data(), text.size()}; }

// Null and absent are the same for every optional field.
const json::value* Find(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains({key.data(), key.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::unexpected<SandboxBadRequest> WrongType(std::string param, std::string_view wanted) {
  auto message = fmt::format("Invalid type for '{}': expected {}.", param, wanted);
  return std::unexpected(SandboxBadRequest{std::move(message), std::move(param), "invalid_type"});
}

std::unexpected<SandboxBadRequest> Missing(std::string param) {
  auto message = fmt::format("Missing required parameter: '{}'.", param);
  return std::unexpected(
      SandboxBadRequest{std::move(message), std::move(param), "missing_required_parameter"});
}

std::unexpected<SandboxBadRequest> BadValue(std::string param, std::string_view wanted) {
  auto message = fmt::format("Invalid value for '{}': expected {}.", param, wanted);
  return std::unexpected(SandboxBadRequest{std::move(message), std::move(param), "invalid_value"});
}

Status ReadModel(const json::object& body, SandboxAsk& ask) {
  const auto* model = Find(body, "model");
  if (model == nullptr) return Missing("model");
  if (!model->is_string()) return WrongType("model", "a string");
  ask.model = View(model->get_string());
  if (ask.model.empty()) return BadValue("model", "the name of a model");
  return {};
}

Status ReadBool(const json::object& body, std::string_view key, bool& to) {
  const auto* value = Find(body, key);
  if (value == nullptr) return {};
  if (!value->is_bool()) return WrongType(std::string(key), "a boolean");
  to = value->get_bool();
  return {};
}

// A whole number from 1 to `most`.
Status ReadCount(const json::object& body, std::string_view key, std::int64_t most,
                 std::int64_t& to) {
  const auto* value = Find(body, key);
  if (value == nullptr) return {};
  if (!value->is_int64() && !value->is_uint64()) return WrongType(std::string(key), "an integer");
  json::error_code failed;
  const auto count = value->to_number<std::int64_t>(failed);
  if (failed || count < 1 || count > most) {
    return BadValue(std::string(key), fmt::format("an integer from 1 to {}", most));
  }
  to = count;
  return {};
}

// The last result and the last words of the user are all an answer looks at. Both are bounded
// copies, because their parts may be spread over several strings.
void AppendBounded(std::string& out, std::string_view text) {
  if (out.size() >= kSandboxTextBytesMax) return;
  if (!out.empty()) out += '\n';
  out += Utf8Prefix(text, kSandboxTextBytesMax - std::min(out.size(), kSandboxTextBytesMax));
}

// A message's content or a tool's output: a string, or a list of parts of which the text counts.
Status ReadContent(const json::value& content, const std::string& param, std::string& to) {
  if (content.is_string()) {
    AppendBounded(to, View(content.get_string()));
    return {};
  }
  if (!content.is_array()) return WrongType(param, "a string or an array");
  std::size_t index = 0;
  for (const auto& part : content.get_array()) {
    if (!part.is_object()) return WrongType(fmt::format("{}[{}]", param, index), "an object");
    if (const auto* text = Find(part.get_object(), "text")) {
      if (!text->is_string())
        return WrongType(fmt::format("{}[{}].text", param, index), "a string");
      AppendBounded(to, View(text->get_string()));
    }
    ++index;
  }
  return {};
}

// A tool as both shapes declare it once chat's inner object was taken out. Tools of other types
// (web_search and the like) are somebody else's to run and are passed over.
Status ReadTool(const json::object& tool, bool custom, const std::string& param, SandboxAsk& ask) {
  const auto* name = Find(tool, "name");
  if (name == nullptr) return Missing(param + ".name");
  if (!name->is_string()) return WrongType(param + ".name", "a string");
  const auto* parameters = Find(tool, "parameters");
  if (!custom && parameters != nullptr && !parameters->is_object()) {
    return WrongType(param + ".parameters", "an object");
  }
  if (ask.tools.size() >= kToolsMax) return {};
  ask.tools.push_back({View(name->get_string()), custom, custom ? nullptr : parameters});
  return {};
}

Status ReadTools(const json::value& list, const std::string& param, bool chat, SandboxAsk& ask,
                 int depth = 0) {
  if (!list.is_array()) return WrongType(param, "an array");
  std::size_t index = 0;
  for (const auto& tool : list.get_array()) {
    const auto at = fmt::format("{}[{}]", param, index++);
    if (!tool.is_object()) return WrongType(at, "an object");
    const auto& object = tool.get_object();
    const auto* type = Find(object, "type");
    if (type == nullptr) return Missing(at + ".type");
    if (!type->is_string()) return WrongType(at + ".type", "a string");
    const auto kind = View(type->get_string());
    // Codex groups its tools in namespaces, one level deep.
    if (kind == "namespace" && depth == 0) {
      if (const auto* inner = Find(object, "tools")) {
        if (auto read = ReadTools(*inner, at + ".tools", chat, ask, 1); !read) return read;
      }
      continue;
    }
    if (kind != "function" && kind != "custom") continue;
    const json::object* declared = &object;
    if (chat) {
      const auto* inner = Find(object, kind);
      if (inner == nullptr) return Missing(fmt::format("{}.{}", at, kind));
      if (!inner->is_object()) return WrongType(fmt::format("{}.{}", at, kind), "an object");
      declared = &inner->get_object();
    }
    if (auto read = ReadTool(*declared, kind == "custom", at, ask); !read) return read;
  }
  return {};
}

// "auto" | "none" | "required" | {type: function|custom, name} | {type: allowed_tools, mode,
// tools}; chat puts what follows the type into an object of that name.
Status ReadToolChoice(const json::object& body, bool chat, SandboxAsk& ask) {
  const auto* choice = Find(body, "tool_choice");
  if (choice == nullptr) return {};
  if (choice->is_string()) {
    const auto word = View(choice->get_string());
    if (word == "none") {
      ask.tool_choice = SandboxToolChoice::kNone;
    } else if (word == "required") {
      ask.tool_choice = SandboxToolChoice::kRequired;
    } else if (word != "auto") {
      return BadValue("tool_choice", "'none', 'auto', 'required' or an object");
    }
    return {};
  }
  if (!choice->is_object()) return WrongType("tool_choice", "a string or an object");
  const json::object* named = &choice->get_object();
  const auto type = StringAt(*named, "type");
  if (type.empty()) return Missing("tool_choice.type");
  if (type != "function" && type != "custom" && type != "allowed_tools") return {};
  if (chat) {
    const auto* inner = Find(*named, type);
    if (inner == nullptr || !inner->is_object())
      return Missing(fmt::format("tool_choice.{}", type));
    named = &inner->get_object();
  }
  if (type == "allowed_tools") {
    if (StringAt(*named, "mode") == "required") ask.tool_choice = SandboxToolChoice::kRequired;
    const auto* allowed = Find(*named, "tools");
    if (allowed == nullptr || !allowed->is_array()) return Missing("tool_choice.tools");
    const auto is_allowed = [&](const SandboxTool& tool) {
      return std::ranges::any_of(allowed->get_array(), [&](const json::value& one) {
        const auto* object = one.if_object();
        if (object == nullptr) return false;
        if (StringAt(*object, "name") == tool.name) return true;
        const auto* inner = Find(*object, StringAt(*object, "type"));
        return inner != nullptr && inner->is_object() &&
               StringAt(inner->get_object(), "name") == tool.name;
      });
    };
    std::erase_if(ask.tools, [&](const SandboxTool& tool) { return !is_allowed(tool); });
    return {};
  }
  ask.tool_named = StringAt(*named, "name");
  if (ask.tool_named.empty()) return Missing("tool_choice.name");
  ask.tool_choice = SandboxToolChoice::kNamed;
  if (std::ranges::none_of(ask.tools, [&](const auto& t) { return t.name == ask.tool_named; })) {
    return BadValue("tool_choice", "the name of a tool in 'tools'");
  }
  return {};
}

// {type: text | json_object | json_schema, schema}; chat nests the schema one level deeper.
Status ReadFormat(const json::value& format, const std::string& param, bool chat, SandboxAsk& ask) {
  if (!format.is_object()) return WrongType(param, "an object");
  const json::object* object = &format.get_object();
  const auto type = StringAt(*object, "type");
  if (type.empty()) return Missing(param + ".type");
  if (type == "json_object") ask.json_object = true;
  if (type != "json_schema") return {};
  if (chat) {
    const auto* inner = Find(*object, "json_schema");
    if (inner == nullptr) return Missing(param + ".json_schema");
    if (!inner->is_object()) return WrongType(param + ".json_schema", "an object");
    object = &inner->get_object();
  }
  if (StringAt(*object, "name").empty()) return Missing(param + ".name");
  const auto* schema = Find(*object, "schema");
  if (schema == nullptr) {
    if (!chat) return Missing(param + ".schema");
    ask.json_object = true;
    return {};
  }
  if (!schema->is_object()) return WrongType(param + ".schema", "an object");
  ask.schema = schema;
  return {};
}

bool AsksReasoning(std::string_view effort) { return !effort.empty() && effort != "none"; }

// The models that always reason are named o1, o3 and so on.
bool AlwaysReasons(std::string_view model) {
  return model.size() >= 2 && model[0] == 'o' && model[1] >= '0' && model[1] <= '9';
}

Status ReadInputItems(const json::array& items, SandboxAsk& ask) {
  std::size_t index = 0;
  for (const auto& item : items) {
    const auto at = fmt::format("input[{}]", index++);
    if (!item.is_object()) return WrongType(at, "an object");
    const auto& object = item.get_object();
    const auto* type_value = Find(object, "type");
    if (type_value != nullptr && !type_value->is_string())
      return WrongType(at + ".type", "a string");
    const auto type =
        type_value == nullptr ? std::string_view("message") : View(type_value->get_string());
    ask.compaction = type == "compaction_trigger";
    if (type == "message") {
      const auto* role = Find(object, "role");
      if (role == nullptr) return Missing(at + ".role");
      if (!role->is_string()) return WrongType(at + ".role", "a string");
      const auto* content = Find(object, "content");
      if (content == nullptr) return Missing(at + ".content");
      std::string text;
      if (auto read = ReadContent(*content, at + ".content", text); !read) return read;
      if (View(role->get_string()) == "user") {
        ask.prompt = std::move(text);
        ask.tool_result.reset();
      }
    } else if (type.ends_with("_output")) {
      std::string text;
      if (const auto* output = Find(object, "output")) {
        // Outputs of computer and shell calls are objects; only their being there matters.
        if (output->is_string() || output->is_array()) {
          if (auto read = ReadContent(*output, at + ".output", text); !read) return read;
        } else if (!output->is_object()) {
          return WrongType(at + ".output", "a string or an array");
        }
      }
      ask.tool_result = std::move(text);
    } else if (type == "additional_tools") {
      if (const auto* tools = Find(object, "tools")) {
        if (auto read = ReadTools(*tools, at + ".tools", false, ask); !read) return read;
      }
    }
  }
  return {};
}

Status ReadInput(const json::object& body, SandboxAsk& ask) {
  const auto* input = Find(body, "input");
  if (input == nullptr) {
    // These three stand for an input kept elsewhere.
    for (const auto* other : {"prompt", "previous_response_id", "conversation"}) {
      if (Find(body, other) != nullptr) return {};
    }
    return Missing("input");
  }
  if (input->is_string()) {
    AppendBounded(ask.prompt, View(input->get_string()));
    return {};
  }
  if (!input->is_array()) return WrongType("input", "a string or an array");
  return ReadInputItems(input->get_array(), ask);
}

Status ReadReasoning(const json::object& body, SandboxAsk& ask) {
  ask.reasoning = AlwaysReasons(ask.model);
  if (const auto* reasoning = Find(body, "reasoning")) {
    if (!reasoning->is_object()) return WrongType("reasoning", "an object");
    for (const auto* key : {"effort", "summary"}) {
      const auto* value = Find(reasoning->get_object(), key);
      if (value != nullptr && !value->is_string()) {
        return WrongType(fmt::format("reasoning.{}", key), "a string");
      }
    }
    if (const auto* effort = Find(reasoning->get_object(), "effort")) {
      ask.reasoning = AsksReasoning(View(effort->get_string()));
    }
  }
  if (const auto* include = Find(body, "include")) {
    if (!include->is_array()) return WrongType("include", "an array");
    for (const auto& one : include->get_array()) {
      if (!one.is_string()) return WrongType("include", "an array of strings");
      if (View(one.get_string()) == "reasoning.encrypted_content") ask.encrypted_reasoning = true;
    }
  }
  return {};
}

Status ReadMessages(const json::object& body, SandboxAsk& ask) {
  const auto* messages = Find(body, "messages");
  if (messages == nullptr) return Missing("messages");
  if (!messages->is_array()) return WrongType("messages", "an array");
  if (messages->get_array().empty()) return BadValue("messages", "at least one message");
  std::size_t index = 0;
  for (const auto& message : messages->get_array()) {
    const auto at = fmt::format("messages[{}]", index++);
    if (!message.is_object()) return WrongType(at, "an object");
    const auto& object = message.get_object();
    const auto* role_value = Find(object, "role");
    if (role_value == nullptr) return Missing(at + ".role");
    if (!role_value->is_string()) return WrongType(at + ".role", "a string");
    const auto role = View(role_value->get_string());
    std::string text;
    if (const auto* content = Find(object, "content")) {
      if (auto read = ReadContent(*content, at + ".content", text); !read) return read;
    } else if (role != "assistant") {
      return Missing(at + ".content");
    }
    if (role == "user") {
      ask.prompt = std::move(text);
      ask.tool_result.reset();
    } else if (role == "tool" || role == "function") {
      ask.tool_result = std::move(text);
    }
  }
  return {};
}

// ---- the answer ----

bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

// Where `word` stands in `text` as a whole word, from `from` on.
std::size_t FindWord(std::string_view text, std::string_view word, std::size_t from = 0) {
  if (word.empty()) return std::string_view::npos;
  for (std::size_t at = text.find(word, from); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !IsWordByte(text[at - 1])) && (end == text.size() || !IsWordByte(text[end]))) {
      return at;
    }
  }
  return std::string_view::npos;
}

bool TakePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

struct ExactOrder {
  std::size_t at = 0;      // where it begins in the prompt
  std::string_view reply;  // empty: there is none
};

// "Reply with only: X", "Return only the word X", "Say exactly X" and their kin. `lower` is
// `prompt` in lower case, byte for byte as long.
ExactOrder FindExactOrder(std::string_view prompt, std::string_view lower) {
  static constexpr auto kVerbs = std::to_array<std::string_view>(
      {"reply", "return", "respond", "answer", "say", "output", "print"});
  ExactOrder found;
  std::size_t best = std::string_view::npos;
  for (const auto verb : kVerbs) {
    for (std::size_t at = FindWord(lower, verb); at < best; at = FindWord(lower, verb, at + 1)) {
      std::string_view rest = lower.substr(at + verb.size());
      TakePrefix(rest, " with");
      const bool only = TakePrefix(rest, " only");
      const bool exactly = TakePrefix(rest, " exactly");
      if (!only && !exactly) continue;
      TakePrefix(rest, " with");
      const bool word = TakePrefix(rest, " the word") || TakePrefix(rest, " this word");
      const bool colon = TakePrefix(rest, ":");
      if (!word && !colon && !exactly) continue;
      std::string_view reply = prompt.substr(prompt.size() - rest.size());
      reply = TrimSpace(reply.substr(0, reply.find('\n')));
      if (word) {
        reply = reply.substr(0, reply.find_first_of(" \t"));
        while (!reply.empty() && std::string_view(".!?,;").contains(reply.back())) {
          reply.remove_suffix(1);
        }
      }
      if (reply.size() >= 2 && reply.front() == reply.back() &&
          std::string_view("\"'`").contains(reply.front())) {
        reply = reply.substr(1, reply.size() - 2);
      }
      if (reply.empty()) continue;
      found = {at, reply};
      best = at;
      break;
    }
  }
  return found;
}

constexpr auto kNumberWords = std::to_array<std::string_view>(
    {"zero",     "one",     "two",     "three",     "four",     "five",     "six",
     "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
     "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"});
constexpr std::int64_t kCountMax = 10'000;

struct Number {
  std::int64_t value = 0;
  bool word = false;
};

std::optional<Number> TakeNumber(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && IsWordByte(text[end])) ++end;
  const std::string_view word = text.substr(0, end);
  if (word.empty() || word.size() > 9) return std::nullopt;
  text.remove_prefix(end);
  for (std::size_t i = 0; i < kNumberWords.size(); ++i) {
    if (kNumberWords[i] == word) return Number{static_cast<std::int64_t>(i), true};
  }
  Number number;
  for (const char c : word) {
    if (c < '0' || c > '9') return std::nullopt;
    number.value = number.value * 10 + (c - '0');
  }
  return number;
}

// "count from A to B": the numbers, or nothing.
std::string Count(std::string_view lower) {
  const std::size_t at = FindWord(lower, "count from");
  if (at == std::string_view::npos) return {};
  std::string_view rest = lower.substr(at + std::string_view("count from ").size() - 1);
  if (!TakePrefix(rest, " ")) return {};
  const auto from = TakeNumber(rest);
  if (!from || !TakePrefix(rest, " to ")) return {};
  const auto to = TakeNumber(rest);
  if (!to) return {};
  const bool up = from->value <= to->value;
  if ((up ? to->value - from->value : from->value - to->value) >= kCountMax) return {};
  const bool words = from->word && to->word;
  std::string text;
  for (std::int64_t n = from->value;; n += up ? 1 : -1) {
    if (words) {
      text += kNumberWords[static_cast<std::size_t>(n)];
    } else {
      text += std::to_string(n);
    }
    if (n == to->value) break;
    text += ", ";
  }
  return text;
}

// "a JSON object with status connected": {"status":"connected"}, or nothing.
std::string JsonObjectOrder(std::string_view prompt, std::string_view lower) {
  constexpr std::string_view kOrder = "json object with ";
  const std::size_t at = lower.find(kOrder);
  if (at == std::string_view::npos) return {};
  std::string_view rest = prompt.substr(at + kOrder.size());
  const auto take_word = [&rest] {
    while (!rest.empty() && !IsWordByte(rest.front()) && rest.front() != '\n')
      rest.remove_prefix(1);
    std::size_t end = 0;
    while (end < rest.size() && IsWordByte(rest[end])) ++end;
    const auto word = rest.substr(0, end);
    rest.remove_prefix(end);
    return word;
  };
  const auto key = take_word();
  const auto value = take_word();
  if (key.empty() || value.empty()) return {};
  std::string text = "{";
  dialect::AppendJsonString(text, key);
  text += ':';
  dialect::AppendJsonString(text, value);
  text += '}';
  return text;
}

bool TakesShellCommand(const SandboxTool& tool) {
  const auto* object = tool.parameters != nullptr ? tool.parameters->if_object() : nullptr;
  const auto* properties = object != nullptr ? Find(*object, "properties") : nullptr;
  if (properties == nullptr || !properties->is_object()) return false;
  return properties->get_object().contains("cmd") || properties->get_object().contains("command");
}

// "weather" of get_weather; empty when it is too short to mean anything.
std::string_view LastWord(std::string_view name) {
  const std::size_t at = name.find_last_of("_-.");
  const auto word = at == std::string_view::npos ? name : name.substr(at + 1);
  return word.size() < 3 ? std::string_view() : word;
}

// The tool to call, or null.
const SandboxTool* PickTool(const SandboxAsk& ask, std::string_view lower, bool exact_first) {
  if (ask.tools.empty() || ask.tool_result || ask.tool_choice == SandboxToolChoice::kNone) {
    return nullptr;
  }
  if (ask.tool_choice == SandboxToolChoice::kNamed) {
    for (const auto& tool : ask.tools) {
      if (tool.name == ask.tool_named) return &tool;
    }
  }
  if (ask.tool_choice == SandboxToolChoice::kAuto && exact_first) return nullptr;
  for (const auto& tool : ask.tools) {
    if (FindWord(lower, AsciiLower(tool.name)) != std::string_view::npos) return &tool;
  }
  for (const auto& tool : ask.tools) {
    if (FindWord(lower, AsciiLower(LastWord(tool.name))) != std::string_view::npos) return &tool;
  }
  bool wanted = ask.tool_choice == SandboxToolChoice::kRequired;
  static constexpr auto kWords = std::to_array<std::string_view>(
      {"tool", "tools", "run", "execute", "call", "shell", "command"});
  for (const auto word : kWords) wanted = wanted || FindWord(lower, word) != std::string_view::npos;
  if (!wanted) return nullptr;
  for (const auto& tool : ask.tools) {
    if (TakesShellCommand(tool)) return &tool;
  }
  return &ask.tools.front();
}

std::string DefaultText(const SandboxAsk& ask) {
  if (ask.tool_result) {
    return fmt::format("The tool answered: {}",
                       Utf8Prefix(TrimSpace(*ask.tool_result), kQuoteBytesMax));
  }
  const auto prompt = TrimSpace(ask.prompt);
  const auto line = Utf8Prefix(prompt.substr(0, prompt.find('\n')), 80);
  if (line.empty()) return "This is a synthetic answer from the sandbox. No model was called.";
  return fmt::format("This is a synthetic answer from the sandbox to \"{}\". No model was called.",
                     line);
}

}  // namespace

std::string_view StringAt(const json::object& object, std::string_view key) {
  const auto* value = Find(object, key);
  return value != nullptr && value->is_string() ? View(value->get_string()) : std::string_view();
}

std::int64_t TokensInside(const json::value* value) {
  if (value == nullptr) return 0;
  std::size_t bytes = 0;
  std::vector<const json::value*> left{value};
  while (!left.empty()) {
    const json::value& at = *left.back();
    left.pop_back();
    if (at.is_string()) {
      bytes += at.get_string().size();
    } else if (at.is_array()) {
      for (const auto& one : at.get_array()) left.push_back(&one);
    } else if (at.is_object()) {
      for (const auto& one : at.get_object()) {
        bytes += one.key().size();
        left.push_back(&one.value());
      }
    }
  }
  return TokensOfBytes(bytes);
}

std::expected<SandboxAsk, SandboxBadRequest> ReadResponsesAsk(const json::object& body) {
  SandboxAsk ask;
  constexpr std::int64_t kTokensMax = INT64_MAX;
  Status read = ReadModel(body, ask);
  if (read) read = ReadBool(body, "stream", ask.stream);
  if (read) read = ReadCount(body, "max_output_tokens", kTokensMax, ask.output_tokens_max);
  if (const auto* tools = Find(body, "tools"); read && tools != nullptr) {
    read = ReadTools(*tools, "tools", false, ask);
  }
  if (read) read = ReadInput(body, ask);
  if (read) read = ReadToolChoice(body, false, ask);
  if (read) read = ReadReasoning(body, ask);
  if (const auto* text = Find(body, "text"); read && text != nullptr) {
    if (!text->is_object()) return WrongType("text", "an object");
    if (const auto* format = Find(text->get_object(), "format")) {
      read = ReadFormat(*format, "text.format", false, ask);
    }
  }
  if (!read) return std::unexpected(std::move(read.error()));
  ask.input_tokens = TokensInside(Find(body, "input")) + TokensInside(Find(body, "instructions")) +
                     TokensInside(Find(body, "tools"));
  return ask;
}

std::expected<SandboxAsk, SandboxBadRequest> ReadChatAsk(const json::object& body) {
  SandboxAsk ask;
  Status read = ReadModel(body, ask);
  if (read) read = ReadBool(body, "stream", ask.stream);
  if (read) read = ReadCount(body, "max_tokens", INT64_MAX, ask.output_tokens_max);
  if (read) read = ReadCount(body, "max_completion_tokens", INT64_MAX, ask.output_tokens_max);
  if (read) read = ReadCount(body, "n", kSandboxChoicesMax, ask.choices);
  if (const auto* options = Find(body, "stream_options"); read && options != nullptr) {
    if (!options->is_object()) return WrongType("stream_options", "an object");
    if (!ask.stream) {
      return std::unexpected(SandboxBadRequest{
          "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
          "stream_options", "invalid_value"});
    }
    read = ReadBool(options->get_object(), "include_usage", ask.include_usage);
  }
  if (const auto* tools = Find(body, "tools"); read && tools != nullptr) {
    read = ReadTools(*tools, "tools", true, ask);
  }
  if (read) read = ReadMessages(body, ask);
  if (read) read = ReadToolChoice(body, true, ask);
  ask.reasoning = AlwaysReasons(ask.model);
  if (const auto* effort = Find(body, "reasoning_effort"); read && effort != nullptr) {
    if (!effort->is_string()) return WrongType("reasoning_effort", "a string");
    ask.reasoning = AsksReasoning(View(effort->get_string()));
  }
  if (const auto* format = Find(body, "response_format"); read && format != nullptr) {
    read = ReadFormat(*format, "response_format", true, ask);
  }
  if (!read) return std::unexpected(std::move(read.error()));
  ask.input_tokens = TokensInside(Find(body, "messages")) + TokensInside(Find(body, "tools"));
  return ask;
}

SandboxAnswer AnswerAsk(const SandboxAsk& ask) {
  SandboxAnswer answer;
  const std::string_view prompt = Utf8Prefix(ask.prompt, kOrderBytesMax);
  const std::string_view hint = Utf8Prefix(ask.prompt, kHintBytesMax);
  const std::string lower = AsciiLower(prompt);
  const ExactOrder exact = FindExactOrder(prompt, lower);
  const bool echo = ask.prompt.starts_with("ECHO:");
  // "Please" may come before it.
  const bool exact_first = echo || (!exact.reply.empty() && exact.at <= 7);
  if (const SandboxTool* tool = PickTool(ask, lower, exact_first)) {
    answer.tool = tool->name;
    if (tool->custom) {
      answer.kind = SandboxAnswer::Kind::kCustomCall;
      answer.text = "echo weir-sandbox";
    } else {
      answer.kind = SandboxAnswer::Kind::kFunctionCall;
      answer.text = MinimalJson(tool->parameters, {hint, TakesShellCommand(*tool)});
    }
    return answer;
  }
  if (ask.schema != nullptr) {
    answer.text = MinimalJson(ask.schema, {hint, false});
    return answer;
  }
  if (FindWord(lower, "slowly") != std::string_view::npos) answer.pause = kSandboxSlowPause;
  if (std::string object = JsonObjectOrder(prompt, lower); !object.empty()) {
    answer.text = std::move(object);
  } else if (ask.json_object) {
    answer.text = R"({"ok":true})";
  } else if (!exact.reply.empty()) {
    answer.text = exact.reply;
  } else if (echo) {
    answer.text = std::string_view(ask.prompt).substr(5);
  } else if (std::string numbers = Count(lower); !numbers.empty()) {
    answer.text = std::move(numbers);
  } else {
    answer.text = DefaultText(ask);
  }
  return answer;
}

}  // namespace weir::gateway
