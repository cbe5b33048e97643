#include "config/nearest.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace weir::config {
namespace {

// Insertions, deletions, replacements and swaps of neighbours that turn a into b; both at most 64
// long.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::array<std::array<std::size_t, 65>, 3> rows{};  // rows[i % 3] is row i
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i - 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], rows[(i - 2) % 3][j - 2] + 1);
      }
    }
  }
  return rows[a.size() % 3][b.size()];
}

}  // namespace

std::string_view Nearest(std::string_view text, std::span<const std::string_view> candidates) {
  if (text.empty() || text.size() > 64) return {};
  std::string_view nearest;
  // A third of the letters may be wrong, but never all: of one-letter names none is near another.
  std::size_t best = std::min(std::max<std::size_t>(text.size() / 3, 1) + 1, text.size());
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > 64) continue;
    const std::size_t distance = EditDistance(text, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace weir::config
