#include "sim/upstreams.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/check.h"

namespace weir::sim {
namespace {

using gateway::Interruption;

// What of a request decides the reply.
struct Asked {
  bool chat = true;  // else Responses
  bool stream = false;
  bool usage_in_stream = false;
  std::string model;
  std::int64_t output_max = 0;  // for each choice; 0: none was given
  std::int64_t choices = 1;
  std::int64_t input_max = 0;  // no honest count of the input is above it
};

std::int64_t NumberAfter(std::string_view body, std::string_view name) {
  const auto at = body.find(name);
  if (at == std::string_view::npos) return 0;
  std::int64_t value = 0;
  const char* begin = body.data() + at + name.size();
  while (begin != body.data() + body.size() && *begin == ' ') ++begin;
  std::from_chars(begin, body.data() + body.size(), value);
  return value;
}

std::string TextAfter(std::string_view body, std::string_view name) {
  const auto at = body.find(name);
  if (at == std::string_view::npos) return {};
  const auto begin = at + name.size();
  return std::string(body.substr(begin, body.find('"', begin) - begin));
}

// What the upstream makes, before any fault.
struct Product {
  Usage usage;
  std::vector<std::string> texts;  // the generated text, an event each
  std::int64_t text_bytes = 0;
};

Product Produce(Draw& draw, const Asked& asked, std::int64_t model_max) {
  Product product;
  const std::int64_t bound =
      asked.output_max > 0 ? std::min(asked.output_max, model_max) : model_max;
  const std::int64_t most = std::max<std::int64_t>(bound, 1) * asked.choices;
  // Often few tokens, sometimes all that are allowed.
  const std::int64_t tokens =
      draw.Chance(250) ? most : draw.Between(1, std::min<std::int64_t>(most, 400));
  const std::int64_t token_bytes = draw.Between(1, 8);
  Usage& usage = product.usage;
  usage.source = UsageSource::kProvider;
  usage.output_tokens = tokens;
  usage.reasoning_tokens = draw.Chance(300) ? draw.Between(0, tokens - 1) : 0;
  usage.input_tokens = draw.Between(1, std::max<std::int64_t>(asked.input_max, 1));
  usage.cached_input_tokens = draw.Chance(300) ? draw.Between(0, usage.input_tokens) : 0;
  std::int64_t bytes =
      std::clamp<std::int64_t>((tokens - usage.reasoning_tokens) * token_bytes, 1, 12'000);
  const std::int64_t event_bytes = std::max<std::int64_t>(draw.Between(1, 200), bytes / 12);
  product.text_bytes = bytes;
  while (bytes > 0) {
    const std::int64_t part = std::min(bytes, event_bytes);
    product.texts.emplace_back(static_cast<std::size_t>(part), kTextByte);
    bytes -= part;
  }
  return product;
}

std::string UsageJson(const Asked& asked, const Usage& usage) {
  if (asked.chat) {
    return fmt::format(R"("usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                       R"("prompt_tokens_details":{{"cached_tokens":{}}},)"
                       R"("completion_tokens_details":{{"reasoning_tokens":{}}}}})",
                       usage.input_tokens, usage.output_tokens,
                       usage.input_tokens + usage.output_tokens, usage.cached_input_tokens,
                       usage.reasoning_tokens);
  }
  return fmt::format(
      R"("usage":{{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{}}},)"
      R"("output_tokens":{},"output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}})",
      usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens,
      usage.input_tokens + usage.output_tokens);
}

struct Script {
  int status = 200;
  std::size_t whole_at = 0;  // nothing behind this many bytes is of the reply
  std::vector<std::pair<std::string, std::string>> headers;
  std::string bytes;
};

// A whole reply of Responses, without its last brace.
std::string ResponseObject(const Asked& asked, const std::string& mark, const Product& product,
                           bool with_usage, std::string_view status) {
  std::string text;
  for (const std::string& part : product.texts) text += part;
  std::string json = fmt::format(
      R"({{"id":"resp_{}","object":"response","created_at":1,"status":"{}","model":"{}",)"
      R"("output":[{{"type":"message","id":"msg_1","role":"assistant","status":"completed",)"
      R"("content":[{{"type":"output_text","text":"{}","annotations":[]}}]}}])",
      mark, status, asked.model, text);
  if (with_usage) json += "," + UsageJson(asked, product.usage);
  return json + "}";
}

std::string JsonReply(const Asked& asked, const std::string& mark, const Product& product,
                      bool with_usage) {
  if (!asked.chat) return ResponseObject(asked, mark, product, with_usage, "completed");
  std::string text;
  for (const std::string& part : product.texts) text += part;
  std::string json = fmt::format(
      R"({{"id":"chatcmpl-{}","object":"chat.completion","created":1,"model":"{}","choices":[)",
      mark, asked.model);
  for (std::int64_t choice = 0; choice < asked.choices; ++choice) {
    json += fmt::format(
        R"({}{{"index":{},"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}})",
        choice == 0 ? "" : ",", choice, choice == 0 ? text : "");
  }
  json += "]";
  if (with_usage) json += "," + UsageJson(asked, product.usage);
  return json + "}";
}

std::string StreamReply(const Asked& asked, const std::string& mark, const Product& product,
                        bool with_usage) {
  std::string out;
  if (asked.chat) {
    const std::string head =
        fmt::format(R"(data: {{"id":"chatcmpl-{}","object":"chat.completion.chunk","created":1,)"
                    R"("model":"{}","choices":[)",
                    mark, asked.model);
    out += head + R"({"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]})";
    out += "\n\n";
    for (const std::string& text : product.texts) {
      out += head;
      out += R"({"index":0,"delta":{"content":")";
      out += text;
      out += R"("},"finish_reason":null}]})";
      out += "\n\n";
    }
    out += head + R"({"index":0,"delta":{},"finish_reason":"stop"}]})" + "\n\n";
    if (with_usage && asked.usage_in_stream) {
      out += head + "]," + UsageJson(asked, product.usage) + "}\n\n";
    }
    return out + "data: [DONE]\n\n";
  }
  const auto event = [&](std::string_view type, const std::string& rest) {
    out += fmt::format("event: {}\ndata: {{\"type\":\"{}\",{}}}\n\n", type, type, rest);
  };
  event("response.created",
        fmt::format(R"("response":{{"id":"resp_{}","status":"in_progress","model":"{}"}})", mark,
                    asked.model));
  for (const std::string& text : product.texts) {
    event("response.output_text.delta",
          fmt::format(R"("item_id":"msg_{}","delta":"{}")", mark, text));
  }
  event("response.completed",
        "\"response\":" + ResponseObject(asked, mark, product, with_usage, "completed"));
  return out;
}

struct ErrorRow {
  int status;
  std::string_view header;  // "name: value", or empty
  std::string_view body;    // ~ stands for the mark
};
constexpr ErrorRow kErrors[] = {
    {429, "retry-after: 2", R"({"error":{"type":"rate_limit_error","message":"@"}})"},
    {429, "retry-after-ms: 150", R"({"error":{"type":"tokens","message":"@"}})"},
    {429, "", R"({"error":{"type":"usage_limit_reached","message":"@","resets_in_seconds":30}})"},
    {503, "retry-after: 1", "<html>busy @</html>"},
    {529, "", R"({"error":{"type":"overloaded_error","message":"@"}})"},
    {500, "", R"({"error":{"type":"server_error","message":"@"}})"},
    {502, "", "<html>502 @</html>"},
    {504, "", ""},
    {302, "location: /elsewhere", ""},
    {404, "", R"({"error":{"code":"model_not_found","message":"@"}})"},
    {400, "",
     R"({"error":{"type":"invalid_request_error","param":"x","code":null,"message":"@"}})"},
    {422, "",
     R"({"error":{"type":"invalid_request_error","param":"x","code":null,"message":"@"}})"},
    // These two put an account to rest until an operator acts, so they are drawn less often.
    {401, "", R"({"error":{"code":"invalid_api_key","message":"@"}})"},
    {402, "", R"({"error":{"code":"insufficient_quota","message":"@"}})"},
};

std::string Marked(std::string_view body, const std::string& mark) {
  std::string text;
  for (const char c : body) {
    if (c == '@') {
      text += mark;
    } else {
      text += c;
    }
  }
  return text;
}

// Usage that is not so. Returned as JSON, because most of it is no usage at all.
std::string LyingUsage(Draw& draw, const Asked& asked, Usage usage) {
  switch (draw.Below(6)) {
    case 0:
      usage.output_tokens = usage.output_tokens * 10 + 50'000;
      break;
    case 1:
      usage.input_tokens += 1'000'000'000'000;
      break;
    case 2:
      usage.output_tokens = -5;
      break;
    case 3:
      usage.output_tokens = INT64_MAX / 2;
      usage.input_tokens = INT64_MAX / 2;
      break;
    case 4:
      return R"("usage":{"prompt_tokens":"many","completion_tokens":null,"input_tokens":{}})";
    default:
      usage.cached_input_tokens = usage.input_tokens + 1000;
      usage.output_tokens = 0;
  }
  return UsageJson(asked, usage);
}

// Everything that will happen to one attempt.
struct Attempt {
  std::optional<ErrorCode> no_reply;
  Duration head_after;
  bool head_hangs = false;
  Script script;
  Duration piece_after;  // at most, for each piece
  std::int64_t piece_bytes = 1;
  std::optional<std::size_t> cut_at;
  std::optional<std::size_t> hang_at;
};

}  // namespace

namespace {

class Reply final : public gateway::UpstreamReply, gateway::Interrupt::Hook {
 public:
  Reply(Executor& executor, Attempt attempt, CallTruth& call, std::size_t index, Tick deadline,
        std::uint64_t seed, gateway::Interrupt& interrupt)
      : executor_(executor),
        attempt_(std::move(attempt)),
        call_(call),
        index_(index),
        deadline_(deadline),
        draw_(seed),
        interrupt_(interrupt) {
    for (const auto& [name, value] : attempt_.script.headers) views_.push_back({name, value});
    interrupt_.SetHook(this);
    Prepare();
  }
  ~Reply() override { interrupt_.SetHook(nullptr); }

  int status() const override { return attempt_.script.status; }
  const std::vector<gateway::HeaderView>& headers() const override { return views_; }
  std::string_view Find(std::string_view lower_name) const override {
    for (const auto& header : views_) {
      if (gateway::EqualsIgnoreCase(header.name, lower_name)) return header.value;
    }
    return {};
  }

  Task<Result<std::string_view>> Read(Duration wait) override {
    const Tick until = std::min(executor_.Now() + wait, deadline_);
    const bool hangs = attempt_.hang_at && at_ >= *attempt_.hang_at;
    const Tick ready = hangs ? kNoDeadline : ready_at_;
    if (interrupt_.why() == Interruption::kNone && ready > executor_.Now()) {
      Wait waiting(executor_);
      waiting_ = &waiting;
      waiting.WakeIn(std::min(ready, until) - executor_.Now());
      co_await waiting;
      waiting_ = nullptr;
    }
    if (interrupt_.why() != Interruption::kNone) {
      co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
    if (ready > executor_.Now()) {
      co_return Fail(ErrorCode::kTimeout, ErrorSource::kUpstream, "no bytes in time",
                     Retry::kOther);
    }
    const std::string& bytes = attempt_.script.bytes;
    std::size_t end = std::min(bytes.size(), at_ + piece_);
    if (attempt_.hang_at) end = std::min(end, std::max(*attempt_.hang_at, at_));
    if (attempt_.cut_at) {
      end = std::min(end, *attempt_.cut_at);
      if (at_ >= *attempt_.cut_at) {
        co_return Fail(ErrorCode::kConnectionLost, ErrorSource::kUpstream, "cut", Retry::kOther);
      }
    }
    // A copy, so that what the path keeps beyond the next Read is found by the sanitizer.
    piece_bytes_ = std::make_unique<std::string>(bytes, at_, end - at_);
    at_ = end;
    AttemptTruth& truth = call_.attempts[index_];
    truth.text_bytes += std::ranges::count(*piece_bytes_, kTextByte);
    truth.whole = at_ >= attempt_.script.whole_at;
    Prepare();
    co_return std::string_view(*piece_bytes_);
  }

 private:
  void OnInterrupt() override {
    if (waiting_ == nullptr) return;
    if (draw_.Chance(500)) {
      waiting_->Wake();
    } else {
      waiting_->WakeAtOnce();
    }
  }
  void Prepare() {
    piece_ = static_cast<std::size_t>(draw_.Between(1, attempt_.piece_bytes));
    ready_at_ = executor_.Now() + draw_.Pause(attempt_.piece_after);
  }

  Executor& executor_;
  Attempt attempt_;
  CallTruth& call_;
  std::size_t index_;
  Tick deadline_;
  Draw draw_;
  gateway::Interrupt& interrupt_;
  std::vector<gateway::HeaderView> views_;
  std::size_t at_ = 0;
  std::size_t piece_ = 0;
  Tick ready_at_;
  std::unique_ptr<std::string> piece_bytes_;
  Wait* waiting_ = nullptr;
};

Asked Read(const gateway::UpstreamRequest& request, const UpstreamCall& call) {
  std::string body;
  for (const std::string_view piece : request.body) body += piece;
  Asked asked;
  asked.chat = request.target.ends_with("/chat/completions");
  asked.stream = body.find("\"stream\":true") != std::string::npos;
  asked.usage_in_stream = body.find("\"include_usage\":true") != std::string::npos;
  asked.model = TextAfter(body, "\"model\":\"");
  asked.choices = std::max<std::int64_t>(NumberAfter(body, "\"n\":"), 1);
  for (const std::string_view name :
       {"\"max_completion_tokens\":", "\"max_output_tokens\":", "\"max_tokens\":"}) {
    if (asked.output_max == 0) asked.output_max = NumberAfter(body, name);
  }
  asked.input_max = call.body_bytes;
  return asked;
}

std::string_view ErrorOf(Draw& draw) {
  constexpr std::string_view kCodes[] = {"server_error", "rate_limit_exceeded", "overloaded",
                                         "invalid_prompt"};
  return kCodes[static_cast<std::size_t>(draw.Below(4))];
}

// Draws what happens. `model_max`: of the model, for each choice.
Attempt Plan(Draw draw, FaultSet faults, Duration think_time, const Asked& asked,
             std::int64_t model_max, std::uint32_t number, AttemptTruth& truth) {
  const std::string mark = AttemptMark(number);
  const auto happens = [&](Fault fault, std::int64_t per_mille) {
    const bool drawn = draw.Chance(per_mille);  // in any case, so that the rest stays the same
    return drawn && faults.Has(fault);
  };
  Attempt attempt;
  attempt.head_after = draw.Pause(think_time);
  attempt.piece_after = draw.Pause(think_time);
  attempt.piece_bytes = draw.Chance(500) ? 4096 : draw.Between(1, 600);
  if (happens(Fault::kUpstreamSlow, 200)) attempt.piece_after = Seconds(4);
  if (happens(Fault::kUpstreamSlow, 200)) attempt.head_after = draw.Pause(Seconds(25));
  if (happens(Fault::kUpstreamHang, 60)) attempt.head_hangs = true;
  if (happens(Fault::kUpstreamLost, 120)) {
    constexpr ErrorCode kCodes[] = {ErrorCode::kConnectFailed, ErrorCode::kConnectionLost,
                                    ErrorCode::kBadInput, ErrorCode::kTimeout};
    attempt.no_reply = kCodes[draw.Below(4)];
  }

  Script& script = attempt.script;
  if (happens(Fault::kUpstreamError, 200)) {
    const auto rows = static_cast<std::int64_t>(std::size(kErrors));
    const ErrorRow& row = kErrors[draw.Chance(50) ? draw.Below(rows) : draw.Below(rows - 2)];
    script.status = row.status;
    script.bytes = Marked(row.body, mark);
    script.headers.emplace_back("content-type", "application/json");
    if (!row.header.empty()) {
      const auto colon = row.header.find(':');
      script.headers.emplace_back(row.header.substr(0, colon), row.header.substr(colon + 2));
    }
    return attempt;
  }

  Product product = Produce(draw, asked, model_max);
  bool with_usage = !happens(Fault::kUsageMissing, 400);
  const bool lies = happens(Fault::kUsageLies, 300);
  const bool odd = happens(Fault::kUpstreamOdd, 150);
  const std::int64_t oddity = odd ? draw.Below(5) : -1;
  const bool as_stream = asked.stream != (oddity == 0);
  if (oddity == 1) {  // an empty reply
    product = {};
    product.usage.source = UsageSource::kProvider;
    product.usage.input_tokens = 1;
  }
  Asked shape = asked;
  if (oddity == 0) shape.usage_in_stream = true;
  script.bytes = as_stream ? StreamReply(shape, mark, product, with_usage)
                           : JsonReply(shape, mark, product, with_usage);
  // Above 256 KiB the path passes a reply on as it comes instead of holding it whole.
  if (draw.Chance(30) && !as_stream) {
    script.bytes.insert(script.bytes.find(',') + 1, fmt::format(R"("pad":"{:450000}",)", ""));
    attempt.piece_bytes = 60'000;
  }
  with_usage = with_usage && (!as_stream || !asked.chat || shape.usage_in_stream);
  if (with_usage) truth.usage = product.usage;
  if (lies && with_usage) {
    truth.told_lies = true;
    const std::string honest = UsageJson(shape, product.usage);
    const auto at = script.bytes.find(honest);
    CHECK(at != std::string::npos, "usage is in the reply as it was written");
    script.bytes.replace(at, honest.size(), LyingUsage(draw, shape, product.usage));
  }
  script.headers.emplace_back("content-type", as_stream ? "text/event-stream" : "application/json");
  if (oddity == 2) script.headers.emplace_back("content-encoding", "br");
  const std::size_t size = script.bytes.size();
  const auto somewhere = [&] {
    return static_cast<std::size_t>(draw.Below(static_cast<std::int64_t>(size)));
  };
  if (oddity == 3) {  // bytes that are no JSON
    script.bytes.replace(somewhere(), 1, "{");
    truth.told_lies = truth.garbled = true;
  }
  script.whole_at = script.bytes.size();
  if (oddity == 4) {  // what follows the end
    script.bytes += script.bytes;
    truth.told_lies = true;
  }
  if (happens(Fault::kUpstreamError, 100) && as_stream) {
    // An error event, after any event, in the place of the rest.
    const std::size_t end = script.bytes.find("\n\n", somewhere());
    if (end != std::string::npos) script.bytes.resize(end + 2);
    script.bytes += asked.chat ? fmt::format(
                                     "data: {{\"error\":{{\"code\":\"{}\",\"message\":\"{}\"}}}}"
                                     "\n\n",
                                     ErrorOf(draw), mark)
                               : fmt::format(
                                     "event: error\ndata: {{\"type\":\"error\",\"code\":\"{}\","
                                     "\"message\":\"{}\"}}\n\n",
                                     ErrorOf(draw), mark);
    truth.usage.reset();
    script.whole_at = script.bytes.size();
  }
  if (happens(Fault::kUpstreamLost, 150)) attempt.cut_at = somewhere();
  if (happens(Fault::kUpstreamHang, 80)) attempt.hang_at = somewhere();
  return attempt;
}

// A wait for a head, which an interrupt ends.
class HeadHook final : public gateway::Interrupt::Hook {
 public:
  HeadHook(Wait& wait, gateway::Interrupt& interrupt) : wait_(wait), interrupt_(interrupt) {
    interrupt_.SetHook(this);
  }
  HeadHook(const HeadHook&) = delete;
  HeadHook& operator=(const HeadHook&) = delete;
  ~HeadHook() { interrupt_.SetHook(nullptr); }
  void OnInterrupt() override { wait_.Wake(); }

 private:
  Wait& wait_;
  gateway::Interrupt& interrupt_;
};

}  // namespace

Task<Result<std::unique_ptr<gateway::UpstreamReply>>> SimUpstreams::Send(
    gateway::UpstreamRequest request, gateway::Interrupt& interrupt) {
  const std::string_view headers = request.headers;
  const auto at = headers.find(kCallHeader);
  CHECK(at != std::string_view::npos, "the header of the call passes");
  std::uint32_t number = 0;
  const char* const digits = headers.data() + at + kCallHeader.size() + 2;
  std::from_chars(digits, headers.data() + headers.size(), number);
  const UpstreamCall call = calls_.at(number);
  const std::uint32_t index = auditor_.OnAttempt(*call.truth);
  executor_.Note(static_cast<std::uint64_t>(number) << 32 | index);
  const Asked asked = Read(request, call);
  // One that is calm is in time, too, whatever the deadlines are.
  Attempt attempt =
      Plan(Draw(SeedOf(call.seed, 500 + index)), call.calm ? FaultSet{} : options_.faults,
           call.calm ? std::min(options_.think_time, Milliseconds(20)) : options_.think_time, asked,
           kOutputTokensMax, index, call.truth->attempts[index]);

  const Tick deadline =
      std::min(executor_.Now() + request.upstream->first_byte_deadline, request.deadline);
  const Tick ready = attempt.head_hangs ? kNoDeadline : executor_.Now() + attempt.head_after;
  if (interrupt.why() == Interruption::kNone) {
    Wait wait(executor_);
    const HeadHook hook(wait, interrupt);
    wait.WakeIn(std::min(ready, deadline) - executor_.Now());
    co_await wait;
  }
  if (interrupt.why() != Interruption::kNone) {
    co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
  }
  if (ready > executor_.Now()) {
    co_return Fail(ErrorCode::kTimeout, ErrorSource::kUpstream, "no head in time", Retry::kOther);
  }
  if (attempt.no_reply) {
    co_return Fail(*attempt.no_reply, ErrorSource::kUpstream, "simulated", Retry::kOther);
  }
  co_return std::make_unique<Reply>(executor_, std::move(attempt), *call.truth, index,
                                    request.deadline, SeedOf(call.seed, 900 + index), interrupt);
}

}  // namespace weir::sim
