// The hyperparameters of a job, resolved: every one has its value.
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
#include "lib/model/architecture.h"
#include "lib/spec/dataset_spec.h"
#include "lib/spec/lr_schedule.h"

namespace ftd {

enum class Mode { kLora, kFull, kQlora };
enum class Objective { kSft };
enum class Dtype { kFloat32, kBfloat16, kFloat16 };

// The dtype in which full fine-tuning keeps its weights and AdamW's state: float32, or the compute
// dtype as Hugging Face's Trainer does with a model loaded in it.
enum class Precision { kFp32Master, kHfParity };

// The layers that keep only their input and are computed again in the backward pass.
enum class Checkpointing {
  kAuto,  // as many as free memory asks for; on a CPU none, unless auto_batch_size looks at that
  kOn,    // all
  kOff,   // none
};

// What happens when training diverges.
enum class OnDivergence { kWarn, kStop, kRollback };

// "LORA" and "lora", …
std::string_view ModeName(Mode mode);                 // "lora"
std::string_view DtypeName(Dtype dtype);              // "float32"
std::string_view PrecisionName(Precision precision);  // "fp32_master"
std::string_view CheckpointingName(Checkpointing);    // "auto"

// The members of the two structs, their defaults and what they mean are in job_fields.def.
#define BOUND_FIELD(...)
#define PLAIN_FIELD(...)

// Adapters. `target_modules` never has "all-linear" once resolved.
struct LoraSpec {
#define FIELD(...)
#define LORA_FIELD(Type, name, Default, ...) Type name = Default;
#include "lib/spec/job_fields.def"

  // The factor of an adapter's output.
  double Scale() const { return use_rslora ? alpha / std::sqrt(rank) : alpha / rank; }
};

#define BOUND_FIELD(...)
#define PLAIN_FIELD(...)

// A resolved spec. What the fields mean on the wire: proto/ftd/v1/job.proto.
struct TrainSpec {
#define FIELD(Type, name, Default, ...) Type name = Default;
#define LORA_FIELD(...)
#include "lib/spec/job_fields.def"

  DatasetSpec dataset;
  LrSchedule lr_schedule;
  LoraSpec lora;  // meaningless when mode is kFull
  std::vector<std::string> sample_prompts;
};

// Returns the size of a micro-batch as people read it: "8", "up to 8192 tokens".
std::string BatchSizeText(const TrainSpec& spec);

// Reads a JobSpec's JSON, sets the defaults of its mode for what is absent (`default_dtype` for the
// dtype), and judges every range. INVALID_ARGUMENT FIELD_INVALID naming all bad fields.
absl::StatusOr<TrainSpec> ResolveTrainSpec(std::string_view job_spec_json, Dtype default_dtype);

// JobSpec JSON with every field set (gradient_checkpointing null: auto); ResolveTrainSpec of it
// gives the same spec.
std::string TrainSpecToJson(const TrainSpec& spec);

}  // namespace ftd
