#include "gateway/probe.h"

#include <algorithm>
#include <string>
#include <utility>

#include "dialect/failure_class.h"
#include "gateway/credential.h"

namespace weir::gateway {
namespace {

// A list of models comes in a second or something is wrong.
constexpr Duration kProbeDeadline = Seconds(15);

dialect::Dialect FamilyOf(config::UpstreamKind kind) {
  switch (kind) {
    case config::UpstreamKind::kAnthropic:
      return dialect::Dialect::kAnthropicMessages;
    case config::UpstreamKind::kGemini:
      return dialect::Dialect::kGeminiGenerate;
    case config::UpstreamKind::kSandbox:
    case config::UpstreamKind::kOpenAi:
      break;
  }
  return dialect::Dialect::kOpenAiResponses;
}

// A list of models is not a limit's business; a 4xx that is not about the credential is that of an
// upstream without one.
routing::Outcome MeaningOf(int status, dialect::FailureClass failure) {
  if (failure == dialect::FailureClass::kAuthDead) return routing::Outcome::kAuthDead;
  if (failure == dialect::FailureClass::kServerError && status >= 500) {
    return routing::Outcome::kServerError;
  }
  return routing::Outcome::kNothing;
}

}  // namespace

Task<routing::Outcome> Probe(const config::Upstream& upstream, const config::Account& account,
                             Upstreams& upstreams, Interrupt& interrupt, Runtime& runtime) {
  UpstreamRequest request;
  request.upstream = &upstream;
  request.account = &account;
  request.method = "GET";
  request.target = upstream.base_path + "/models";
  AppendCredential(upstream, account, {}, request.headers);
  request.headers +=
      "accept: application/json\r\naccept-encoding: identity\r\nuser-agent: weir\r\n";
  const Duration wait = std::min(kProbeDeadline, upstream.total_deadline);
  const Tick deadline = runtime.Now() + wait;
  request.deadline = deadline;
  auto reply = co_await upstreams.Send(std::move(request), interrupt);
  if (!reply) {
    // An interrupted question was not answered; that is nobody's fault.
    co_return reply.error().code == ErrorCode::kInterrupted ? routing::Outcome::kNothing
                                                            : routing::Outcome::kServerError;
  }
  const int status = (*reply)->status();
  if (status >= 200 && status <= 299) co_return routing::Outcome::kServed;
  std::string body;
  while (body.size() < dialect::kErrorBodyBytesMax && runtime.Now() < deadline) {
    const auto bytes = co_await (*reply)->Read(deadline - runtime.Now());
    if (!bytes || bytes->empty()) break;
    body.append(*bytes);
  }
  body.resize(std::min(body.size(), dialect::kErrorBodyBytesMax));
  const auto failure = dialect::Classify(
      FamilyOf(upstream.kind), status, [&](std::string_view name) { return (*reply)->Find(name); },
      body, runtime.WallNow());
  co_return MeaningOf(status, failure.failure_class);
}

}  // namespace weir::gateway
