// The properties are in net/fuzz_entry.h.
#include "net/fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  weir::net::fuzz::ResponseEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
