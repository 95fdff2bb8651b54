// A number of bytes as people read it.
#pragma once

#include <cstdint>
#include <string>

namespace ftd {

// "512 B", "12.3 MB" (decimal units).
std::string ShortBytes(int64_t bytes);

}  // namespace ftd
