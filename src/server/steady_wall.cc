#include "server/steady_wall.h"

namespace weir::server {

Instant SteadyWall::At(Instant wall, Tick boot) {
  const auto follow = [&] {
    begun_ = true;
    wall_ = wall;
    boot_ = boot;
    doubted_since_.reset();
    return wall;
  };
  if (!begun_) return follow();
  const Instant expected = wall_ + (boot - boot_);
  const Duration ahead = wall - expected;
  if (ahead <= kJump) return follow();
  // Another jump meanwhile is another doubt.
  const Duration change = ahead - ahead_;
  if (!doubted_since_ || change > kJump || Duration{} - change > kJump) {
    doubted_since_ = boot;
    ahead_ = ahead;
  }
  if (boot - *doubted_since_ >= kConfirmed) return follow();
  return expected;
}

}  // namespace weir::server
