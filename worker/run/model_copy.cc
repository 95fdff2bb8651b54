#include "worker/run/model_copy.h"

#include <string>

#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/user.h"
#include "nlohmann/json.hpp"

namespace ftd {

absl::Status CopyModelFile(const std::filesystem::path& model_dir,
                           const std::filesystem::path& name, std::optional<uid_t> reader,
                           const std::filesystem::path& dir) {
  const auto opened = OpenContained(model_dir, name);
  if (absl::IsNotFound(opened.status())) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(opened.status());
  if (reader.has_value()) FTD_RETURN_IF_ERROR(CheckReadable(*opened, FindUser(*reader)));
  FTD_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(opened->fd, name));
  if (name.extension() == ".json" && !nlohmann::json::accept(bytes)) return absl::OkStatus();
  return WriteFileAtomically(dir / name, bytes);
}

}  // namespace ftd
