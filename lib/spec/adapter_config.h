// adapter_config.json of a LoRA adapter in PEFT's format.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Reads what the folder says of its adapter: rank, alpha, rsLoRA and, from the names of its
// tensors, the target modules (in PEFT, target_modules may also be paths or a pattern). NOT_FOUND
// MODEL_NOT_FOUND when a file is missing; ADAPTER_MISMATCH names the first field that changes the
// maths in a way that ftd does not have, be it known or not.
absl::StatusOr<LoraSpec> ReadAdapterConfig(const std::filesystem::path& adapter_dir);

}  // namespace ftd
