// absl::StrCat for std::string_view: Debian's Abseil has a string_view of its own and does not take
// the standard's.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ftd {

inline absl::string_view ForAbseil(std::string_view text) { return {text.data(), text.size()}; }
template <typename T>
const T& ForAbseil(const T& part) {
  return part;
}
inline absl::string_view ForAbseil(const std::string& text) { return {text.data(), text.size()}; }

template <typename... Parts>
std::string Concat(const Parts&... parts) {
  return absl::StrCat(ForAbseil(parts)...);
}

}  // namespace ftd
