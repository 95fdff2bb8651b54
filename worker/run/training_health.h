// Whether a run does what it should: signs of divergence and of learning by heart, and when to end
// early. Everything follows from the steps and evaluations so far, so a resumed run judges as an
// unbroken one does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ftd/v1/job.pb.h"
#include "worker/records/run_history.h"

namespace ftd {

// The range in which a measurement is expected. Noise of losses and gradients is a factor rather
// than a summand, so means and deviations are those of logarithms. The band ends above the lowest
// running mean so far by the most of: a factor, three standard deviations, and a summand.
class Band {
 public:
  Band(double factor, double summand) : factor_(factor), summand_(summand) {}

  // Takes the next measurement; returns false if it is above the band, and then nothing moves. The
  // first five are always inside: the band begins at their median.
  bool Add(double value);
  double Top() const;  // infinite before the fifth

 private:
  double factor_, summand_;
  std::vector<double> first_;  // logarithms, as are the following
  double mean_ = 0, variance_ = 0, lowest_ = 0;
  double count_ = 0;  // of the measurements in the mean
};

// Loss and gradient norm, step by step.
class DivergenceWatch {
 public:
  // `vocab_size`: a model that guesses evenly has a loss of its logarithm. `steps_planned`: a short
  // run has less time to show that it diverges.
  DivergenceWatch(int64_t vocab_size, int64_t steps_planned);

  // Takes the next step. Returns a sentence for people once the loss or the gradient norm has been
  // out of its band for five steps in a row, for each further step out of it, and else nullopt.
  std::optional<std::string> Add(const v1::StepMetrics& step);

  // The step before the first that is out of the band; meaningful after a sentence.
  int64_t last_good_step() const { return last_good_step_; }

 private:
  bool LossIsOut(double loss);

  const double even_guess_;
  const int64_t patience_;
  double first_loss_ = 0;
  Band loss_{1.5, 0.5}, grad_norm_{10, 0};
  int64_t losses_out_ = 0, norms_out_ = 0;  // in a row
  int64_t last_good_step_ = 0;
  bool any_ = false;
};

// Returns how many evaluations in a row, up to the last, have not lowered the least loss:
// transformers' early_stopping_patience_counter with a threshold of 0.
int64_t EvaluationsWithoutGain(const std::vector<v1::Evaluation>& evaluations);

inline constexpr int64_t kRisingEvaluations = 3;

// Returns a sentence for people when the last kRisingEvaluations evaluations each have a greater
// loss than the one before, while the training loss fell from the one before them to the last; else
// nullopt.
std::optional<std::string> LearnsByHeart(const RunHistory& history);

}  // namespace ftd
