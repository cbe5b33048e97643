// The properties are in dialect/fuzz_entry.h.
#include "dialect/fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::dialect::fuzz::RequestShapeEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
