#include "dialect/unsupported_parameter.h"

#include <array>

#include "dialect/failure_class.h"
#include "dialect/json_edit.h"
#include "dialect/json_scan.h"
#include "dialect/json_view.h"

namespace weir::dialect {
namespace {

// How messages begin that name one parameter.
//   Unsupported  {"detail":"Unsupported parameter: max_output_tokens"}, a Codex-style backend
//                (RayBytes/ChatMock#103, kortix-ai/suna#5124);
//                "Unsupported parameter: 'temperature' is not supported with this model.", OpenAI,
//                code unsupported_parameter (RA.Aid#70) or null
//                (OpenHands/software-agent-sdk#1837).
//   Unknown      "Unknown parameter: 'input[3].status'.", OpenAI's Responses, code
//                unknown_parameter, param likewise (jcode#1028).
//   Unrecognized "Unrecognized request argument supplied: reasoning_effort" (wechat-acp#16),
//   OpenAI's
//                chat and what is built on it, code null.
// "Unsupported value: 'temperature' does not support 0.2" is not among them: the parameter is known
// and the caller should hear what it may be.
constexpr std::string_view kMessages[] = {
    "Unsupported parameter: ",
    "Unknown parameter: ",
    "Unrecognized request argument supplied: ",
};

constexpr std::string_view kCodes[] = {"unsupported_parameter", "unknown_parameter"};

// Never taken out, nor anything below them. The first line is what the request says, the second
// what it goes on from, the third whether it is kept and the form of the reply.
constexpr std::string_view kKept[] = {
    "model",       "input",     "messages",      "instructions",         "prompt",       "tools",
    "tool_choice", "functions", "function_call", "previous_response_id", "conversation",  //
    "store",       "stream",    "text",          "response_format",
};

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// One step of a path: a member, or an element when `name` is empty.
struct Hop {
  std::string_view name;
  std::size_t index = 0;
};

// Takes the first hop off `path`; false when the path is malformed there.
//   path = name *( "." name / "[" 1*4DIGIT "]" )
bool TakeHop(std::string_view& path, bool first, Hop& hop) {
  if (!first && path.starts_with('[')) {
    constexpr std::size_t kDigitsMax = 4;
    path.remove_prefix(1);
    std::size_t digits = 0;
    std::size_t index = 0;
    while (digits < path.size() && digits < kDigitsMax && path[digits] >= '0' &&
           path[digits] <= '9') {
      index = index * 10 + static_cast<std::size_t>(path[digits++] - '0');
    }
    if (digits == 0 || digits >= path.size() || path[digits] != ']') return false;
    path.remove_prefix(digits + 1);
    hop = {{}, index};
    return true;
  }
  if (!first) {
    if (!path.starts_with('.')) return false;
    path.remove_prefix(1);
  }
  std::size_t length = 0;
  while (length < path.size() && IsNameByte(path[length])) ++length;
  if (length == 0) return false;
  hop = {path.substr(0, length)};
  path.remove_prefix(length);
  return true;
}

// Whether `path` is one that may be taken out.
bool MayDrop(std::string_view path) {
  if (path.empty() || path.size() > kParameterBytesMax || path.ends_with(']')) return false;
  Hop hop;
  for (bool first = true; !path.empty(); first = false) {
    if (!TakeHop(path, first, hop)) return false;
    if (!first) continue;
    for (const std::string_view kept : kKept) {
      if (hop.name == kept) return false;
    }
  }
  return true;
}

std::optional<std::string> Accepted(std::string_view name) {
  if (!MayDrop(name)) return std::nullopt;
  return std::string(name);
}

std::optional<std::string> NamedIn(std::string_view message) {
  for (const std::string_view begin : kMessages) {
    if (!message.starts_with(begin)) continue;
    message.remove_prefix(begin.size());
    if (message.starts_with('\'') || message.starts_with('"') || message.starts_with('`')) {
      const auto close = message.find(message.front(), 1);
      if (close == std::string_view::npos) return std::nullopt;
      return Accepted(message.substr(1, close - 1));
    }
    std::string_view name = message.substr(0, message.find_first_of(" ,;\n"));
    while (name.ends_with('.')) name.remove_suffix(1);
    return Accepted(name);
  }
  return std::nullopt;
}

std::string Text(const JsonMember& member) {
  return KindOf(member.value) == JsonKind::kString ? DecodeJson(InsideQuotes(member.value))
                                                   : std::string();
}

// The stretch to take out so that `member` and one comma beside it are gone.
Edit CutOf(std::string_view body, std::string_view member) {
  const auto from = static_cast<std::size_t>(member.data() - body.data());
  const std::size_t end = from + member.size();
  std::size_t behind = end;
  while (behind < body.size() && IsJsonSpace(body[behind])) ++behind;
  if (behind < body.size() && body[behind] == ',') return {from, behind + 1 - from, {}};
  std::size_t before = from;
  while (before > 0 && IsJsonSpace(body[before - 1])) --before;
  if (before > 0 && body[before - 1] == ',') return {before - 1, end - (before - 1), {}};
  return {from, member.size(), {}};
}

}  // namespace

std::optional<std::string> UnsupportedParameter(std::string_view error_body) {
  if (error_body.size() > kErrorBodyBytesMax || !CheckJson(error_body)) return std::nullopt;
  error_body = TrimJson(error_body);
  if (KindOf(error_body) != JsonKind::kObject) return std::nullopt;
  std::array<JsonMember, 2> top;
  if (!FindMembers(error_body, std::array<std::string_view, 2>{"detail", "error"}, top)) {
    return std::nullopt;
  }
  if (KindOf(top[1].value) != JsonKind::kObject) return NamedIn(Text(top[0]));
  std::array<JsonMember, 3> error;
  if (!FindMembers(top[1].value, std::array<std::string_view, 3>{"message", "code", "param"},
                   error)) {
    return std::nullopt;
  }
  const std::string code = Text(error[1]);
  for (const std::string_view known : kCodes) {
    if (code == known && KindOf(error[2].value) == JsonKind::kString) {
      return Accepted(Text(error[2]));
    }
  }
  return NamedIn(Text(error[0]));
}

std::expected<std::string, std::string> DropMember(std::string_view body, std::string_view path) {
  if (!MayDrop(path)) return std::unexpected("the path is malformed or must stay");
  if (!CheckJson(body)) return std::unexpected("the body is not JSON");
  std::string_view value = TrimJson(body);
  JsonMember member;
  Hop hop;
  for (bool first = true; !path.empty(); first = false) {
    if (!TakeHop(path, first, hop)) return std::unexpected("the path is malformed");
    if (hop.name.empty()) {
      if (KindOf(value) != JsonKind::kArray) return std::unexpected("there is no such array");
      JsonElements elements(value);
      for (std::size_t i = 0; i <= hop.index; ++i) {
        if (!elements.Next(value)) return std::unexpected("there is no such element");
      }
      continue;
    }
    if (KindOf(value) != JsonKind::kObject) return std::unexpected("there is no such object");
    std::array<JsonMember, 1> found;
    if (!FindMembers(value, std::array<std::string_view, 1>{hop.name}, found)) {
      return std::unexpected("the member is there twice");
    }
    member = found[0];
    if (member.value.empty()) return std::unexpected("there is no such member");
    value = member.value;
  }
  return Apply(body, {CutOf(body, member.whole)});
}

}  // namespace weir::dialect
