// The replies that are kept for whoever asks again with the same Idempotency-Key: what was kept a
// moment ago is in memory and goes with a crash, the rest is on a disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "gateway/ports.h"
#include "sim/draw.h"
#include "sim/executor.h"

namespace weir::sim {

class SimReplies final : public gateway::Replies {
 public:
  // `loses`: now and then one is gone, as it may be.
  SimReplies(Executor& executor, std::uint64_t seed, bool loses)
      : executor_(executor), draw_(seed), loses_(loses) {}

  void Keep(const RequestId& request, gateway::KeptReply reply) override;
  Task<std::optional<gateway::KeptReply>> Find(RequestId request) override;

  // The process is gone; with `power` some of what had been written, too.
  void Crash(bool power);
  // Nothing is lost from here on.
  void Heal() { loses_ = false; }

 private:
  Executor& executor_;
  Draw draw_;
  bool loses_;
  std::uint64_t life_ = 0;
  std::map<RequestId, gateway::KeptReply> young_;
  std::map<RequestId, gateway::KeptReply> written_;
};

}  // namespace weir::sim
