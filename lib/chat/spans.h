// Stretches of a text.
#pragma once

#include <cstddef>
#include <vector>

namespace ftd::chat {

// Bytes of a text.
struct Span {
  size_t begin, end;
  bool operator==(const Span&) const = default;
};

// Returns the spans in order; those that touch are one.
std::vector<Span> Joined(std::vector<Span> spans);

// Returns what is left of a span without `holes`, which may lie in any order and partly outside it.
std::vector<Span> Without(std::vector<Span> holes, Span span);

}  // namespace ftd::chat
