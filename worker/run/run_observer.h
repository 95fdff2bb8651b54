// The observer of a training run.
#pragma once

#include <cstdint>
#include <string>

#include "ftd/v1/worker.pb.h"
#include "lib/runlog/step_log.h"

namespace ftd {

// The unit of an evaluation's amount while sample_prompts are answered.
inline constexpr char kAnswerUnit[] = "tokens";

// The progress within a phase.
struct Amount {
  int64_t done = 0;
  int64_t total = 0;
  std::string unit;
  double rate = 0;          // units a second; 0: not known
  int64_t peak_memory = 0;  // of the device by now, bytes; 0: not known
};

// A run's plan, reported before its first step.
struct RunOutline {
  int64_t first_step = 1;
  int64_t steps_planned = 0;  // of the whole job
  int64_t rows = 0;           // to train on
  int64_t trainable_parameters = 0;
  int64_t total_parameters = 0;
};

// Called from the training thread, except Warning, which any thread may call.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void Progress(v1::Progress::Phase phase, const Amount& amount) = 0;
  virtual void Data(const v1::DataReport& report) = 0;
  virtual void Outline(const RunOutline& outline) = 0;
  // The step is in the step log already.
  virtual void Step(const v1::StepMetrics& step) = 0;
  virtual void Evaluation(const v1::Evaluation& evaluation) = 0;
  virtual void Sample(const v1::GeneratedSample& sample) = 0;
  virtual void Checkpoint(const v1::Checkpoint& checkpoint) = 0;
  virtual void Warning(const std::string& message) = 0;
};

}  // namespace ftd
