// The properties are in prices/fuzz_entry.h.
#include "prices/fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  weir::prices::fuzz::LiteLlmEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
