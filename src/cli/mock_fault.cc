#include "cli/mock_fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <iterator>

#include "dialect/json_edit.h"
#include "gateway/sandbox_text.h"

namespace weir::cli {
namespace {

namespace json = boost::json;
using dialect::AppendJsonString;
using gateway::SandboxReply;

constexpr std::int64_t kWaitMsMax = 3'600'000;
constexpr std::int64_t kBytesMax = 256 << 20;
constexpr std::int64_t kPadBytesMax = 64 << 20;
constexpr std::size_t kTextMax = 16 << 10;
constexpr std::size_t kHeadersMax = 32;

constexpr auto kHangs =
    std::to_array<std::string_view>({"before_head", "after_head", "mid_stream"});
constexpr auto kFramings =
    std::to_array<std::string_view>({"two_content_lengths", "content_length_and_chunked"});
constexpr auto kErrorForms = std::to_array<std::string_view>({"error", "response.failed"});
constexpr auto kMalformedKinds = std::to_array<std::string_view>(
    {"no_blank_line", "bad_field", "cr_only", "bom", "bad_json", "bad_utf8", "huge_event"});

// The error bodies of providers, as seen in the wild or in their documents.
struct BodyKind {
  std::string_view name;
  std::string_view type;
  std::string_view code;  // empty: null
  std::string_view message;
};
constexpr auto kBodyKinds = std::to_array<BodyKind>({
    {"rate_limit", "requests", "rate_limit_exceeded", "Rate limit reached for requests"},
    {"usage_limit_reached", "usage_limit_reached", "", "The usage limit has been reached"},
    {"overloaded", "service_unavailable_error", "server_is_overloaded",
     "The server is overloaded. Please try again later."},
    {"insufficient_quota", "insufficient_quota", "insufficient_quota",
     "You exceeded your current quota, please check your plan and billing details."},
    {"invalid_api_key", "invalid_request_error", "invalid_api_key", "Incorrect API key provided."},
    {"permission_denied", "permission_denied", "permission_denied",
     "This account does not have access."},
    {"model_not_found", "invalid_request_error", "model_not_found", "The model does not exist."},
    {"context_length_exceeded", "invalid_request_error", "context_length_exceeded",
     "Your input exceeds the context window of this model."},
    {"invalid_request", "invalid_request_error", "invalid_value", "The request is not valid."},
    {"conflict", "conflict_error", "conflict", "Another request is changing this object."},
    {"too_large", "invalid_request_error", "request_too_large", "The request is too large."},
    {"server_error", "server_error", "", "The server had an error processing your request."},
    {"html", "", "", ""},
    {"empty", "", "", ""},
    {"not_json", "", "", ""},
});

std::string_view BodyForStatus(std::int64_t status) {
  switch (status) {
    case 400:
      return "invalid_request";
    case 401:
      return "invalid_api_key";
    case 403:
      return "permission_denied";
    case 404:
      return "model_not_found";
    case 409:
      return "conflict";
    case 413:
      return "too_large";
    case 429:
      return "rate_limit";
    case 503:
    case 529:
      return "overloaded";
    default:
      return status >= 300 && status < 400 ? "empty" : "server_error";
  }
}

std::unexpected<Error> Bad(std::string sentence) {
  return Fail(ErrorCode::kBadInput, ErrorSource::kCaller, std::move(sentence));
}

std::string_view View(const json::string& text) { return {text.data(), text.size()}; }
std::string_view View(json::string_view text) { return {text.data(), text.size()}; }

bool IsHeaderText(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7F; });
}
bool IsHeaderName(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

// One member of the JSON object being read: found once, checked, marked as known.
class Reader {
 public:
  Reader(const json::object& object, std::string_view where) : object_(object), where_(where) {}

  Reader& Number(std::string_view name, std::int64_t least, std::int64_t most, std::int64_t& to) {
    if (const auto* value = Take(name)) {
      if (!value->is_int64() || value->get_int64() < least || value->get_int64() > most) {
        return Refuse(name, fmt::format("an integer from {} to {}", least, most));
      }
      to = value->get_int64();
    }
    return *this;
  }
  Reader& Number(std::string_view name, std::int64_t least, std::int64_t most,
                 std::optional<std::int64_t>& to) {
    std::int64_t number = least - 1;
    Number(name, least, most, number);
    if (number >= least) to = number;
    return *this;
  }
  Reader& Bool(std::string_view name, bool& to) {
    if (const auto* value = Take(name)) {
      if (!value->is_bool()) return Refuse(name, "true or false");
      to = value->get_bool();
    }
    return *this;
  }
  Reader& Text(std::string_view name, std::string& to) {
    if (const auto* value = Take(name)) {
      if (!value->is_string() || value->get_string().size() > kTextMax) {
        return Refuse(name, fmt::format("a text of at most {} bytes", kTextMax));
      }
      to = View(value->get_string());
    }
    return *this;
  }
  Reader& HeaderText(std::string_view name, std::string& to) {
    Text(name, to);
    if (!IsHeaderText(to)) return Refuse(name, "a text that fits into a header");
    return *this;
  }
  template <class List>
  Reader& OneOf(std::string_view name, const List& words, std::string& to) {
    Text(name, to);
    if (!to.empty() && std::ranges::find(words, to) == std::end(words)) {
      std::string list;
      for (const auto word : words) list += fmt::format("{}{}", list.empty() ? "" : ", ", word);
      return Refuse(name, "one of " + list);
    }
    return *this;
  }
  const json::value* Take(std::string_view name) {
    known_.push_back(name);
    return object_.if_contains({name.data(), name.size()});
  }
  Reader& Refuse(std::string_view name, std::string_view wanted) {
    if (error_.empty()) error_ = fmt::format("{}{} must be {}", where_, name, wanted);
    return *this;
  }
  // The first thing that was wrong, or an unknown member, or empty.
  std::string Finish() const {
    if (!error_.empty()) return error_;
    for (const auto& member : object_) {
      if (std::ranges::find(known_, View(member.key())) == known_.end()) {
        return fmt::format("{}{} is not a field here", where_, View(member.key()));
      }
    }
    return {};
  }

 private:
  const json::object& object_;
  std::string_view where_;
  std::vector<std::string_view> known_;
  std::string error_;
};

std::string ReadFault(const json::object& object, Fault& fault) {
  static constexpr auto kBodyNames = [] {
    std::array<std::string_view, kBodyKinds.size()> names{};
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = kBodyKinds[i].name;
    return names;
  }();
  static constexpr auto kUsageFields =
      std::to_array<std::string_view>({"input_tokens", "cached_tokens", "cache_write_tokens",
                                       "output_tokens", "reasoning_tokens", "total_tokens"});
  Reader reader(object, "fault.");
  reader.Number("status", 200, 599, fault.status)
      .OneOf("body", kBodyNames, fault.body)
      .Text("body_text", fault.body_text)
      .HeaderText("content_type", fault.content_type)
      .HeaderText("retry_after", fault.retry_after)
      .Number("retry_after_ms", 0, kWaitMsMax, fault.retry_after_ms)
      .Number("resets_in_seconds", 0, INT32_MAX, fault.resets_in_seconds)
      .Number("resets_at_in", 0, INT32_MAX, fault.resets_at_in)
      .HeaderText("content_encoding", fault.content_encoding)
      .OneOf("framing", kFramings, fault.framing)
      .Number("latency_ms", 0, kWaitMsMax, fault.latency_ms)
      .Number("first_event_delay_ms", 0, kWaitMsMax, fault.first_event_delay_ms)
      .Number("event_delay_ms", 0, kWaitMsMax, fault.event_delay_ms)
      .OneOf("hang", kHangs, fault.hang)
      .Number("hang_ms", 0, kWaitMsMax, fault.hang_ms)
      .Number("drip_bytes_per_second", 0, kBytesMax, fault.drip_bytes_per_second)
      .Number("chunk_bytes", 0, kBytesMax, fault.chunk_bytes)
      .Number("reset_at_byte", 0, kBytesMax, fault.reset_at_byte)
      .Number("end_at_byte", 0, kBytesMax, fault.end_at_byte)
      .Bool("missing_usage", fault.missing_usage)
      .Bool("crlf", fault.crlf)
      .Bool("comments", fault.comments)
      .Bool("no_terminal_event", fault.no_terminal_event)
      .Bool("duplicate_terminal", fault.duplicate_terminal)
      .OneOf("malformed_sse", kMalformedKinds, fault.malformed_sse)
      .Text("error_event", fault.error_event)
      .OneOf("error_event_as", kErrorForms, fault.error_event_as)
      .Number("error_after_events", 0, INT32_MAX, fault.error_after_events)
      .Number("pad_bytes", 0, kPadBytesMax, fault.pad_bytes);
  if (const auto* headers = reader.Take("headers")) {
    if (!headers->is_object() || headers->get_object().size() > kHeadersMax) {
      reader.Refuse("headers", "an object of at most 32 texts");
    } else {
      for (const auto& header : headers->get_object()) {
        const auto* value = header.value().if_string();
        if (!IsHeaderName(View(header.key())) || value == nullptr || !IsHeaderText(View(*value))) {
          reader.Refuse("headers", "an object of header names and texts");
          break;
        }
        fault.headers.emplace_back(View(header.key()), View(*value));
      }
    }
  }
  if (const auto* usage = reader.Take("usage")) {
    if (!usage->is_object()) {
      reader.Refuse("usage", "an object");
    } else {
      for (const auto& field : usage->get_object()) {
        if (std::ranges::find(kUsageFields, View(field.key())) == kUsageFields.end()) {
          reader.Refuse("usage", fmt::format("made of {}", fmt::join(kUsageFields, ", ")));
          break;
        }
        fault.usage.emplace_back(View(field.key()), json::serialize(field.value()));
      }
    }
  }
  return reader.Finish();
}

// ---- what the bytes say ----

template <class... T>
void Put(std::string& out, fmt::format_string<T...> form, T&&... values) {
  fmt::format_to(std::back_inserter(out), form, std::forward<T>(values)...);
}

std::string ErrorObject(const BodyKind& kind, const Fault& fault, Instant now) {
  std::string out = R"({"message":)";
  AppendJsonString(out, kind.message);
  out += R"(,"type":)";
  AppendJsonString(out, kind.type);
  out += R"(,"param":null,"code":)";
  if (kind.code.empty()) {
    out += "null";
  } else {
    AppendJsonString(out, kind.code);
  }
  const bool limit = kind.name == "usage_limit_reached";
  if (limit) out += R"(,"plan_type":"pro")";
  if (fault.resets_at_in > 0) {
    Put(out, R"(,"resets_at":{})", now.ns / 1'000'000'000 + fault.resets_at_in);
  }
  if (fault.resets_in_seconds > 0) Put(out, R"(,"resets_in_seconds":{})", fault.resets_in_seconds);
  if (limit && fault.resets_at_in == 0 && fault.resets_in_seconds == 0) {
    out += R"(,"resets_in_seconds":3600)";
  }
  out += '}';
  return out;
}

void ErrorReply(const Fault& fault, Instant now, MockReply& reply) {
  reply.status = static_cast<int>(fault.status != 0 ? fault.status : 200);
  reply.is_stream = false;
  reply.content_type = "application/json";
  const std::string_view name =
      fault.body.empty() ? BodyForStatus(fault.status) : std::string_view(fault.body);
  std::string text;
  if (!fault.body_text.empty()) {
    text = fault.body_text;
  } else if (name == "html") {
    reply.content_type = "text/html";
    text = fmt::format("<html><head><title>{}</title></head><body><h1>{}</h1></body></html>\n",
                       reply.status, reply.status);
  } else if (name == "not_json") {
    reply.content_type = "text/plain";
    text = "upstream connect error or disconnect/reset before headers";
  } else if (name != "empty") {
    for (const auto& kind : kBodyKinds) {
      if (kind.name == name) text = R"({"error":)" + ErrorObject(kind, fault, now) + "}";
    }
  }
  reply.own.push_back(std::move(text));
  reply.pieces.push_back({reply.own.back()});
}

// Sets the number after `"field":` everywhere it stands; the fields only stand in usage objects.
void SetNumber(std::string& text, std::string_view field, std::string_view literal) {
  const std::string key = fmt::format("\"{}\":", field);
  for (std::size_t at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
    at += key.size();
    std::size_t end = at;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    text.replace(at, end - at, literal);
    at += literal.size();
  }
}

void SetUsage(std::string& text, const Fault& fault) {
  for (const auto& [field, literal] : fault.usage) {
    SetNumber(text, field, literal);
    if (field == "input_tokens") SetNumber(text, "prompt_tokens", literal);
    if (field == "output_tokens") SetNumber(text, "completion_tokens", literal);
  }
}

std::string WithLineEnds(std::string_view event, std::string_view end) {
  std::string out;
  for (const char c : event) {
    if (c == '\n') {
      out += end;
    } else {
      out += c;
    }
  }
  return out;
}

// The event that tells of an error, in the stream's own dialect.
std::string ErrorEvent(const SandboxReply& reply, const Fault& fault, std::size_t sequence,
                       Instant now) {
  std::string out;
  const bool chat = reply.event(0).starts_with("data: ");
  if (chat) {
    const BodyKind kind{fault.error_event, fault.error_event, fault.error_event,
                        "The mock was told to fail here."};
    return "data: {\"error\":" + ErrorObject(kind, fault, now) + "}\n\n";
  }
  std::string code;
  AppendJsonString(code, fault.error_event);
  if (fault.error_event_as != "response.failed") {
    Put(out, "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":{},\"code\":{},",
        sequence, code);
    out += R"("message":"The mock was told to fail here.","param":null)";
    if (fault.resets_in_seconds > 0)
      Put(out, R"(,"resets_in_seconds":{})", fault.resets_in_seconds);
    out += "}\n\n";
    return out;
  }
  // The response object of the first event, failed. It ends `"usage":null}}` and a blank line.
  const std::string_view first = reply.event(0);
  std::string response(first.substr(first.find(R"("response":)")));
  response.resize(response.size() - 2);
  const auto set = [&response](std::string_view from, const std::string& to) {
    const auto at = response.find(from);
    if (at != std::string::npos) response.replace(at, from.size(), to);
  };
  set(R"("status":"in_progress")", R"("status":"failed")");
  set(R"("error":null)",
      fmt::format(R"("error":{{"code":{},"message":"The mock was told to fail here."}})", code));
  Put(out,
      "event: response.failed\ndata: {{\"type\":\"response.failed\",\"sequence_number\":{},{}\n\n",
      sequence, response);
  return out;
}

// One event bent out of shape. The kinds are those a reader of streams must survive.
std::string Malformed(std::string_view event, std::string_view kind) {
  std::string out(event);
  if (kind == "no_blank_line") {
    out.pop_back();
  } else if (kind == "bad_field") {
    out = "dat: what is this\n: a comment\nnonsense\n" + out;
  } else if (kind == "cr_only") {
    out = WithLineEnds(event, "\r");
  } else if (kind == "bom") {
    out = "\xEF\xBB\xBF" + out;
  } else if (kind == "bad_json") {
    const auto brace = out.rfind('}');
    if (brace != std::string::npos) out.erase(brace, 1);
  } else if (kind == "bad_utf8") {
    const auto quote = out.rfind('"');
    if (quote != std::string::npos) out.insert(quote, "\xC3\x28\xFF");
  } else if (kind == "huge_event") {
    const auto brace = out.find('{');
    if (brace != std::string::npos) {
      out.insert(brace + 1, R"("padding":")" + std::string(16 << 20, 'x') + R"(",)");
    }
  }
  return out;
}

// Which event carries the usage: the last one of a Responses stream, the one before [DONE] of chat.
std::size_t UsageEvent(const SandboxReply& reply) {
  if (reply.usage.source == UsageSource::kNone) return reply.event_count();
  return reply.event(0).starts_with("event: ") ? reply.event_count() - 1 : reply.event_count() - 2;
}

}  // namespace

Result<FaultRule> ReadFaultRule(std::string_view text) {
  json::error_code failed;
  json::value value;
  try {
    value = json::parse({text.data(), text.size()}, failed);
  } catch (const std::exception&) {
    return Bad("the body needs too much memory");
  }
  if (failed) return Bad("the body is not valid JSON: " + failed.message());
  const auto* object = value.if_object();
  if (object == nullptr) return Bad("the body must be a JSON object");
  FaultRule rule;
  Reader reader(*object, "");
  reader.Number("times", 1, INT32_MAX, rule.times);
  const auto* fault = reader.Take("fault");
  const auto* match = reader.Take("match");
  if (fault == nullptr || !fault->is_object()) reader.Refuse("fault", "an object");
  if (match != nullptr && !match->is_object()) reader.Refuse("match", "an object");
  std::string sentence = reader.Finish();
  if (sentence.empty()) sentence = ReadFault(fault->get_object(), rule.fault);
  if (sentence.empty() && match != nullptr) {
    Reader inner(match->get_object(), "match.");
    bool stream = false;
    inner.Text("authorization_suffix", rule.match.authorization_suffix)
        .Text("model", rule.match.model)
        .Text("path", rule.match.path)
        .Bool("stream", stream);
    if (match->get_object().contains("stream")) rule.match.stream = stream;
    sentence = inner.Finish();
  }
  if (!sentence.empty()) return Bad(std::move(sentence));
  rule.text = json::serialize(value);
  return rule;
}

MockReply PlainPieces(const SandboxReply& reply) {
  MockReply out;
  out.status = reply.status;
  out.is_stream = reply.is_stream();
  out.content_type = out.is_stream ? "text/event-stream; charset=utf-8" : "application/json";
  if (!reply.content_type.empty()) out.content_type = reply.content_type;
  if (!out.is_stream) {
    out.pieces.push_back({reply.body, false, reply.usage.source != UsageSource::kNone});
    return out;
  }
  const std::size_t usage_event = UsageEvent(reply);
  out.pieces.reserve(reply.event_count());
  for (std::size_t i = 0; i < reply.event_count(); ++i) {
    out.pieces.push_back({reply.event(i), true, i == usage_event});
  }
  return out;
}

MockReply FaultyPieces(const SandboxReply& reply, const Fault& fault, Instant now) {
  MockReply out;
  if (fault.status != 0 || !fault.body.empty() || !fault.body_text.empty()) {
    ErrorReply(fault, now, out);
  } else {
    out = PlainPieces(reply);
  }
  if (!fault.content_type.empty()) out.content_type = fault.content_type;
  // Texts of our own are collected first and pointed to at the end: `own` may move its strings.
  struct Next {
    std::string text;
    bool is_event;
    bool has_usage;
  };
  std::vector<Next> next;
  for (const auto& piece : out.pieces) {
    next.push_back({std::string(piece.bytes), piece.is_event, piece.has_usage});
    if (piece.has_usage) SetUsage(next.back().text, fault);
  }
  if (!out.is_stream) {
    if (fault.pad_bytes > 0) {
      next.front().text.insert(0, std::string(static_cast<std::size_t>(fault.pad_bytes), ' '));
    }
  } else {
    if (fault.duplicate_terminal) {
      const auto terminal = static_cast<std::ptrdiff_t>(reply.terminal_event);
      const std::vector<Next> again(next.begin() + terminal, next.end());
      next.insert(next.end(), again.begin(), again.end());
    }
    if (fault.no_terminal_event) next.resize(reply.terminal_event);
    if (!fault.error_event.empty()) {
      const auto after = static_cast<std::size_t>(
          fault.error_after_events.value_or(static_cast<std::int64_t>(reply.event_count() / 2)));
      next.resize(std::min(after, next.size()));
      next.push_back({ErrorEvent(reply, fault, next.size(), now), true, false});
    }
    if (!fault.malformed_sse.empty() && !next.empty()) {
      // The first event for what stands at the beginning of a stream, the middle one for the rest.
      auto& victim = next[fault.malformed_sse == "bom" ? 0 : next.size() / 2].text;
      victim = Malformed(victim, fault.malformed_sse);
    }
    if (fault.comments) {
      for (auto& event : next) event.text.insert(0, ": ping\n\n");
    }
    if (fault.pad_bytes > 0 && !next.empty()) {
      next.front().text.insert(
          0, ": " + std::string(static_cast<std::size_t>(fault.pad_bytes), 'x') + "\n\n");
    }
    if (fault.crlf) {
      for (auto& event : next) event.text = WithLineEnds(event.text, "\r\n");
    }
  }
  out.pieces.clear();
  out.own.clear();
  out.own.reserve(next.size());
  for (auto& piece : next) {
    out.own.push_back(std::move(piece.text));
    out.pieces.push_back({out.own.back(), piece.is_event, piece.has_usage});
  }
  return out;
}

}  // namespace weir::cli
