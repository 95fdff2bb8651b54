// Resolves a spec that a test builds as JSON.
#pragma once

#include "absl/status/statusor.h"
#include "lib/spec/train_spec.h"
#include "nlohmann/json.hpp"

namespace ftd {

inline absl::StatusOr<TrainSpec> Resolve(const nlohmann::json& spec) {
  return ResolveTrainSpec(spec.dump(), Dtype::kFloat32);
}

}  // namespace ftd
