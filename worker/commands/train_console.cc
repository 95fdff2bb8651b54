#include "worker/commands/train_console.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lib/base/concat.h"
#include "lib/runlog/step_metrics.h"
#include "worker/records/sample_log.h"
#include "worker/run/data_report.h"

namespace ftd {
namespace {

constexpr char kRule[] = "============================================================";

std::string HoursMinutesSeconds(double seconds) {
  const auto s = std::llround(std::max(seconds, 0.0));
  return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

const char* DoingWhat(v1::Progress::Phase phase) {
  switch (phase) {
    case v1::Progress::DOWNLOAD:
      return "fetching";
    case v1::Progress::TOKENIZE:
      return "tokenising";
    case v1::Progress::LOAD:
      return "loading the model";
    case v1::Progress::EVAL:
      return "evaluating";
    case v1::Progress::CHECKPOINT:
      return "saving a checkpoint";
    case v1::Progress::EXPORT:
      return "writing the result";
    default:
      return nullptr;
  }
}

}  // namespace

TrainConsole::TrainConsole(const TrainSpec& spec, std::string device, std::string output_dir,
                           std::string log_dir)
    : spec_(spec),
      device_(std::move(device)),
      output_dir_(std::move(output_dir)),
      log_dir_(std::move(log_dir)),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

void TrainConsole::EndLine() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

// On stderr: stdout has the summary and the statistics only.
void TrainConsole::Progress(v1::Progress::Phase phase, const Amount& amount) {
  const bool changed = phase != phase_;
  phase_ = phase;
  if (phase == v1::Progress::EXPORT) {
    // The time of training alone, without the export.
    seconds_ = std::chrono::duration<double>(Clock::now() - start_).count();
  }
  // Answers show themselves.
  const char* doing = amount.unit == kAnswerUnit ? nullptr : DoingWhat(phase);
  if (doing == nullptr) return;
  if (changed) EndLine();
  // Rewritten in place on a terminal. Elsewhere a phase is one line.
  if (terminal_ && amount.unit == "bytes" && amount.total > 0) {
    std::fprintf(stderr, "\r\033[K%s: %.1f of %.1f MB", doing,
                 static_cast<double>(amount.done) * 1e-6, static_cast<double>(amount.total) * 1e-6);
    line_open_ = true;
  } else if (changed) {
    std::fprintf(stderr, "%s\n", doing);
  }
}

void TrainConsole::Data(const v1::DataReport& report) {
  EndLine();
  std::fprintf(stderr, "%s\n", DataLine(report).c_str());
}

// The summary of NVIDIA's scripts, for people who know those. Time counts from here.
void TrainConsole::Outline(const RunOutline& outline) {
  EndLine();
  outline_ = outline;
  const bool full = spec_.mode == Mode::kFull;
  std::string text =
      Concat(kRule, "\nModel: ", spec_.model, "\nTraining mode: ", ModeName(spec_.mode),
             "\nDevice: ", device_, "\nDtype: ", DtypeName(spec_.dtype), "\n");
  absl::StrAppendFormat(&text, "Trainable parameters: %d of %d (%.4f%%)\n",
                        outline.trainable_parameters, outline.total_parameters,
                        100.0 * static_cast<double>(outline.trainable_parameters) /
                            static_cast<double>(std::max<int64_t>(outline.total_parameters, 1)));
  absl::StrAppendFormat(&text, "Dataset: %s, %d rows\n", spec_.dataset.file_name, outline.rows);
  absl::StrAppendFormat(&text, "Batch size: %s\nGradient accumulation: %d\nSequence length: %d\n",
                        BatchSizeText(spec_), spec_.gradient_accumulation_steps, spec_.seq_length);
  absl::StrAppendFormat(&text, "Number of epochs: %g\nLearning rate: %g\n", spec_.num_epochs,
                        spec_.learning_rate);
  if (!full) absl::StrAppendFormat(&text, "LoRA rank: %d\n", spec_.lora.rank);
  absl::StrAppendFormat(&text, "Steps: %d to %d\nOutput: %s\nTensorBoard: %s\n%s\n",
                        outline.first_step, outline.steps_planned, output_dir_, log_dir_, kRule);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  start_ = Clock::now();
}

void TrainConsole::Step(const v1::StepMetrics& step) {
  ++steps_;
  loss_sum_ += step.loss();
  samples_ += step.samples();
  const int64_t planned = outline_.steps_planned;
  if (!terminal_ && step.step() % spec_.logging_steps != 0 && step.step() != planned) return;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  // The mean of this start's steps, times the steps that are left.
  const double left =
      elapsed / static_cast<double>(steps_) * static_cast<double>(planned - step.step());
  absl::FPrintF(stderr, "%sstep %d/%d  %s  ETA %s%s", terminal_ ? "\r\033[K" : "", step.step(),
                planned, StepLine(step), HoursMinutesSeconds(left), terminal_ ? "" : "\n");
  line_open_ = terminal_;
}

// On a line of its own: the line of the current step is closed first.
void TrainConsole::Evaluation(const v1::Evaluation& evaluation) {
  EndLine();
  std::fprintf(stderr, "evaluated after step %lld: loss %.4f, token accuracy %.1f %%, %lld rows\n",
               static_cast<long long>(evaluation.step()), evaluation.loss(),
               100 * evaluation.mean_token_accuracy(), static_cast<long long>(evaluation.rows()));
}

void TrainConsole::Sample(const v1::GeneratedSample& sample) {
  EndLine();
  std::fprintf(stderr, "%s\n", SampleLine(sample).c_str());
}

void TrainConsole::Checkpoint(const v1::Checkpoint& checkpoint) {
  EndLine();
  std::fprintf(stderr, "saved %s\n", checkpoint.path().c_str());
}

void TrainConsole::Warning(const std::string& message) {
  std::fprintf(stderr, "warning: %s\n", message.c_str());
}

// The closing lines of NVIDIA's scripts.
void TrainConsole::PrintStatistics() const {
  const double steps = static_cast<double>(steps_);
  const double planned = static_cast<double>(std::max<int64_t>(outline_.steps_planned, 1));
  // transformers' samples: of the whole run, scaled by the share of steps that this start took.
  // Only where batches have as many rows each do the steps say how many those are.
  const double of_run = spec_.max_steps > 0
                            ? static_cast<double>(spec_.max_steps * spec_.batch_size *
                                                  spec_.gradient_accumulation_steps)
                            : static_cast<double>(outline_.rows) * spec_.num_epochs;
  const bool even = spec_.batch_tokens == 0 && !spec_.packing;
  const double samples = even ? of_run * steps / planned : static_cast<double>(samples_);
  const double seconds = std::max(seconds_, 1e-9);
  std::fprintf(stdout, "\n%s\nTRAINING COMPLETED\n%s\n", kRule, kRule);
  std::fprintf(stdout, "Training runtime: %.2f seconds\n", seconds_);
  std::fprintf(stdout, "Samples per second: %.2f\n", samples / seconds);
  std::fprintf(stdout, "Steps per second: %.2f\n", steps / seconds);
  std::fprintf(stdout, "Train loss: %.4f\n%s\n\n", loss_sum_ / std::max(steps, 0.001), kRule);
  std::fprintf(stdout, "Result: %s\n", output_dir_.c_str());
}

}  // namespace ftd
