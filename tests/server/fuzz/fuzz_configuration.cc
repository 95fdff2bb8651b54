// Any bytes as ftd.toml. What is accepted is printed as a file that says the same.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "server/host/options.h"

namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

absl::StatusOr<ftd::Options> Load(std::string_view bytes) {
  static const int fd = memfd_create("ftd.toml", MFD_CLOEXEC);
  Check(fd >= 0 && ftruncate(fd, 0) == 0 &&
        pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return ftd::LoadOptions({}, {}, absl::StrCat("/proc/self/fd/", fd));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto options = Load({reinterpret_cast<const char*>(data), size});
  if (!options.ok()) {
    const auto message = options.status().message();
    Check(!message.empty() && ftd::IsValidUtf8({message.data(), message.size()}));
    Check(ftd::ReasonOf(options.status()) == ftd::Reason::kConfigInvalid);
    return 0;
  }
  const std::string printed = ftd::OptionsToToml(*options);
  const auto again = Load(printed);
  Check(again.ok() && ftd::OptionsToToml(*again) == printed);
  return 0;
}
