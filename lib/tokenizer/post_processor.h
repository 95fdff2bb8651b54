// The post-processor of tokenizer.json: which tokens go before and after a sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// The effect of TemplateProcessing on a single sequence.
struct PostProcessor {
  // Ids in order; kSequence stands for the sequence itself.
  static constexpr int32_t kSequence = -1;
  std::vector<int32_t> single = {kSequence};

  // TemplateProcessing, ByteLevel (which touches offsets only), a Sequence of those, or null.
  // MODEL_UNSUPPORTED names any other, MODEL_CORRUPT a bad field.
  static absl::StatusOr<PostProcessor> Parse(const nlohmann::json& section);

  std::vector<int32_t> Apply(std::vector<int32_t> sequence) const;
};

}  // namespace ftd
