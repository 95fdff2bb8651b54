// How the next token is chosen from a model's logits: transformers' processors and warpers of
// `generate`, in their order.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace ftd {

struct SamplingOptions {
  double temperature = 0;  // divides the logits; 0: the likeliest token, and no chance
  int64_t top_k = 0;       // draws from the likeliest so many; 0: from all
  double top_p = 1;        // draws from the fewest likeliest whose probabilities reach this; 1: all
  double min_p = 0;        // draws from those at least this times as likely as the likeliest
  // Divides the logits above 0, and multiplies those below, of each token that the text has, prompt
  // included; 1: none.
  double repetition_penalty = 1;
  uint64_t seed = 0;
};

// INVALID_ARGUMENT FIELD_INVALID names each field that is out of its range.
absl::Status JudgeSampling(const SamplingOptions& options);

// Chooses the tokens of one sequence. They are a function of the options, of the prompt and of the
// logits alone: the n-th draw depends on the seed and on n. Not thread-safe.
class Sampler {
 public:
  // Requires: JudgeSampling(options).ok().
  Sampler(const SamplingOptions& options, const std::vector<int32_t>& prompt);

  // Returns the next token, which the text then has; -1 when the logits are not numbers.
  // `logits` [vocabulary] are consumed: they are scratch afterwards.
  int32_t Next(float* logits, int32_t vocabulary);

 private:
  struct Candidate {
    float score;
    int32_t token;
  };

  void Penalize(float* logits, int32_t vocabulary) const;
  std::vector<Candidate> Candidates(const float* logits, int32_t vocabulary) const;
  int32_t Draw(const std::vector<Candidate>& candidates);

  SamplingOptions options_;
  std::vector<int32_t> seen_;  // ascending, each once
  uint64_t draws_ = 0;
};

}  // namespace ftd
