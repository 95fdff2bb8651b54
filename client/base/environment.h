// Variables of the environment.
#pragma once

#include <cstdlib>
#include <string>

namespace ftd {

// Returns "" for a variable that is not set.
inline std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace ftd
