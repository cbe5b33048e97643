// The properties are in config/price_fuzz_entry.h.
#include "config/price_fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  weir::config::fuzz::PriceCodecEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
