// `ft-worker export`: a model or an adapter in the form that other programs want.
#pragma once

#include <filesystem>
#include <ostream>
#include <string>

#include "absl/status/status.h"

namespace ftd {

struct ExportOptions {
  std::filesystem::path model_dir;
  std::filesystem::path adapter_dir;  // may be empty
  std::filesystem::path directory;    // --output; or
  std::filesystem::path gguf;         // --gguf, with
  std::string type;                   // --type; empty: lib/gguf/file_type.h's default; and
  bool adapter_only = false;
};

// "f32|f16|…": for help.
std::string ExportTypes();

// Exports, and says on `log` what it made. A SIGINT or SIGTERM leaves nothing behind, and ends the
// process with status 130. Errors: Export's (worker/run/export.h).
absl::Status RunExport(const ExportOptions& options, std::ostream& log);

}  // namespace ftd
