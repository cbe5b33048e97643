// What policies see of a request, as one text that is cheap to keep, copy and compare: dimensions
// with their values, each at most once, by rising dimension.
//
// A value of its own and not seventeen strings, because a record is copied for the log, the request
// log and the metrics of every request.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/policy.h"

namespace weir::telemetry {

class Attributes {
 public:
  // A longer value is cut: a model's name may be as long as a caller likes.
  static constexpr std::size_t kValueMax = 256;

  // Appends; an empty value is none.   REQUIRES dimensions in rising order
  void Add(config::Dimension dimension, std::string_view value) {
    value = value.substr(0, kValueMax);
    if (value.empty()) return;
    packed_ += static_cast<char>(dimension);
    packed_ += static_cast<char>(value.size() & 0xFF);
    packed_ += static_cast<char>(value.size() >> 8);
    packed_ += value;
  }

  // Calls f(dimension, value) for each.
  template <class F>
  void ForEach(F&& f) const {
    std::string_view rest = packed_;
    while (rest.size() >= kHeadBytes) {
      const auto byte = [&](std::size_t i) {
        return static_cast<std::size_t>(static_cast<unsigned char>(rest[i]));
      };
      const std::size_t length = byte(1) | byte(2) << 8;
      f(static_cast<config::Dimension>(byte(0)), rest.substr(kHeadBytes, length));
      rest.remove_prefix(std::min(rest.size(), kHeadBytes + length));
    }
  }

  // Empty: it has none.
  std::string_view Get(config::Dimension dimension) const {
    std::string_view found;
    ForEach([&](config::Dimension d, std::string_view value) {
      if (d == dimension) found = value;
    });
    return found;
  }

  bool empty() const { return packed_.empty(); }
  std::size_t capacity() const { return packed_.capacity(); }
  std::string_view packed() const { return packed_; }

  friend bool operator==(const Attributes&, const Attributes&) = default;

 private:
  static constexpr std::size_t kHeadBytes = 3;
  std::string packed_;
};

}  // namespace weir::telemetry
