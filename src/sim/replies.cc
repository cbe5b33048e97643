#include "sim/replies.h"

#include <utility>

namespace weir::sim {
namespace {

constexpr Duration kWriteTime = Milliseconds(200);  // at most
constexpr Duration kReadTime = Milliseconds(5);

}  // namespace

void SimReplies::Keep(const RequestId& request, gateway::KeptReply reply) {
  const Duration pause = draw_.Pause(kWriteTime);
  const bool lost = draw_.Chance(300);
  if (lost && loses_) return;
  young_.insert_or_assign(request, std::move(reply));
  executor_.In(pause, [this, request, life = life_] {
    if (life != life_) return;
    auto node = young_.extract(request);
    if (!node.empty()) written_.insert(std::move(node));
  });
}

Task<std::optional<gateway::KeptReply>> SimReplies::Find(RequestId request) {
  Wait wait(executor_);
  wait.WakeIn(draw_.Pause(kReadTime));
  co_await wait;
  for (const auto* replies : {&young_, &written_}) {
    const auto found = replies->find(request);
    if (found != replies->end()) co_return found->second;
  }
  co_return std::nullopt;
}

void SimReplies::Crash(bool power) {
  ++life_;
  young_.clear();
  if (power) std::erase_if(written_, [this](const auto&) { return draw_.Chance(300); });
}

}  // namespace weir::sim
