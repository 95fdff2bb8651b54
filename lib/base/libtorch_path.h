// The place of a LibTorch that was put somewhere else: FTD_LIBTORCH.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace ftd {

// A program finds its libraries when it is started, so whoever starts ft-worker has to say where
// they are. Returns the LD_LIBRARY_PATH to start it with: FTD_LIBTORCH's folder before
// `library_path` (LD_LIBRARY_PATH so far). `libtorch` is a folder with lib/libtorch_cpu.so, as the
// wheel's torch/ and the archives of pytorch.org have it, or that lib/ itself; empty:
// `library_path` stays as it is. NOT_FOUND LIBTORCH_NOT_FOUND.
absl::StatusOr<std::string> LibraryPathFor(const std::string& libtorch,
                                           const std::string& library_path);

}  // namespace ftd
