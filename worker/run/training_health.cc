#include "worker/run/training_health.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"

namespace ftd {
namespace {

constexpr size_t kFirst = 5;             // measurements that a band begins with
constexpr double kFirstDeviation = 0.5;  // five tell too little: this is assumed, of a logarithm
constexpr double kLeastWeight = 0.05;    // of a measurement in the running mean and variance
constexpr double kDeviations = 3;        // standard deviations within a band
constexpr int64_t kPatience = 5;         // steps out of the band that make a divergence

double Log(double value) { return std::log(std::max(value, 1e-12)); }

std::string OutOfBand(const char* what, const v1::StepMetrics& step, double value, int64_t steps,
                      double top) {
  return absl::StrFormat(
      "training diverges: %s is %.4g at step %d and has been out of its band, up to %.4g, for %d "
      "steps",
      what, value, step.step(), top, steps);
}

}  // namespace

bool Band::Add(double value) {
  const double log = Log(value);
  if (first_.size() < kFirst) {
    first_.push_back(log);
    std::vector<double> sorted = first_;
    std::sort(sorted.begin(), sorted.end());
    mean_ = lowest_ = sorted[sorted.size() / 2];
    variance_ = kFirstDeviation * kFirstDeviation;
    count_ = static_cast<double>(first_.size());
    return true;
  }
  if (value > Top()) return false;
  const double weight = std::max(kLeastWeight, 1 / ++count_);
  const double distance = log - mean_;
  mean_ += weight * distance;
  variance_ = (1 - weight) * (variance_ + weight * distance * distance);
  lowest_ = std::min(lowest_, mean_);
  return true;
}

double Band::Top() const {
  if (first_.size() < kFirst) return std::numeric_limits<double>::infinity();
  const double factor = std::max(factor_, std::exp(kDeviations * std::sqrt(variance_)));
  return std::exp(lowest_) + std::max((factor - 1) * std::exp(lowest_), summand_);
}

DivergenceWatch::DivergenceWatch(int64_t vocab_size, int64_t steps_planned)
    : even_guess_(std::log(static_cast<double>(vocab_size))),
      patience_(std::clamp<int64_t>(steps_planned / 4, 2, kPatience)) {}

// A model that was trained before never gets worse than an even guess by learning well. This needs
// no band, so it shows in the first steps; a model with random weights begins there, which the
// first loss tells.
bool DivergenceWatch::LossIsOut(double loss) {
  if (!loss_.Add(loss)) return true;
  return loss > even_guess_ && loss > 1.25 * first_loss_;
}

std::optional<std::string> DivergenceWatch::Add(const v1::StepMetrics& step) {
  if (!any_) first_loss_ = step.loss();
  any_ = true;
  losses_out_ = LossIsOut(step.loss()) ? losses_out_ + 1 : 0;
  // A gradient that is not clipped does no harm.
  const bool norm_out = !grad_norm_.Add(step.grad_norm()) && step.grad_clip_ratio() < 1;
  norms_out_ = norm_out ? norms_out_ + 1 : 0;
  if (losses_out_ == 0 && norms_out_ == 0) last_good_step_ = step.step();
  if (losses_out_ >= patience_) {
    const double top = std::min(loss_.Top(), std::max(even_guess_, 1.25 * first_loss_));
    return OutOfBand("the loss", step, step.loss(), losses_out_, top);
  }
  if (norms_out_ >= patience_)
    return OutOfBand("grad_norm", step, step.grad_norm(), norms_out_, grad_norm_.Top());
  return std::nullopt;
}

int64_t EvaluationsWithoutGain(const std::vector<v1::Evaluation>& evaluations) {
  double least = std::numeric_limits<double>::infinity();
  int64_t count = 0;
  bool first = true;
  for (const v1::Evaluation& evaluation : evaluations) {
    count = first || evaluation.loss() < least ? 0 : count + 1;
    least = std::min(least, evaluation.loss());
    first = false;
  }
  return count;
}

std::optional<std::string> LearnsByHeart(const RunHistory& history) {
  const std::vector<v1::Evaluation>& all = history.evaluations;
  if (all.size() <= static_cast<size_t>(kRisingEvaluations)) return std::nullopt;
  const auto last = all.end() - 1, first = last - kRisingEvaluations;
  for (auto it = first; it != last; ++it)
    if ((it + 1)->loss() <= it->loss()) return std::nullopt;
  // The mean training loss of the steps that led to an evaluation.
  const auto mean_until = [&](std::vector<v1::Evaluation>::const_iterator evaluation) {
    const int64_t before = evaluation == all.begin() ? 0 : (evaluation - 1)->step();
    double sum = 0;
    int64_t steps = 0;
    for (const v1::StepMetrics& step : history.steps) {
      if (step.step() <= before || step.step() > evaluation->step()) continue;
      sum += step.loss();
      ++steps;
    }
    return sum / static_cast<double>(steps);
  };
  if (!(mean_until(last) < mean_until(first))) return std::nullopt;
  return absl::StrFormat(
      "the evaluation loss rises while the training loss falls: %.4g at step %d, %.4g at step %d; "
      "the model learns its rows by heart. --early-stopping-patience ends such a run, "
      "--load-best-model-at-end takes the best weights",
      first->loss(), first->step(), last->loss(), last->step());
}

}  // namespace ftd
