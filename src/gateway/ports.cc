#include "gateway/ports.h"

namespace weir::gateway {

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<unsigned char>(a[i]);
    const auto y = static_cast<unsigned char>(b[i]);
    if (x == y) continue;
    const bool letter = (x | 0x20U) >= 'a' && (x | 0x20U) <= 'z';
    if (!letter || (x ^ y) != 0x20U) return false;
  }
  return true;
}

std::string_view RequestHead::Find(std::string_view lower_name) const {
  for (const auto& header : headers) {
    if (EqualsIgnoreCase(header.name, lower_name)) return header.value;
  }
  return {};
}

}  // namespace weir::gateway
