// A finished model or adapter, in the form that other programs want: merged into its base, as a
// GGUF file, or both.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/gguf/file_type.h"
#include "worker/engine/merge.h"

namespace ftd {

// Directories without links.
struct ExportOrder {
  std::filesystem::path model_dir;
  std::filesystem::path adapter_dir;  // a PEFT adapter of the model; empty: the model alone
  std::optional<uid_t> model_reader;  // who must be able to read what is copied of the model
  // One of them. Neither may exist, but for an empty directory.
  std::filesystem::path directory;       // for a model in Hugging Face's format
  std::filesystem::path gguf;            // a file
  const gguf::FileType* type = nullptr;  // of the GGUF file
  bool adapter_only = false;             // the GGUF file is the adapter, for llama.cpp's --lora
};

struct ExportReport {
  int64_t bytes = 0;
  std::optional<engine::MergeCheck> check;  // where an adapter was merged
  std::vector<std::string> notes;           // where llama.cpp will differ from transformers
};

// Writes what was ordered, complete or not at all; beside a GGUF model NAME.gguf also
// NAME.Modelfile, for Ollama. A merged model was compared with base + adapter. All that is
// unfinished is in UnfinishedExport's directory, which goes with an error, and is replaced if a
// kill left it. PATH_IN_USE: the output exists. DISK_FULL, with the bytes, before the work begins.
// FIELD_INVALID: a combination that means nothing. ADAPTER_MISMATCH, MODEL_NOT_FOUND,
// MODEL_CORRUPT, MODEL_UNSUPPORTED as their names say. progress(done, total) in bytes.
absl::StatusOr<ExportReport> Export(const ExportOrder& order,
                                    const engine::MergeProgress& progress);

// Returns where Export keeps what is unfinished.
std::filesystem::path UnfinishedExport(const ExportOrder& order);

}  // namespace ftd
