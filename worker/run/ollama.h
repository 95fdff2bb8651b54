// A Modelfile, by which Ollama makes a model of its own out of a GGUF file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

// Returns the Modelfile of the model of `model_dir`, whose GGUF file `file` lies beside it. It says
// which texts end an answer; the chat template is the file's own, which Ollama reads.
// `notes` become comments.
absl::StatusOr<std::string> OllamaModelfile(const std::filesystem::path& model_dir,
                                            const std::filesystem::path& file,
                                            const std::vector<std::string>& notes);

}  // namespace ftd
