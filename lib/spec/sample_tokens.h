// The prompts of a spec as its model gets them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd {

// Returns the ids of spec.sample_prompts in their order; messages are rendered by the chat template
// of the job's rows. Errors: MODEL_UNSUPPORTED for messages where there is no chat template;
// INVALID_ARGUMENT FIELD_INVALID for messages that it refuses, and for a prompt that leaves no room
// for an answer in the model's positions.
absl::StatusOr<std::vector<std::vector<int32_t>>> SamplePromptIds(
    const TrainSpec& spec, const std::filesystem::path& model_dir, const ModelConfig& model,
    const Tokenizer& tokenizer);

// Judges the prompts by the model that is to answer them. Errors: those of SamplePromptIds and
// Tokenizer::Load.
absl::Status JudgeSamplePrompts(const TrainSpec& spec, const std::filesystem::path& model_dir,
                                const ModelConfig& model);

}  // namespace ftd
