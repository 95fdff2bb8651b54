// The tokenizer of a model's folder as GGUF metadata, tokenizer.ggml.*, and its chat template.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/gguf/metadata.h"

namespace ftd::gguf {

// Adds them, and general.name, for a model with `vocab_size` rows of embeddings; ids without a
// token get an unused one. Where llama.cpp finds other ids for some texts, a sentence for the user
// goes to `notes`. MODEL_UNSUPPORTED when llama.cpp lacks the tokenizer, or there are more tokens
// than rows; Tokenizer::Load's errors.
absl::Status AddTokenizer(const std::filesystem::path& model_dir, int64_t vocab_size,
                          Metadata* metadata, std::vector<std::string>* notes);

}  // namespace ftd::gguf
