// The output of a run in the foreground, while it runs and at its end.
#pragma once

#include <chrono>
#include <string>

#include "lib/spec/train_spec.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Talks on stderr: on a terminal one line that lives, else a line every logging_steps. The banner
// and the closing statistics go to stdout.
class TrainConsole : public RunObserver {
 public:
  // `device`: its name. `output_dir` and `log_dir`: for the banner.
  TrainConsole(const TrainSpec& spec, std::string device, std::string output_dir,
               std::string log_dir);

  void Progress(v1::Progress::Phase phase, const Amount& amount) override;
  void Data(const v1::DataReport& report) override;
  void Outline(const RunOutline& outline) override;
  void Step(const v1::StepMetrics& step) override;
  void Evaluation(const v1::Evaluation& evaluation) override;
  void Sample(const v1::GeneratedSample& sample) override;
  void Checkpoint(const v1::Checkpoint& checkpoint) override;
  void Warning(const std::string& message) override;

  // Steps that this process took.
  int64_t steps() const { return steps_; }
  // The statistics that NVIDIA's scripts close with, as transformers' Trainer defines them: of the
  // steps of this process, from the first step's start until the result is written.
  void PrintStatistics() const;

 private:
  using Clock = std::chrono::steady_clock;
  // Ends the living line.
  void EndLine();

  const TrainSpec& spec_;
  const std::string device_, output_dir_, log_dir_;
  const bool terminal_;
  bool line_open_ = false;
  v1::Progress::Phase phase_ = v1::Progress::PHASE_UNSPECIFIED;
  RunOutline outline_;
  Clock::time_point start_;
  double seconds_ = 0;  // of training
  double loss_sum_ = 0;
  int64_t steps_ = 0, samples_ = 0;
};

}  // namespace ftd
