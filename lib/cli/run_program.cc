#include "lib/cli/run_program.h"

#include <cstdio>
#include <iostream>

#include "lib/base/utf8.h"

namespace ftd {
namespace {

// sysexits.h
constexpr int kExitDataError = 65, kExitIoError = 74;

bool FlushOutput() {
  std::cout.flush();
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && !std::cout.bad();
}

}  // namespace

int RunProgram(const char* name, int argc, char** argv, const std::function<int()>& body) {
  for (int i = 1; i < argc; ++i) {
    if (IsValidUtf8(argv[i])) continue;
    std::cerr << name << ": argument " << i << " is not UTF-8: " << EscapeInvalidUtf8(argv[i])
              << "; rename the file or directory, or name it by a link" << std::endl;
    return kExitDataError;
  }
  const int code = body();
  if (FlushOutput() || code != 0) return code;
  std::cerr << name << ": standard output cannot be written: the disk is full, or it is closed"
            << std::endl;
  return kExitIoError;
}

}  // namespace ftd
