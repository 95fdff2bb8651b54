// Preloaded: kills the process before its DIE_AT_CALL-th rename or symlink, as a crash there would.
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>

namespace {

void Count() {
  static std::atomic<int> left = [] {
    const char* text = std::getenv("DIE_AT_CALL");
    return text == nullptr ? 0 : std::atoi(text);
  }();
  if (--left == 0) raise(SIGKILL);
}

int Pass(const char* name, const char* from, const char* to) {
  Count();
  return reinterpret_cast<int (*)(const char*, const char*)>(dlsym(RTLD_NEXT, name))(from, to);
}

}  // namespace

extern "C" {
int rename(const char* from, const char* to) noexcept { return Pass("rename", from, to); }
int symlink(const char* target, const char* link) noexcept { return Pass("symlink", target, link); }
}
