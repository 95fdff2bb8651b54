// Files of the model's directory that go into a result as they are.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>

#include "absl/status/status.h"
#include "lib/hub/model_license.h"

namespace ftd {

// Copies the file `name` of `model_dir` to `dir`, byte for byte, if it is there. The directory is
// somebody else's and may have changed since the job was judged: what `reader` (none: nobody in
// particular) may not read is PERMISSION_DENIED NOT_OWNER, what a link leads out of it to is
// MODEL_CORRUPT, and what is called .json and is something else is left out.
absl::Status CopyModelFile(const std::filesystem::path& model_dir,
                           const std::filesystem::path& name, std::optional<uid_t> reader,
                           const std::filesystem::path& dir);

// Copies all files of a tokenizer.
absl::Status CopyTokenizer(const std::filesystem::path& model_dir, std::optional<uid_t> reader,
                           const std::filesystem::path& dir);

// Copies the chat templates that are files of their own.
absl::Status CopyChatTemplates(const std::filesystem::path& model_dir, std::optional<uid_t> reader,
                               const std::filesystem::path& dir);

// Returns what the model's own card says of its license; nothing where there is no card that
// `reader` may read.
hub::License ReadLicense(const std::filesystem::path& model_dir, std::optional<uid_t> reader);

}  // namespace ftd
