// The properties are in dialect/form_fuzz_entry.h.
#include "dialect/form_fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::dialect::fuzz::MultipartEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
