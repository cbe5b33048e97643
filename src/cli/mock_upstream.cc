#include "cli/mock_upstream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cli/cli.h"
#include "cli/mock_fault.h"
#include "dialect/json_edit.h"
#include "gateway/sandbox_reply.h"
#include "gateway/sandbox_text.h"
#include "net/http_server.h"
#include "net/loop.h"

namespace weir::cli {
namespace {

using dialect::AppendJsonString;
using gateway::Downstream;
using gateway::EqualsIgnoreCase;
using gateway::HeaderView;
using gateway::Interrupt;
using gateway::Interruption;
using gateway::ReplyHead;
using gateway::RequestHead;
using gateway::SandboxOperation;
using gateway::SandboxReply;
using gateway::SandboxTarget;

constexpr std::size_t kRulesMax = 1000;
constexpr std::size_t kLastRequestsMax = 64;
constexpr std::size_t kLastBodyBytesMax = 16 << 10;
constexpr Duration kHangSlice = Milliseconds(100);

// As SandboxOperation counts; the last one stands for everything that is not served.
constexpr auto kPathNames = std::to_array<std::string_view>(
    {"/responses", "/responses/input_tokens", "/responses/compact", "/chat/completions",
     "/embeddings", "/audio/transcriptions", "/models", "/models/{id}", "other"});

std::size_t PathIndex(SandboxOperation operation) {
  return std::min(static_cast<std::size_t>(operation), kPathNames.size() - 1);
}

template <class... T>
void Put(std::string& out, fmt::format_string<T...> form, T&&... values) {
  fmt::format_to(std::back_inserter(out), form, std::forward<T>(values)...);
}

// Header values may hold bytes that are no UTF-8; in our JSON they are question marks.
void PutJsonText(std::string& out, std::string_view text) {
  std::string plain(text);
  for (char& c : plain) {
    if (static_cast<unsigned char>(c) > 0x7E) c = '?';
  }
  AppendJsonString(out, plain);
}

// Keys are never kept whole: their last four characters tell accounts apart.
std::string_view Suffix(std::string_view key) {
  return key.substr(key.size() - std::min<std::size_t>(key.size(), 4));
}

bool IsSecretHeader(std::string_view name) {
  static constexpr auto kNames = std::to_array<std::string_view>(
      {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"});
  return std::ranges::any_of(kNames, [&](auto one) { return EqualsIgnoreCase(one, name); });
}

// One request as /_stats shows it.
struct SeenRequest {
  std::uint64_t n = 0;
  std::string method;
  std::string path;
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t body_bytes = 0;
  std::string body;  // valid JSON only, and only a small one
};

}  // namespace

struct MockState::Impl {
  std::atomic<std::uint64_t> requests = 0;
  std::atomic<std::int64_t> open_streams = 0;
  std::atomic<std::uint64_t> aborted = 0;
  std::array<std::atomic<std::uint64_t>, kPathNames.size()> by_path{};
  std::atomic<bool> has_rules = false;  // so that the usual request takes no lock for them
  int log = -1;

  std::mutex mutex;  // of everything below
  std::vector<FaultRule> rules;
  std::uint64_t next_rule = 1;
  std::array<SeenRequest, kLastRequestsMax> last;

  struct Taken {
    std::uint64_t rule = 0;
    Fault fault;
  };

  // The first rule that fits, counted down.
  std::optional<Taken> TakeFault(std::string_view authorization, std::string_view path,
                                 const SandboxReply& reply) {
    if (!has_rules.load(std::memory_order_acquire)) return std::nullopt;
    const std::lock_guard lock(mutex);
    for (auto rule = rules.begin(); rule != rules.end(); ++rule) {
      const FaultMatch& match = rule->match;
      if (!authorization.ends_with(match.authorization_suffix)) continue;
      if (!match.model.empty() && match.model != reply.model) continue;
      if (!path.ends_with(match.path)) continue;
      if (match.stream && *match.stream != reply.is_stream()) continue;
      ++rule->hits;
      Taken taken{rule->id, rule->fault};
      if (rule->times > 0 && --rule->times == 0) {
        rules.erase(rule);
        has_rules.store(!rules.empty(), std::memory_order_release);
      }
      return taken;
    }
    return std::nullopt;
  }

  // `keep_body`: the body is known to be JSON, so that /_stats stays JSON with it.
  std::uint64_t Remember(const RequestHead& head, std::string_view body, bool keep_body) {
    const std::uint64_t n = requests.fetch_add(1, std::memory_order_relaxed) + 1;
    const std::lock_guard lock(mutex);
    SeenRequest& seen = last[n % kLastRequestsMax];
    seen.n = n;
    seen.method = head.method;
    seen.path = head.path;
    seen.query = head.query;
    seen.headers.resize(head.headers.size());
    for (std::size_t i = 0; i < head.headers.size(); ++i) {
      seen.headers[i].first = head.headers[i].name;
      seen.headers[i].second = IsSecretHeader(head.headers[i].name) ? Suffix(head.headers[i].value)
                                                                    : head.headers[i].value;
    }
    seen.body_bytes = body.size();
    seen.body = keep_body && body.size() <= kLastBodyBytesMax ? body : std::string_view();
    return n;
  }
};

MockState::MockState() : impl_(std::make_unique<Impl>()) {}
MockState::~MockState() {
  if (impl_->log >= 0) ::close(impl_->log);
}

Result<void> MockState::OpenLog(const std::string& path) {
  impl_->log = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (impl_->log < 0) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("cannot open the log {}: {}", path, std::strerror(errno)));
  }
  return {};
}

Result<void> MockState::SetFault(std::string_view json) {
  auto rule = ReadFaultRule(json);
  if (!rule) return std::unexpected(std::move(rule.error()));
  const std::lock_guard lock(impl_->mutex);
  if (impl_->rules.size() >= kRulesMax) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kCaller, "there are 1000 faults already");
  }
  rule->id = impl_->next_rule++;
  impl_->rules.push_back(std::move(*rule));
  impl_->has_rules.store(true, std::memory_order_release);
  return {};
}

std::string MockState::ListFaults() const {
  const std::lock_guard lock(impl_->mutex);
  std::string out = R"({"faults":[)";
  for (const auto& rule : impl_->rules) {
    if (&rule != &impl_->rules.front()) out += ',';
    Put(out, R"({{"id":{},"hits":{},"times_left":)", rule.id, rule.hits);
    out += rule.times > 0 ? std::to_string(rule.times) : "null";
    Put(out, R"(,"rule":{}}})", rule.text);
  }
  return out + "]}";
}

void MockState::ClearFaults() {
  const std::lock_guard lock(impl_->mutex);
  impl_->rules.clear();
  impl_->has_rules.store(false, std::memory_order_release);
}

std::string MockState::Stats() const {
  std::string out;
  Put(out, R"({{"requests":{},"open_streams":{},"aborted":{},"by_path":{{)", impl_->requests.load(),
      impl_->open_streams.load(), impl_->aborted.load());
  for (std::size_t i = 0; i < kPathNames.size(); ++i) {
    Put(out, R"({}"{}":{})", i > 0 ? "," : "", kPathNames[i], impl_->by_path[i].load());
  }
  out += R"(},"last":[)";
  const std::lock_guard lock(impl_->mutex);
  std::vector<const SeenRequest*> newest;
  for (const auto& seen : impl_->last) {
    if (seen.n > 0) newest.push_back(&seen);
  }
  std::ranges::sort(newest, [](auto* a, auto* b) { return a->n > b->n; });
  for (const auto* seen : newest) {
    if (seen != newest.front()) out += ',';
    Put(out, R"({{"n":{},"method":)", seen->n);
    PutJsonText(out, seen->method);
    out += R"(,"path":)";
    PutJsonText(out, seen->path);
    out += R"(,"query":)";
    PutJsonText(out, seen->query);
    out += R"(,"headers":[)";
    for (std::size_t i = 0; i < seen->headers.size(); ++i) {
      out += i > 0 ? ",[" : "[";
      PutJsonText(out, seen->headers[i].first);
      out += ',';
      PutJsonText(out, seen->headers[i].second);
      out += ']';
    }
    Put(out, R"(],"body_bytes":{},"body":)", seen->body_bytes);
    if (seen->body.empty()) {
      out += "null}";
    } else {
      AppendJsonString(out, seen->body);
      out += '}';
    }
  }
  return out + "]}";
}

namespace {

// Wakes a coroutine that waits for nothing but the end of its caller.
class HangUp final : public Interrupt::Hook {
 public:
  explicit HangUp(Interrupt& interrupt) : interrupt_(interrupt) {}
  void OnInterrupt() override { signal_.Set(); }
  Task<void> Wait() {
    if (interrupt_.why() != Interruption::kNone) co_return;
    interrupt_.SetHook(this);
    co_await signal_;
    interrupt_.SetHook(nullptr);
  }

 private:
  Interrupt& interrupt_;
  Signal signal_;
};

// One exchange: what was asked, what goes wrong with it, and how far it came.
class MockExchange {
 public:
  MockExchange(const RequestHead& head, Downstream& downstream, Runtime& runtime,
               MockState::Impl& state)
      : head_(head), downstream_(downstream), runtime_(runtime), state_(state) {}

  Task<void> Serve();

 private:
  Task<void> SendPlain(ReplyHead head);
  Task<void> SendFaulty(ReplyHead head);
  Task<bool> SendPiece(const MockPiece& piece);
  Task<bool> Wait(Duration duration);
  Task<bool> Hang();
  Task<void> Finish(bool whole);
  std::string HeadLines();
  void WriteLog() const;

  const RequestHead& head_;
  Downstream& downstream_;
  Runtime& runtime_;
  MockState::Impl& state_;
  Interrupt interrupt_;
  SandboxReply reply_;
  std::optional<MockState::Impl::Taken> taken_;
  MockReply out_;
  std::uint64_t n_ = 0;
  std::int64_t bytes_sent_ = 0;
  std::int64_t events_sent_ = 0;
  bool usage_sent_ = false;
  bool finished_ = false;
  bool first_event_ = true;
  bool cut_short_ = false;  // end_at_byte was reached
};

std::string_view BearerOf(const RequestHead& head) {
  std::string_view value = head.Find("authorization");
  if (value.size() > 7 && EqualsIgnoreCase(value.substr(0, 7), "bearer ")) value.remove_prefix(7);
  return value;
}

Task<bool> MockExchange::Wait(Duration duration) {
  // In slices, so that a caller who leaves is noticed; short waits are one slice.
  while (duration.ns > 0 && interrupt_.why() == Interruption::kNone) {
    const Duration slice = duration > Seconds(1) ? kHangSlice : duration;
    co_await runtime_.Sleep(slice);
    duration = duration - slice;
  }
  co_return interrupt_.why() == Interruption::kNone;
}

// True when there is still somebody to go on for.
Task<bool> MockExchange::Hang() {
  if (taken_->fault.hang_ms > 0) co_return co_await Wait(Milliseconds(taken_->fault.hang_ms));
  HangUp hang_up(interrupt_);
  co_await hang_up.Wait();
  co_return false;
}

std::string MockExchange::HeadLines() {
  std::string lines = "x-request-id: req_";
  gateway::AppendHex(lines, reply_.id + n_, 32);
  lines +=
      "\r\nopenai-processing-ms: 1\r\nopenai-version: 2020-10-01\r\nopenai-organization: "
      "org-mock\r\nx-ratelimit-limit-requests: 500\r\nx-ratelimit-remaining-requests: 499\r\n"
      "x-ratelimit-reset-requests: 120ms\r\n";
  if (!taken_) return lines;
  const Fault& fault = taken_->fault;
  if (!fault.retry_after.empty()) Put(lines, "retry-after: {}\r\n", fault.retry_after);
  if (fault.retry_after_ms > 0) Put(lines, "retry-after-ms: {}\r\n", fault.retry_after_ms);
  if (!fault.content_encoding.empty()) {
    Put(lines, "content-encoding: {}\r\n", fault.content_encoding);
  }
  for (const auto& [name, value] : fault.headers) Put(lines, "{}: {}\r\n", name, value);
  return lines;
}

Task<void> MockExchange::SendPlain(ReplyHead head) {
  if (!out_.is_stream) {
    const MockPiece& piece = out_.pieces.front();
    finished_ = co_await downstream_.Reply(std::move(head), piece.bytes);
    if (finished_) bytes_sent_ = static_cast<std::int64_t>(piece.bytes.size());
    usage_sent_ = finished_ && piece.has_usage;
    co_return;
  }
  downstream_.Start(std::move(head));
  bool here = true;
  for (const auto& piece : out_.pieces) {
    if (!first_event_ && reply_.pause.ns > 0) {
      here = co_await Wait(reply_.pause);
      if (!here) break;
    }
    first_event_ = false;
    here = co_await downstream_.Send(piece.bytes);
    if (!here) break;
    bytes_sent_ += static_cast<std::int64_t>(piece.bytes.size());
    ++events_sent_;
    usage_sent_ = usage_sent_ || piece.has_usage;
  }
  co_await Finish(here);
}

Task<void> MockExchange::Finish(bool whole) {
  if (!whole) {
    downstream_.Cut();
    co_return;
  }
  finished_ = co_await downstream_.End({});
}

// One piece with the fault's delays and splits. False when nothing more is to be sent; then either
// the caller is gone, or the fault ends the reply here.
Task<bool> MockExchange::SendPiece(const MockPiece& piece) {
  const Fault& fault = taken_->fault;
  if (piece.is_event) {
    const auto delay = first_event_ ? fault.first_event_delay_ms : fault.event_delay_ms;
    const Duration pause = first_event_ ? Duration{} : reply_.pause;
    first_event_ = false;
    if (!co_await Wait(Milliseconds(delay) + pause)) co_return false;
  }
  std::string_view left = piece.bytes;
  while (!left.empty()) {
    auto most = static_cast<std::int64_t>(left.size());
    if (fault.chunk_bytes > 0) most = std::min(most, fault.chunk_bytes);
    if (fault.drip_bytes_per_second > 0) {
      // Twenty times a second, or one byte at a time when that is already too much.
      most = std::min(most, std::max<std::int64_t>(fault.drip_bytes_per_second / 20, 1));
      if (!co_await Wait({most * 1'000'000'000 / fault.drip_bytes_per_second})) co_return false;
    }
    if (fault.reset_at_byte) {
      most = std::min(most, *fault.reset_at_byte - bytes_sent_);
      if (most == 0) co_return false;
    }
    if (fault.end_at_byte) {
      most = std::min(most, *fault.end_at_byte - bytes_sent_);
      if (most == 0) {
        cut_short_ = true;
        co_return false;
      }
    }
    if (!co_await downstream_.Send(left.substr(0, static_cast<std::size_t>(most)))) co_return false;
    bytes_sent_ += most;
    left.remove_prefix(static_cast<std::size_t>(most));
  }
  if (piece.is_event) ++events_sent_;
  usage_sent_ = usage_sent_ || piece.has_usage;
  co_return true;
}

Task<void> MockExchange::SendFaulty(ReplyHead head) {
  const Fault& fault = taken_->fault;
  if (!co_await Wait(Milliseconds(fault.latency_ms))) co_return downstream_.Cut();
  if (fault.hang == "before_head" && !co_await Hang()) co_return downstream_.Cut();
  const bool in_one = !out_.is_stream && fault.hang != "after_head" && fault.hang != "mid_stream" &&
                      fault.chunk_bytes == 0 && fault.drip_bytes_per_second == 0 &&
                      !fault.reset_at_byte && !fault.end_at_byte &&
                      fault.framing != "content_length_and_chunked";
  if (in_one) {
    const MockPiece& piece = out_.pieces.front();
    if (fault.framing == "two_content_lengths") {
      Put(head.headers, "content-length: {}\r\n", piece.bytes.size() + 7);
    }
    finished_ = co_await downstream_.Reply(std::move(head), piece.bytes);
    if (finished_) bytes_sent_ = static_cast<std::int64_t>(piece.bytes.size());
    usage_sent_ = finished_ && piece.has_usage;
    co_return;
  }
  if (!fault.framing.empty()) head.headers += "content-length: 7\r\n";
  downstream_.Start(std::move(head));
  bool here = true;
  if (fault.hang == "after_head") {
    // The head leaves with the first byte only; this one changes neither JSON nor events.
    here = co_await downstream_.Send("\n");
    if (here) ++bytes_sent_;
    here = here && co_await Hang();
  }
  // A JSON body hangs in its middle, a stream between two events.
  std::vector<MockPiece> pieces = out_.pieces;
  if (fault.hang == "mid_stream" && pieces.size() == 1) {
    const MockPiece whole = pieces.front();
    const std::size_t half = whole.bytes.size() / 2;
    pieces = {{whole.bytes.substr(0, half), false, false},
              {whole.bytes.substr(half), whole.is_event, whole.has_usage}};
  }
  for (std::size_t i = 0; here && i < pieces.size(); ++i) {
    if (fault.hang == "mid_stream" && i == pieces.size() / 2) here = co_await Hang();
    here = here && co_await SendPiece(pieces[i]);
  }
  const bool whole = here && !fault.reset_at_byte;
  if (cut_short_) {
    static_cast<void>(co_await downstream_.End({}));
  } else {
    co_await Finish(whole);
  }
}

Task<void> MockExchange::Serve() {
  auto body = co_await downstream_.ReadBody(kMockBodyBytesMax);
  if (!body) {
    ReplyHead head;
    head.status = body.error().code == ErrorCode::kTooLarge ? 413 : 400;
    head.close = true;
    static_cast<void>(co_await downstream_.Reply(
        std::move(head), R"({"error":{"message":"The body could not be read.",)"
                         R"("type":"invalid_request_error","param":null,"code":null}})"));
    co_return;
  }
  const SandboxTarget target = gateway::SandboxTargetOf(head_.method, head_.path);
  state_.by_path[PathIndex(target.operation)].fetch_add(1, std::memory_order_relaxed);
  gateway::SandboxRequest request{.target = target,
                                  .body = *body,
                                  .content_type = head_.Find("content-type"),
                                  .now = runtime_.WallNow()};
  reply_ = gateway::MakeSandboxReply(request);
  n_ = state_.Remember(
      head_, *body, reply_.status == 200 && target.operation != SandboxOperation::kTranscription);
  taken_ = state_.TakeFault(BearerOf(head_), head_.path, reply_);
  if (taken_) {
    if (taken_->fault.missing_usage) {
      request.omit_usage = true;
      reply_ = gateway::MakeSandboxReply(request);
    }
    out_ = FaultyPieces(reply_, taken_->fault, request.now);
  } else {
    out_ = PlainPieces(reply_);
  }
  // Codex takes only 426 for "no WebSocket here" without trying again for seconds.
  if (target.operation == SandboxOperation::kMethodNotAllowed && !head_.Find("upgrade").empty()) {
    out_.status = 426;
  }
  ReplyHead head;
  head.status = out_.status;
  head.content_type = out_.content_type;
  head.headers = HeadLines();
  if (out_.is_stream) state_.open_streams.fetch_add(1, std::memory_order_relaxed);
  if (taken_ || reply_.pause.ns > 0) downstream_.WatchHangUp(interrupt_);
  if (taken_) {
    co_await SendFaulty(std::move(head));
  } else {
    co_await SendPlain(std::move(head));
  }
  if (out_.is_stream) state_.open_streams.fetch_sub(1, std::memory_order_relaxed);
  if (!finished_) state_.aborted.fetch_add(1, std::memory_order_relaxed);
  if (state_.log >= 0) WriteLog();
}

// One line per request, in one write: lines of several threads do not mix in a file opened for
// appending.
void MockExchange::WriteLog() const {
  std::string line;
  Put(line, R"({{"n":{},"at_ms":{},"request_id":)", n_, runtime_.WallNow().ns / 1'000'000);
  PutJsonText(line, head_.Find("x-request-id"));
  line += R"(,"client_request_id":)";
  PutJsonText(line, head_.Find("x-client-request-id"));
  line += R"(,"authorization_suffix":)";
  PutJsonText(line, Suffix(BearerOf(head_)));
  line += R"(,"method":)";
  PutJsonText(line, head_.method);
  line += R"(,"path":)";
  PutJsonText(line, head_.path);
  line += R"(,"model":)";
  AppendJsonString(line, reply_.model);
  Put(line, R"(,"stream":{},"status":{},"fault":{},"bytes_sent":{},"events_sent":{},"usage":)",
      out_.is_stream, out_.status, taken_ ? taken_->rule : 0, bytes_sent_, events_sent_);
  if (usage_sent_) {
    const Usage& usage = reply_.usage;
    Put(line,
        R"({{"input_tokens":{},"cached_input_tokens":{},"output_tokens":{},"reasoning_tokens":{}}})",
        usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens);
  } else {
    line += "null";
  }
  Put(line, R"(,"finished":{}}}{})", finished_, "\n");
  // A full disk loses lines of a test's log; there is nobody to tell and nothing to save.
  static_cast<void>(::write(state_.log, line.data(), line.size()));
}

Task<void> ServeControl(const RequestHead& head, Downstream& downstream, MockState& state) {
  ReplyHead reply;
  std::string body;
  if (head.path == "/_stats" && head.method == "GET") {
    body = state.Stats();
  } else if (head.path == "/_control" && head.method == "GET") {
    body = state.ListFaults();
  } else if (head.path == "/_control" && head.method == "DELETE") {
    state.ClearFaults();
    body = R"({"ok":true})";
  } else if (head.path == "/_control" && head.method == "POST") {
    const auto read = co_await downstream.ReadBody(kControlBytesMax);
    const auto set = read ? state.SetFault(*read)
                          : Result<void>(Fail(ErrorCode::kTooLarge, ErrorSource::kCaller,
                                              "the body could not be read"));
    if (set) {
      body = R"({"ok":true})";
    } else {
      reply.status = 400;
      reply.close = !read;
      body = R"({"error":)";
      PutJsonText(body, set.error().detail);
      body += '}';
    }
  } else {
    reply.status = 404;
    body = R"({"error":"GET /_stats; GET, POST or DELETE /_control"})";
  }
  static_cast<void>(co_await downstream.Reply(std::move(reply), body));
}

class MockHandler final : public net::HttpHandler {
 public:
  MockHandler(Runtime& runtime, MockState& state) : runtime_(runtime), state_(state) {}
  Task<void> Handle(const RequestHead& head, Downstream& downstream, Tick) override {
    return ServeMock(head, downstream, runtime_, state_);
  }
  std::string BadRequestBody(int, std::string_view reason) override {
    std::string body = R"({"error":{"message":)";
    PutJsonText(body, reason);
    return body + R"(,"type":"invalid_request_error","param":null,"code":null}})";
  }

 private:
  Runtime& runtime_;
  MockState& state_;
};

// Generous where a slow gateway under test should not be cut off by us.
config::CallerLimits MockLimits() {
  config::CallerLimits limits;
  limits.body_bytes_max = kMockBodyBytesMax;
  limits.connections_max = 200'000;
  limits.idle_deadline = Seconds(3600);
  limits.body_stall_deadline = Seconds(60);
  limits.write_stall_deadline = Seconds(3600);
  limits.requests_per_connection_max = INT32_MAX;
  return limits;
}

struct MockWorker {
  explicit MockWorker(MockState& state)
      : handler(loop, state), server(loop, handler, MockLimits()) {}
  net::Loop loop;
  MockHandler handler;
  net::HttpServer server;
};

}  // namespace

Task<void> ServeMock(const RequestHead& head, Downstream& downstream, Runtime& runtime,
                     MockState& state) {
  if (head.path == "/_control" || head.path == "/_stats") {
    co_await ServeControl(head, downstream, state);
    co_return;
  }
  // Boxed: the exchange is large, and frames above the pool's classes go to the allocator anyway.
  const auto exchange = std::make_unique<MockExchange>(head, downstream, runtime, state.impl());
  co_await exchange->Serve();
}

int RunMockUpstream(const MockOptions& options) {
  const auto fail = [](const std::string& sentence) {
    std::fprintf(stderr, "weir mock-upstream: %s\n", sentence.c_str());
    return kExitFailed;
  };
  MockState state;
  if (!options.log_file.empty()) {
    if (const auto opened = state.OpenLog(options.log_file); !opened) {
      return fail(opened.error().detail);
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::unique_ptr<MockWorker>> workers;
  std::uint16_t port = options.port;
  for (int i = 0; i < std::clamp(options.workers, 1, 64); ++i) {
    workers.push_back(std::make_unique<MockWorker>(state));
    const auto listening = workers.back()->server.Listen(options.host, port);
    if (!listening) return fail(listening.error().detail);
    port = *listening;
  }
  net::asio::signal_set signals(workers.front()->loop.context(), SIGTERM, SIGINT);
  signals.async_wait([&workers](net::SystemError, int) {
    for (const auto& worker : workers) worker->loop.Stop();
  });
  const bool v6 = options.host.find(':') != std::string::npos;
  std::printf("{\"url\":\"http://%s%s%s:%u\"}\n", v6 ? "[" : "", options.host.c_str(),
              v6 ? "]" : "", static_cast<unsigned>(port));
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < workers.size(); ++i) {
    threads.emplace_back([worker = workers[i].get()] { worker->loop.Run(); });
  }
  workers.front()->loop.Run();
  for (auto& thread : threads) thread.join();
  // Open exchanges are ended by the end of the process: a cut is what their callers must see, and
  // unwinding suspended coroutines would only say the same more slowly.
  std::fflush(nullptr);
  std::_Exit(kExitDone);
}

void AddMockUpstream(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<MockOptions>();
  CLI::App* command = app.add_subcommand(
      "mock-upstream", "A synthetic OpenAI upstream over HTTP, with faults on request");
  command->add_option("--host", options->host, "Address to listen on")->capture_default_str();
  command->add_option("--port", options->port, "Port to listen on; 0 takes any free one")
      ->capture_default_str();
  command->add_option("--log", options->log_file, "Append one JSON line per request to this file");
  command->add_option("--workers", options->workers, "Threads")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->callback([options, &exit_code] { exit_code = RunMockUpstream(*options); });
}

}  // namespace weir::cli
