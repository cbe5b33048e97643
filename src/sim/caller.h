// A simulated caller of one request: what it sends, how it reads, when it leaves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/ports.h"
#include "sim/auditor.h"
#include "sim/draw.h"
#include "sim/executor.h"

namespace weir::sim {

struct CallerPlan {
  Duration body_after;
  std::optional<ErrorCode> body_fails;
  std::optional<Duration> hangs_up_after;
  bool deaf = false;     // never reads: its first write waits until the stall deadline
  Duration reads_after;  // at most, for each write
  std::int64_t retries = 0;
};

class SimCaller final : public gateway::Downstream {
 public:
  // `body` has 64 readable bytes behind it.
  SimCaller(Executor& executor, Auditor& auditor, CallTruth& truth, CallerPlan plan,
            std::string_view body, Duration write_stall, std::uint64_t seed);

  Task<Result<std::string_view>> ReadBody(std::int64_t bytes_max) override;
  Task<bool> Reply(gateway::ReplyHead head, std::string_view body) override;
  void Start(gateway::ReplyHead head) override;
  Task<bool> Send(std::string_view bytes) override;
  Task<bool> End(std::string_view last_bytes) override;
  void Cut() override { gone_ = true; }
  bool started() const override { return started_; }
  void WatchHangUp(gateway::Interrupt& interrupt) override;

  // The process stops: what has begun is interrupted, what has not is cut.
  void Drain();

 private:
  void HangUp();
  Task<bool> Write(std::string_view bytes, bool end);

  Executor& executor_;
  Auditor& auditor_;
  CallTruth& truth_;
  CallerPlan plan_;
  std::string_view body_;
  Duration write_stall_;
  Draw draw_;
  Timer hang_up_;
  gateway::Interrupt* interrupt_ = nullptr;
  Wait* waiting_ = nullptr;
  bool started_ = false;
  bool gone_ = false;
};

}  // namespace weir::sim
