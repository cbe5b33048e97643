// The properties are in dialect/codex_fuzz_entry.h.
#include "dialect/codex_fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::dialect::fuzz::StreamAggregateEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
