#include "store/text_list.h"

#include <algorithm>

namespace weir::store {

Result<std::string> JoinLines(std::span<const std::string> items, std::string_view what) {
  std::string text;
  for (const std::string& item : items) {
    if (item.empty() || item.contains('\n')) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kCaller,
                  std::string(what) + " is empty or has a line break");
    }
    text += item + "\n";
  }
  return text;
}

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    items.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return items;
}

}  // namespace weir::store
