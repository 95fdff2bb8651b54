// What a directory takes on the disk.
#pragma once

#include <cstdint>
#include <filesystem>

namespace ftd {

// The size of all regular files below `root`, in bytes, without holes. What cannot be read, or is
// removed meanwhile, counts nothing; links are not followed.
int64_t TreeBytes(const std::filesystem::path& root);

}  // namespace ftd
