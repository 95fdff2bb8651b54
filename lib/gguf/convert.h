// From a model in Hugging Face's format to a GGUF file, which llama.cpp, Ollama and their like run.
//
// Some rows at a time: beside the mapped files it takes a few MB of memory and the vocabulary's
// size, whatever the model's. The bytes do not depend on the number of processors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/gguf/file_type.h"

namespace ftd::gguf {

struct Report {
  uint64_t bytes = 0;  // of the file
  int64_t tensors = 0;
  std::vector<std::string> notes;  // where llama.cpp will differ from transformers, for the user
};

// Writes the model of `model_dir` to `file`, which is replaced if it exists. MODEL_UNSUPPORTED
// names what llama.cpp lacks; MODEL_NOT_FOUND, MODEL_CORRUPT, DISK_FULL and PATH_NOT_WRITABLE as
// their names say. No part of a file is left after an error.
absl::StatusOr<Report> ConvertModel(const std::filesystem::path& model_dir,
                                    const std::filesystem::path& file, const FileType& type);

// Writes the LoRA adapter of `adapter_dir`, in PEFT's format, for the model of `model_dir`, of
// which only config.json is read. FIELD_INVALID unless the type is f32, f16 or bf16;
// ADAPTER_MISMATCH when the adapter has what llama.cpp cannot apply, or tensors that the model has
// no place for; else as above.
absl::StatusOr<Report> ConvertAdapter(const std::filesystem::path& model_dir,
                                      const std::filesystem::path& adapter_dir,
                                      const std::filesystem::path& file, const FileType& type);

}  // namespace ftd::gguf
