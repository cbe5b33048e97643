#include "gateway/sandbox_upstream.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/sandbox_reply.h"
#include "gateway/sandbox_text.h"

namespace weir::gateway {
namespace {

class SandboxUpstreamReply final : public UpstreamReply {
 public:
  SandboxUpstreamReply(SandboxReply reply, Runtime& runtime, Interrupt& interrupt, Tick deadline)
      : reply_(std::move(reply)), runtime_(runtime), interrupt_(interrupt), deadline_(deadline) {
    request_id_ = "req_";
    AppendHex(request_id_, reply_.id, 32);
    headers_ = {
        {"content-type", !reply_.content_type.empty() ? std::string_view(reply_.content_type)
                         : reply_.is_stream()         ? "text/event-stream; charset=utf-8"
                                                      : "application/json"},
        {"x-request-id", request_id_},
        {"openai-version", "2020-10-01"},
        {"openai-processing-ms", "1"}};
  }
  SandboxUpstreamReply(const SandboxUpstreamReply&) = delete;
  SandboxUpstreamReply& operator=(const SandboxUpstreamReply&) = delete;

  int status() const override { return reply_.status; }
  const std::vector<HeaderView>& headers() const override { return headers_; }
  std::string_view Find(std::string_view lower_name) const override {
    for (const auto& header : headers_) {
      if (header.name == lower_name) return header.value;
    }
    return {};
  }

  Task<Result<std::string_view>> Read(Duration) override {
    if (next_ > 0 && next_ < pieces() && reply_.pause.ns > 0) co_await runtime_.Sleep(reply_.pause);
    if (interrupt_.why() != Interruption::kNone) {
      co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "the sandbox was told to stop");
    }
    if (deadline_ != kNoDeadline && runtime_.Now() >= deadline_) {
      co_return Fail(ErrorCode::kTimeout, ErrorSource::kUpstream,
                     "the sandbox did not finish in time");
    }
    if (next_ == pieces()) co_return std::string_view();
    const std::size_t piece = next_++;
    co_return reply_.is_stream() ? reply_.event(piece) : std::string_view(reply_.body);
  }

 private:
  std::size_t pieces() const { return reply_.is_stream() ? reply_.event_count() : 1; }

  SandboxReply reply_;
  Runtime& runtime_;
  Interrupt& interrupt_;
  Tick deadline_;
  std::string request_id_;
  std::vector<HeaderView> headers_;
  std::size_t next_ = 0;
};

// Of finished header lines, as the path writes them: in lower case, this one first.
std::string_view ContentTypeIn(std::string_view headers) {
  constexpr std::string_view kName = "content-type: ";
  if (!headers.starts_with(kName)) return {};
  headers.remove_prefix(kName.size());
  return headers.substr(0, headers.find("\r\n"));
}

}  // namespace

Task<Result<std::unique_ptr<UpstreamReply>>> SandboxUpstreams::Send(UpstreamRequest request,
                                                                    Interrupt& interrupt) {
  if (interrupt.why() != Interruption::kNone) {
    co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "the sandbox was told to stop");
  }
  std::string joined;
  std::string_view body;
  if (request.body.size() == 1) {
    body = request.body.front();
  } else {
    for (const auto part : request.body) joined += part;
    body = joined;
  }
  const std::string_view target = request.target;
  SandboxReply reply = MakeSandboxReply(
      {.target = SandboxTargetOf(request.method, target.substr(0, target.find('?'))),
       .body = body,
       .content_type = ContentTypeIn(request.headers),
       .now = runtime_.WallNow()});
  co_return std::make_unique<SandboxUpstreamReply>(std::move(reply), runtime_, interrupt,
                                                   request.deadline);
}

}  // namespace weir::gateway
