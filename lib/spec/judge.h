// The daemon's demands on a model and an adapter before it queues a job: headers only, no weights
// are read.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// The part of JudgeModel that can be judged before a repository's weights are there: config.json
// and tokenizer.json.
absl::StatusOr<ModelConfig> JudgeModelWithoutWeights(const std::filesystem::path& model_dir);

// Judges a model for a submit: config.json, tokenizer.json and all safetensors headers are there,
// agree with each other, and are supported. Reads headers only. Returns the config.
absl::StatusOr<ModelConfig> JudgeModel(const std::filesystem::path& model_dir);

// Can the mode train that model? FAILED_PRECONDITION MODEL_UNSUPPORTED for a quantised one in
// another mode than QLORA.
absl::Status JudgeMode(const std::filesystem::path& model_dir, const ModelConfig& model, Mode mode);

// Binds the target modules to the model: all of them become those that it has. INVALID_ARGUMENT
// FIELD_INVALID when one is named that it lacks.
absl::Status BindTargetModules(const ModelConfig& model, LoraSpec* lora);

// A PEFT adapter directory that is to start a job must be LoRA, the spec's rank, alpha and
// target modules, and shapes that fit the model. FAILED_PRECONDITION ADAPTER_MISMATCH, NOT_FOUND
// MODEL_NOT_FOUND, MODEL_CORRUPT.
absl::Status JudgeAdapter(const std::filesystem::path& adapter_dir, const ModelConfig& model,
                          const LoraSpec& lora);

// Refuses a model that has other weights now than those that ftd trained the adapter on, as the
// ftd_run.json beside the adapter tells; without that an adapter is taken as it is.
// FAILED_PRECONDITION MODEL_CORRUPT; NOT_FOUND MODEL_NOT_FOUND.
absl::Status JudgeBaseWeights(const std::filesystem::path& adapter_dir,
                              const std::filesystem::path& model_dir);

}  // namespace ftd
