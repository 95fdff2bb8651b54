#include "lib/base/libtorch_path.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {

// A wrong FTD_LIBTORCH is an error, not ignored: another LibTorch might be found by accident.
absl::StatusOr<std::string> LibraryPathFor(const std::string& libtorch,
                                           const std::string& library_path) {
  if (libtorch.empty()) return library_path;
  const std::filesystem::path given(libtorch);
  // An unpacked LibTorch or the wheel's torch/ has its libraries in lib/; its lib/ itself may be
  // named too.
  for (const std::filesystem::path& folder : {given / "lib", given}) {
    std::error_code error;
    if (!std::filesystem::exists(folder / "libtorch_cpu.so", error)) continue;
    return library_path.empty() ? folder.string()
                                : absl::StrCat(folder.string(), ":", library_path);
  }
  return Error(Reason::kLibtorchNotFound,
               absl::StrCat("FTD_LIBTORCH is ", libtorch,
                            ", where neither lib/libtorch_cpu.so nor libtorch_cpu.so is; name a "
                            "LibTorch's folder, such as site-packages/torch of a Python "
                            "environment with the torch wheel"));
}

}  // namespace ftd
