// The simulated upstreams: for each attempt they draw from the request's seed what happens, and
// write down for the auditor what they really produced.
//
// One that behaves keeps to the bounds it was given in the body: it never makes more tokens than
// the maximum that stands there (or the model's), and never counts more input than there are bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gateway/ports.h"
#include "sim/auditor.h"
#include "sim/draw.h"
#include "sim/executor.h"
#include "sim/schedule.h"

namespace weir::sim {

// The header by which a simulated upstream knows which call it serves. It is one that passes.
inline constexpr std::string_view kCallHeader = "x-client-request-id";

// Of every model, for each choice.
inline constexpr std::int64_t kOutputTokensMax = 4096;

// What an upstream must know of the request that it is not told by its bytes.
struct UpstreamCall {
  CallTruth* truth = nullptr;
  std::uint64_t seed = 0;
  std::int64_t body_bytes = 0;  // as the caller sent it
  bool calm = false;
};

class SimUpstreams final : public gateway::Upstreams {
 public:
  struct Options {
    FaultSet faults;
    Duration think_time;  // at most
  };
  SimUpstreams(Executor& executor, Auditor& auditor, Options options)
      : executor_(executor), auditor_(auditor), options_(options) {}

  Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Send(
      gateway::UpstreamRequest request, gateway::Interrupt& interrupt) override;

  // The next call, whose number is its place in the order of these calls.
  std::uint32_t Add(UpstreamCall call) {
    calls_.push_back(call);
    return static_cast<std::uint32_t>(calls_.size() - 1);
  }
  // No faults from here on, for attempts that begin later.
  void Heal() { options_.faults = {}; }

 private:
  Executor& executor_;
  Auditor& auditor_;
  Options options_;
  std::vector<UpstreamCall> calls_;
};

}  // namespace weir::sim
