// How long a job will take, from what earlier jobs on the same machine took.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// The work of a job, as far as its pace depends on it.
struct PacedWork {
  std::string model;  // its directory
  Mode mode = Mode::kLora;
  Dtype dtype = Dtype::kFloat32;
  double flops = 0;           // of all steps and evaluations (flops.h)
  double tokens_in_step = 0;  // on average
};

// A job that has run: its work, and the wall time that it took, in seconds.
struct PastRun {
  PacedWork work;           // of the steps that were timed
  double before_steps = 0;  // from the worker's start to the first step
  double steps = 0;         // evaluations and checkpoints between them included
  double after_steps = 0;   // from the last step to the worker's end
};

// What an estimate rests on.
enum class PaceBasis {
  kSameShape,  // jobs of the same model, mode and dtype
  kOtherJobs,  // jobs of the same dtype
  kPeak,       // what the device does at most
};

// Seconds.
struct TimeRange {
  double low = 0, high = 0;
  PaceBasis basis = PaceBasis::kPeak;
  int64_t runs = 0;  // that it rests on
};

// Returns how long a worker will take from its start to its end. `past`: newest first. `peak`: the
// operations that the device does at most in a second; 0: not known. Nullopt where nothing is
// known.
std::optional<TimeRange> EstimateTime(const PacedWork& work, absl::Span<const PastRun> past,
                                      double peak);

}  // namespace ftd
