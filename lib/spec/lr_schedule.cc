#include "lib/spec/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ftd {
namespace {

using Type = LrSchedule::Type;

// cosine_with_min_lr has its lowest rate as a number or as a share of the peak, and keeps the
// share.
void JudgeMinimum(FieldReader& fields, double peak, LrSchedule* schedule) {
  const bool rate = fields.Has("min_lr_rate"), absolute = fields.Has("min_lr");
  if (schedule->type != Type::kCosineWithMinLr) {
    for (const char* name : {"min_lr", "min_lr_rate"}) {
      if (fields.Has(name))
        fields.Violate(name, "is only for lr_scheduler_type cosine_with_min_lr");
    }
    return;
  }
  // Neither or both.
  if (rate == absolute) {
    return fields.Violate("min_lr_rate",
                          "or min_lr is required by cosine_with_min_lr: one of them");
  }
  double min_lr = 0;
  fields.Number(
      "min_lr", "from 0 to the learning rate", [peak](double x) { return x >= 0 && x <= peak; },
      &min_lr);
  if (absolute) schedule->min_lr_rate = min_lr / peak;
}

// Returns half a cosine wave from 1 down to `lowest` while `progress` goes from 0 to 1: max(0, ½(1
// + cos(π · progress)) · (1 − lowest) + lowest). Written operation by operation as in transformers,
// for the same rounding.
double HalfCosine(double progress, double lowest) {
  const double factor = 0.5 * (1.0 + std::cos(std::numbers::pi * 0.5 * 2.0 * progress));
  return std::max(0.0, factor * (1 - lowest) + lowest);
}

}  // namespace

// As transformers: get_constant_schedule takes no warm-up, it has another name with one.
void JudgeLrSchedule(FieldReader& fields, double peak, LrSchedule* schedule) {
  if (schedule->type == Type::kConstant && schedule->warmup_steps > 0) {
    fields.Violate("warmup_steps",
                   "is not for a constant rate; use lr_scheduler_type constant_with_warmup");
  }
  JudgeMinimum(fields, peak, schedule);
}

// transformers' schedulers, which are functions of the steps done before this one. warmup_steps
// below 1 is a share of all steps, rounded up.
double LearningRate(const LrSchedule& schedule, double peak, int64_t step, int64_t steps) {
  if (schedule.type == Type::kConstant) return peak;
  const double total = static_cast<double>(steps);
  const double warmup =
      schedule.warmup_steps >= 1 ? schedule.warmup_steps : std::ceil(total * schedule.warmup_steps);
  const double done = static_cast<double>(step - 1);
  if (done < warmup) return peak * (done / warmup);
  const double rest = std::max(1.0, total - warmup);
  switch (schedule.type) {
    case Type::kLinear:
      return peak * std::max(0.0, (total - done) / rest);
    case Type::kCosine:
    case Type::kCosineWithMinLr:
      return peak * HalfCosine((done - warmup) / rest, schedule.min_lr_rate);
    case Type::kConstant:
    case Type::kConstantWithWarmup:
      break;
  }
  return peak;
}

}  // namespace ftd
