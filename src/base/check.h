// Invariants that stay on in production.
//
// CHECK(condition, "why it must hold") ends the process when the condition is false: for the
// ledger and for memory a wrong state is worse than no service, because a restart recovers from
// the journal and a wrong state does not. Never used for anything a caller or an upstream can do.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace weir {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition,
                                     const char* why) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s (%s)\n", file, line, condition, why);
  std::abort();
}

}  // namespace weir

#define CHECK(condition, why)                                   \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::weir::CheckFailed(__FILE__, __LINE__, #condition, why); \
  } while (false)
