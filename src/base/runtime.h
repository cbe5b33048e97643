// What a coroutine may ask of the world besides its ports: the time, and to be woken later.
// net/loop implements it over the system's clocks, sim/ over simulated ones.
#pragma once

#include "base/random.h"
#include "base/task.h"
#include "base/time.h"

namespace weir {

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Instant WallNow() = 0;
  virtual Tick Now() = 0;
  virtual Task<void> Sleep(Duration duration) = 0;
  // For ids and jitter. Unpredictable in production, seeded in the simulator.
  virtual Random& Entropy() = 0;
};

}  // namespace weir
