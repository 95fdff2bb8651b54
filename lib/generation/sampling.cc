#include "lib/generation/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/base/error.h"

namespace ftd {
namespace {

// A number in [0, 1) from a seed and a counter: SplitMix64 (Steele et al. 2014) of both. 53 bits.
double Uniform(uint64_t seed, uint64_t counter) {
  const auto mixed = [](uint64_t z) {
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  return static_cast<double>(mixed(mixed(seed) + counter) >> 11) * 0x1p-53;
}

}  // namespace

absl::Status JudgeSampling(const SamplingOptions& options) {
  std::vector<FieldViolation> bad;
  const auto require = [&](bool good, const char* field, const char* range) {
    if (!good) bad.push_back({field, range});
  };
  // A comparison with what is not a number is false.
  require(options.temperature >= 0 && options.temperature <= 100, "temperature",
          "must be between 0 and 100");
  require(options.top_k >= 0, "top_k", "must not be negative");
  require(options.top_p > 0 && options.top_p <= 1, "top_p", "must be above 0 and at most 1");
  require(options.min_p >= 0 && options.min_p <= 1, "min_p", "must be between 0 and 1");
  require(options.repetition_penalty > 0 && options.repetition_penalty <= 100, "repetition_penalty",
          "must be above 0 and at most 100");
  return bad.empty() ? absl::OkStatus() : FieldError(bad);
}

Sampler::Sampler(const SamplingOptions& options, const std::vector<int32_t>& prompt)
    : options_(options), seen_(prompt) {
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
}

int32_t Sampler::Next(float* logits, int32_t vocabulary) {
  Penalize(logits, vocabulary);
  const float largest = *std::max_element(logits, logits + vocabulary);
  // The comparisons of max_element pass over NaN, unless it is the first.
  if (!std::isfinite(largest) ||
      std::any_of(logits, logits + vocabulary, [](float logit) { return std::isnan(logit); })) {
    return -1;
  }
  const int32_t token =
      options_.temperature == 0
          ? static_cast<int32_t>(std::find(logits, logits + vocabulary, largest) - logits)
          : Draw(Candidates(logits, vocabulary));
  const auto place = std::lower_bound(seen_.begin(), seen_.end(), token);
  if (place == seen_.end() || *place != token) seen_.insert(place, token);
  return token;
}

void Sampler::Penalize(float* logits, int32_t vocabulary) const {
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  if (penalty == 1) return;
  for (const int32_t token : seen_) {
    if (token >= vocabulary) break;
    float& logit = logits[token];
    logit = logit < 0 ? logit * penalty : logit / penalty;
  }
}

// Temperature and top-k. Scores that equal the k-th are kept, however many they are.
std::vector<Sampler::Candidate> Sampler::Candidates(const float* logits, int32_t vocabulary) const {
  std::vector<Candidate> candidates(static_cast<size_t>(vocabulary));
  const auto temperature = static_cast<float>(options_.temperature);
  for (int32_t i = 0; i < vocabulary; ++i)
    candidates[static_cast<size_t>(i)] = {logits[i] / temperature, i};
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates.size()) return candidates;
  const auto above = [](const Candidate& a, const Candidate& b) { return a.score > b.score; };
  auto by_score = candidates;
  std::nth_element(by_score.begin(), by_score.begin() + static_cast<ptrdiff_t>(k) - 1,
                   by_score.end(), above);
  const float least = by_score[k - 1].score;
  std::erase_if(candidates, [&](const Candidate& one) { return one.score < least; });
  return candidates;
}

// Top-p, min-p and the draw. The likeliest come off a heap until their probabilities reach top_p:
// a text is seldom so open that many are taken.
int32_t Sampler::Draw(const std::vector<Candidate>& candidates) {
  const auto below = [](const Candidate& a, const Candidate& b) {
    return a.score < b.score || (a.score == b.score && a.token > b.token);
  };
  const float largest = std::max_element(candidates.begin(), candidates.end(), below)->score;
  const auto weight = [&](const Candidate& one) {
    return std::exp(static_cast<double>(one.score) - static_cast<double>(largest));
  };
  std::vector<Candidate> kept = candidates;
  if (options_.top_p < 1) {
    double total = 0, taken = 0;
    for (const Candidate& one : kept) total += weight(one);
    std::make_heap(kept.begin(), kept.end(), below);
    auto heap_end = kept.end();
    do {
      std::pop_heap(kept.begin(), heap_end--, below);
      taken += weight(*heap_end);
    } while (heap_end != kept.begin() && taken < options_.top_p * total);
    kept.erase(kept.begin(), heap_end);
  }
  if (options_.min_p > 0)
    std::erase_if(kept, [&](const Candidate& one) { return weight(one) < options_.min_p; });
  double total = 0;
  for (const Candidate& one : kept) total += weight(one);
  double left = Uniform(options_.seed, draws_++) * total;
  for (const Candidate& one : kept) {
    left -= weight(one);
    if (left < 0) return one.token;
  }
  return kept.back().token;  // the sums were rounded
}

}  // namespace ftd
