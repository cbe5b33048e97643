// The properties are in identity/fuzz_entry.h.
#include "identity/fuzz_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  weir::identity::fuzz::MetadataEntry({reinterpret_cast<const char*>(data), size});
  return 0;
}
