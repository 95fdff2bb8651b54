#include "lib/tokenizer/split_behavior.h"

#include <algorithm>
#include <utility>

namespace ftd {
namespace {

// Removes the matches. The examples split "the-final--countdown" at "-": the, final, countdown.
std::vector<Span> WithoutMatches(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  std::copy_if(spans.begin(), spans.end(), std::back_inserter(parts),
               [](const Span& s) { return !s.is_match; });
  return parts;
}

// Joins neighbours of one kind: the, -, final, --, countdown.
std::vector<Span> Contiguous(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  bool previous = false;
  for (const Span& span : spans) {
    if (span.is_match == previous && !parts.empty()) {
      parts.back().end = span.end;
    } else {
      parts.push_back(span);
    }
    previous = span.is_match;
  }
  return parts;
}

// Joins a match to the part before it, unless that is a match as well: the-, final-, -, countdown.
std::vector<Span> MergedWithPrevious(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  bool previous = false;
  for (const Span& span : spans) {
    if (span.is_match && !previous && !parts.empty()) {
      parts.back().end = span.end;
    } else {
      parts.push_back(span);
    }
    previous = span.is_match;
  }
  return parts;
}

// The mirror image, from the end: the, -final, -, -countdown.
std::vector<Span> MergedWithNext(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  bool next = false;
  for (size_t i = spans.size(); i-- > 0;) {
    const Span& span = spans[i];
    if (span.is_match && !next && !parts.empty()) {
      parts.back().begin = span.begin;
    } else {
      parts.push_back(span);
    }
    next = span.is_match;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

std::optional<SplitBehavior> SplitBehaviorOf(std::string_view name) {
  constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  for (const auto& [text, behavior] : kNames) {
    if (text == name) return behavior;
  }
  return std::nullopt;
}

// Isolated keeps all spans as they are.
std::vector<Span> Arrange(const std::vector<Span>& spans, SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      return WithoutMatches(spans);
    case SplitBehavior::kMergedWithPrevious:
      return MergedWithPrevious(spans);
    case SplitBehavior::kMergedWithNext:
      return MergedWithNext(spans);
    case SplitBehavior::kContiguous:
      return Contiguous(spans);
    case SplitBehavior::kIsolated:
      break;
  }
  return spans;
}

}  // namespace ftd
