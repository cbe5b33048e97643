// Asks accounts whether they are well, in the background of one worker: which and when is
// routing/account_pool's to say, what the answer means gateway/probe's.
#pragma once

#include <unordered_set>

#include "base/runtime.h"
#include "base/task.h"
#include "gateway/ports.h"
#include "gateway/probe.h"
#include "server/pool_host.h"

namespace weir::server {

class Prober {
 public:
  // All three outlive it.
  Prober(PoolHost& pool, gateway::Upstreams& upstreams, Runtime& runtime)
      : pool_(pool), upstreams_(upstreams), runtime_(runtime) {}

  // Begins a probe of each account that is due; a few at once.
  void Begin();
  // Ends what is under way; `idle` once it has ended.
  void Stop();
  bool idle() const { return under_way_.empty(); }

 private:
  Task<void> Ask(routing::ProbeDue due);

  PoolHost& pool_;
  gateway::Upstreams& upstreams_;
  Runtime& runtime_;
  std::unordered_set<gateway::Interrupt*> under_way_;
};

}  // namespace weir::server
