// The metadata of a GGUF file that config.json gives.
#pragma once

#include <string>
#include <vector>

#include "lib/gguf/gguf_family.h"
#include "lib/gguf/metadata.h"
#include "lib/model/model_config.h"

namespace ftd::gguf {

// Adds the keys below the architecture's name: sizes, RoPE, windows, and what the family has of its
// own. Where llama.cpp computes something else than transformers for some texts, a sentence for the
// user goes to `notes`.
void AddModelKeys(const GgufFamily& family, const ModelConfig& config, Metadata* metadata,
                  std::vector<std::string>* notes);

}  // namespace ftd::gguf
