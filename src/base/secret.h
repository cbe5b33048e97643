// A text that must not be seen: upstream keys, the pepper, tokens. It has no formatter and no
// stream operator, so printing one does not compile; Reveal() marks the few places that need it.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace weir {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  std::string_view Reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend bool operator==(const Secret&, const Secret&) = default;

 private:
  std::string text_;
};

}  // namespace weir
