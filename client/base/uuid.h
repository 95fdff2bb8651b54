// Random UUIDs.
#pragma once

#include <string>

namespace ftd {

// A UUID of version 4 (RFC 4122) from the kernel's random numbers, lower case.
std::string NewUuid();

}  // namespace ftd
