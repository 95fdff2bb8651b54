#include "lib/base/nearest.h"

#include <algorithm>
#include <utility>

namespace ftd {

int EditDistance(std::string_view a, std::string_view b) {
  // Optimal string alignment: like Levenshtein's distance, but swapped neighbours count as one
  // error. Rows i-2, i-1 and i of the table are kept. O(|a|·|b|).
  std::vector<int> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substitute = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitute});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

// "" if nothing is near enough to be a typo.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  // A third of the letters wrong is a typo; more is another word.
  int best = std::max<int>(1, static_cast<int>(word.size()) / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const int distance = EditDistance(word, candidate);
    const bool same_length = candidate.size() == word.size();
    // Among equals, letters that were swapped or mistyped are likelier than one forgotten.
    if (distance < best ||
        (distance == best && same_length && nearest.size() != word.size() && !nearest.empty())) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace ftd
