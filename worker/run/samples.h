// The samples of a run: what the model that is being trained answers to the spec's sample_prompts,
// greedily, every sample_steps steps and after the last one.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "lib/spec/train_spec.h"
#include "worker/engine/train.h"
#include "worker/run/generation.h"

namespace ftd {

// Not thread-safe.
class Samples {
 public:
  using Round = std::vector<v1::GeneratedSample>;

  // Prepares the prompts; without any, nothing is ever due. The answers are those of the trainer's
  // weights at the time, which share their memory. Errors: those of SamplePromptIds and
  // Tokenizer::Load.
  static absl::StatusOr<Samples> Of(const TrainSpec& spec, const std::filesystem::path& model_dir,
                                    const engine::Trainer& trainer);

  // Takes over those of the steps before a run began.
  void Resume(Round earlier) { all_ = std::move(earlier); }

  // Returns whether the step that was just taken is to be followed by answers, once for a step: a
  // resumed run may have those of its checkpoint's step.
  bool Due(int64_t step, bool is_last) const;

  // Answers all prompts, and keeps the answers. Nullopt: `halt` became true before all were
  // complete, and none is kept. `beat(tokens done)` is called after each token of all answers.
  // After an error, such as memory that does not suffice, nothing is due any more.
  absl::StatusOr<std::optional<Round>> Take(int64_t step, const std::atomic<bool>& halt,
                                            const std::function<void(int64_t tokens)>& beat);

  // All of the run so far, of earlier attempts too, by step and prompt.
  const Round& all() const { return all_; }
  // The most tokens of an answer.
  int64_t most_tokens() const { return most_tokens_; }

 private:
  Samples() = default;
  absl::StatusOr<bool> Answer(const std::atomic<bool>& halt,
                              const std::function<void(int64_t)>& beat, Round& answers);

  std::vector<std::string> texts_;  // the prompts, shortened
  std::vector<std::vector<int32_t>> prompts_;
  int64_t steps_ = 0, most_tokens_ = 0;
  std::unique_ptr<Generation> generation_;  // null: nothing is due
  Round all_;
};

}  // namespace ftd
