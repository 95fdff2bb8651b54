// The hyperparameters of a job: defaults, ranges, JSON.
//
// JSON is proto3's JSON of ftd.v1.JobSpec with snake_case names: that is how the daemon and the
// worker, which know the protobuf message, and this library, which does not, hand the spec to each
// other. 64-bit integers may be numbers or strings.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/spec/dataset_spec.h"
#include "lib/spec/lr_schedule.h"

namespace ftd {

enum class Mode { kLora, kFull, kQlora };
enum class Dtype { kFloat32, kBfloat16, kFloat16 };

// What full fine-tuning keeps its weights and AdamW's state in: float32, or the compute dtype as
// Hugging Face's Trainer does with a model loaded in it.
enum class Precision { kFp32Master, kHfParity };

// Which layers keep only their input and are computed again in the backward pass.
enum class Checkpointing {
  kAuto,  // on a GPU as many as its free memory asks for, on a CPU none
  kOn,    // all
  kOff,   // none
};

// "LORA" and "lora", …
std::string_view ModeName(Mode mode);                 // "lora"
std::string_view DtypeName(Dtype dtype);              // "float32"
std::string_view PrecisionName(Precision precision);  // "fp32_master"
std::string_view CheckpointingName(Checkpointing);    // "auto"

// The projections that can carry an adapter, in the order of a layer's computation.
inline constexpr const char* kAllTargetModules[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                    "gate_proj", "up_proj", "down_proj"};

struct LoraSpec {
  int32_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  std::vector<std::string> target_modules;  // never "all-linear" once resolved
  std::string init_adapter;                 // directory, or empty
  bool use_rslora = false;

  // What an adapter's output is multiplied with.
  double Scale() const { return use_rslora ? alpha / std::sqrt(rank) : alpha / rank; }
};

// A resolved spec. Field meanings and ranges: proto/ftd/v1/job.proto.
struct TrainSpec {
  Mode mode = Mode::kLora;
  std::string model;
  std::string revision;
  DatasetSpec dataset;
  double num_epochs = 1;
  int64_t max_steps = 0;
  int32_t batch_size = 8;
  int32_t gradient_accumulation_steps = 1;
  int32_t seq_length = 2048;
  double learning_rate = 1e-4;  // the peak
  LrSchedule lr_schedule;
  double weight_decay = 0;
  double max_grad_norm = 1;
  int64_t seed = 42;
  bool shuffle = true;
  Dtype dtype = Dtype::kFloat32;
  Precision precision = Precision::kFp32Master;
  Checkpointing gradient_checkpointing = Checkpointing::kAuto;
  bool deterministic = true;  // on a GPU; a CPU's kernels are in any case
  int32_t logging_steps = 1;
  int32_t save_steps = 500;
  int32_t save_total_limit = 2;
  double eval_split = 0;
  int32_t eval_steps = 0;
  bool load_best_model_at_end = false;
  bool playbook_warmup = false;
  LoraSpec lora;  // meaningless when mode is kFull
};

// Reads a JobSpec's JSON, sets the defaults of its mode for what is absent (`default_dtype` for the
// dtype), and judges every range. INVALID_ARGUMENT FIELD_INVALID naming all bad fields.
absl::StatusOr<TrainSpec> ResolveTrainSpec(std::string_view job_spec_json, Dtype default_dtype);

// JobSpec JSON with every field set (gradient_checkpointing null: auto); ResolveTrainSpec of it
// gives the same spec.
std::string TrainSpecToJson(const TrainSpec& spec);

}  // namespace ftd
