// The flags of `ft-worker train`: the fields of a job (lib/spec/job_fields.def) under the names
// that NVIDIA's DGX Spark scripts and `ftctl submit` have for them, and the presets of the scripts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/spec/job_fields.h"

namespace CLI {
class App;
}

namespace ftd {

struct TrainOptions {
  std::string preset;                    // "llama3-8b-lora", …, or empty
  std::string dataset;                   // file, directory, glob or repository; empty: the default
  GivenFields given;                     // of the spec
  double peak_tflops = 0;                // AttemptRequest's
  int64_t host_memory_reserve_mib = -1;  // likewise; below 0: its default
  std::string output_dir;                // empty: a new one under outputs/
  std::string log_dir;                   // empty: output_dir/logs
  std::string resume;                    // "latest", a checkpoint's directory, or empty
};

// Declares the options on a sub-command. `options` must outlive the parsing.
void AddTrainOptions(CLI::App& app, TrainOptions& options);

// The words of the command line as those options read them: NVIDIA's scripts say
// --gradient_checkpointing without a value, and a preset may follow it.
std::vector<std::string> TrainArguments(std::vector<std::string> args);

// The JobSpec that was asked for, in proto3 JSON, defaults left out. INVALID_ARGUMENT when no model
// is named or a column map does not read.
absl::StatusOr<std::string> GivenSpecJson(const TrainOptions& options);

}  // namespace ftd
