// `ft-worker logits`: the model's answer to given token ids, for checking it against others.
#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace ftd {

struct LogitsOptions {
  std::filesystem::path model_dir;
  std::filesystem::path adapter_dir;  // may be empty
  std::filesystem::path input;        // JSON: [ids], [[ids], …] or {"input_ids": either}
  std::filesystem::path output;       // a new safetensors file
  bool nf4 = false;                   // quantise the projections, as mode qlora does
};

absl::Status Logits(const LogitsOptions& options);

}  // namespace ftd
