// `ft-worker train`, also called ft-train: fine-tunes in the foreground, with the flags of NVIDIA's
// DGX Spark scripts.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace CLI {
class App;
}

namespace ftd {

struct TrainOptions {
  std::string preset;      // "llama3-8b-lora", …, or empty
  nlohmann::json spec;     // what was given of a JobSpec
  nlohmann::json dataset;  // and of its dataset
  std::string output_dir;  // empty: a new one under outputs/
  std::string log_dir;     // empty: output_dir/logs
  std::string resume;      // "latest", a checkpoint's directory, or empty
};

// Declares the options on a sub-command. `options` must outlive the parsing.
void AddTrainOptions(CLI::App& app, TrainOptions& options);

// Trains. *exit_status: 0 when the result is there, 1 when training failed, 130 when a signal
// stopped it. A status tells what kept it from beginning.
absl::Status Train(const TrainOptions& options, int* exit_status);

}  // namespace ftd
