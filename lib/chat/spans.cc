#include "lib/chat/spans.h"

#include <algorithm>
#include <utility>

namespace ftd::chat {

std::vector<Span> Joined(std::vector<Span> spans) {
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.begin < b.begin; });
  std::vector<Span> joined;
  for (const Span& span : spans) {
    if (!joined.empty() && span.begin <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, span.end);
    } else {
      joined.push_back(span);
    }
  }
  return joined;
}

std::vector<Span> Without(std::vector<Span> holes, Span span) {
  std::vector<Span> left;
  size_t begin = span.begin;
  for (const Span& hole : Joined(std::move(holes))) {
    if (begin < hole.begin) left.push_back({begin, std::min(hole.begin, span.end)});
    begin = std::max(begin, hole.end);
  }
  if (begin < span.end) left.push_back({begin, span.end});
  return left;
}

}  // namespace ftd::chat
