// ft-train: `ft-worker train`, started so that it finds LibTorch.
//
// A program of its own, free of LibTorch, because the loader looks for libraries before main: here
// FTD_LIBTORCH can still be obeyed, and a missing LibTorch be reported in plain words.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>

#include "lib/base/libtorch_path.h"

namespace {

constexpr int kNoInput = 66, kSoftware = 70;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Returns whether the loader finds LibTorch by itself. It is asked for the smallest library, which
// it looks for in the same places as for ft-worker.
bool IsFoundByItself() { return dlopen("libc10.so", RTLD_LAZY | RTLD_LOCAL) != nullptr; }

}  // namespace

// The worker's environment is prepared and the process replaced: signals and exit code are its own.
int main(int, char** argv) {
  const std::string libtorch = Variable("FTD_LIBTORCH");
  const auto path = ftd::LibraryPathFor(libtorch, Variable("LD_LIBRARY_PATH"));
  if (!path.ok()) {
    std::cerr << "ft-train: " << path.status().message() << "\n";
    return kNoInput;
  }
  if (!path->empty()) setenv("LD_LIBRARY_PATH", path->c_str(), /*overwrite=*/1);
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  if (libtorch.empty() && !IsFoundByItself()) {
    std::cerr << "ft-train: LibTorch was not found (" << dlerror() << "); name its folder in "
              << "FTD_LIBTORCH, or put it at "
              << (self.parent_path().parent_path() / "lib/ftd/torch").string() << "\n";
    return kNoInput;
  }
  const std::string worker = (self.parent_path() / "ft-worker").string();
  execv(worker.c_str(), argv);  // it sees from its name what to do
  std::cerr << "ft-train: cannot start " << worker << ": " << strerror(errno) << "\n";
  return kSoftware;
}
