#include "worker/run/samples.h"

#include <map>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/model/model_config.h"
#include "lib/runlog/timestamp.h"
#include "lib/spec/sample_tokens.h"
#include "worker/engine/generate.h"

namespace ftd {

constexpr size_t kMostPromptBytes = 1024;  // of a prompt beside its answers

absl::StatusOr<Samples> Samples::Of(const TrainSpec& spec, const std::filesystem::path& model_dir,
                                    const engine::Trainer& trainer) {
  Samples samples;
  if (spec.sample_prompts.empty()) return samples;
  FTD_ASSIGN_OR_RETURN(samples.generation_, Generation::Over(trainer.NewGenerator(), model_dir));
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(model_dir));
  FTD_ASSIGN_OR_RETURN(samples.prompts_,
                       SamplePromptIds(spec, model_dir, config, samples.generation_->tokenizer()));
  for (const std::string& prompt : spec.sample_prompts)
    samples.texts_.push_back(Shortened(prompt, kMostPromptBytes));
  samples.steps_ = spec.sample_steps;
  samples.most_tokens_ = spec.sample_max_new_tokens;
  return samples;
}

bool Samples::Due(int64_t step, bool is_last) const {
  if (generation_ == nullptr || step == 0 || (step % steps_ != 0 && !is_last)) return false;
  return all_.empty() || all_.back().step() < step;
}

// Generation shares the training's tensors but writes to none of them, draws nothing at random, and
// drops nothing out: the steps after it are what they would have been.
absl::StatusOr<std::optional<Samples::Round>> Samples::Take(
    int64_t step, const std::atomic<bool>& halt, const std::function<void(int64_t)>& beat) {
  Round round;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    v1::GeneratedSample& sample = round.emplace_back();
    sample.set_step(step);
    sample.set_index(static_cast<int32_t>(i));
    sample.set_prompt(texts_[i]);
  }
  auto complete = Answer(halt, beat, round);
  if (!complete.ok()) generation_.reset();
  FTD_RETURN_IF_ERROR(complete.status());
  if (!*complete) return std::nullopt;
  all_.insert(all_.end(), round.begin(), round.end());
  return round;
}

// Returns false when `halt` became true before all answers were complete.
absl::StatusOr<bool> Samples::Answer(const std::atomic<bool>& halt,
                                     const std::function<void(int64_t)>& beat, Round& answers) {
  std::map<int64_t, v1::GeneratedSample*> by_number;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    FTD_ASSIGN_OR_RETURN(const int64_t number,
                         generation_->Ask({.prompt = prompts_[i], .max_new_tokens = most_tokens_}));
    by_number[number] = &answers[i];
  }
  for (int64_t tokens = 1; !generation_->idle() && !halt; ++tokens) {
    FTD_ASSIGN_OR_RETURN(const std::vector<AnswerPiece> pieces, generation_->Step());
    for (const AnswerPiece& piece : pieces) {
      v1::GeneratedSample& sample = *by_number.at(piece.answer);
      sample.mutable_text()->append(piece.text);
      sample.set_tokens(sample.tokens() + 1);
      if (piece.finish_reason.empty()) continue;
      sample.set_finish_reason(std::string(piece.finish_reason));
      *sample.mutable_time() = ToTimestamp(absl::Now());
    }
    beat(tokens);
  }
  const bool complete = generation_->idle();
  for (const auto& [number, sample] : by_number) generation_->Drop(number);
  return complete;
}

}  // namespace ftd
