#include "server/prober.h"

#include <utility>
#include <vector>

namespace weir::server {
namespace {

// At once. A pool whose upstream hangs must not fill the worker with questions.
constexpr std::size_t kUnderWayMax = 16;

}  // namespace

void Prober::Begin() {
  if (under_way_.size() >= kUnderWayMax) return;
  for (routing::ProbeDue& due : pool_.TakeProbes(kUnderWayMax - under_way_.size())) {
    Spawn(Ask(std::move(due)));
  }
}

Task<void> Prober::Ask(routing::ProbeDue due) {
  gateway::Interrupt interrupt;
  under_way_.insert(&interrupt);
  const config::Account& account = due.config->accounts[due.account];
  const routing::Outcome outcome = co_await gateway::Probe(
      due.config->upstreams[account.upstream], account, upstreams_, interrupt, runtime_);
  under_way_.erase(&interrupt);
  pool_.NoteProbe(account.id, outcome);
}

void Prober::Stop() {
  // Firing may end a question at once, which takes it out of the set.
  const std::vector<gateway::Interrupt*> under_way(under_way_.begin(), under_way_.end());
  for (gateway::Interrupt* const interrupt : under_way) {
    if (under_way_.contains(interrupt)) interrupt->Fire(gateway::Interruption::kDrain);
  }
}

}  // namespace weir::server
