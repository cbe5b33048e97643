// The wall clock as the windows of policies may go by it: one that a machine's clock cannot drag
// into the future.
//
// A clock that jumps ahead for a moment (a bad time server, a guest that was restored) would end
// every window at once, and, because windows never go back, would keep those of the far future open
// until then. So a jump ahead of more than kJump against the time since the machine started is not
// followed at once: time goes on at the rate of that other clock until the wall clock has said the
// same for kConfirmed. Going back is followed at once; the credit machine keeps windows from
// opening again.
//
// Pure: both clocks are parameters. Used by one thread at a time.
#pragma once

#include <optional>

#include "base/time.h"

namespace weir::server {

class SteadyWall {
 public:
  static constexpr Duration kJump = Minutes(5);
  static constexpr Duration kConfirmed = Minutes(15);

  //   wall  what the wall clock shows
  //   boot  of a clock that is never set and counts while the machine sleeps (CLOCK_BOOTTIME)
  Instant At(Instant wall, Tick boot);

  // Whether the wall clock shows a time that is not followed yet.
  bool doubts() const { return doubted_since_.has_value(); }

 private:
  bool begun_ = false;
  Instant wall_;  // as of boot_
  Tick boot_;
  std::optional<Tick> doubted_since_;
  Duration ahead_;  // how far, when the doubt began
};

}  // namespace weir::server
