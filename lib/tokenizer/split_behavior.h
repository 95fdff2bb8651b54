// The behaviours of a Split pre-tokenizer: the treatment of its matches.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "lib/tokenizer/regex/regex.h"

namespace ftd {

enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

// tokenizer.json's spelling ("MergedWithNext"); nullopt for an unknown one.
std::optional<SplitBehavior> SplitBehaviorOf(std::string_view name);

// The parts that `spans`, which cover a text in order, leave: joined or dropped as `behavior` says.
std::vector<Span> Arrange(const std::vector<Span>& spans, SplitBehavior behavior);

}  // namespace ftd
