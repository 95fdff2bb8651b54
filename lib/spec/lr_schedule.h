// The learning rate over a run: transformers' schedules of the same names.
#pragma once

#include <cstdint>

#include "lib/base/field_reader.h"

namespace ftd {

// Its members are described in lib/spec/job_fields.def, by the same names.
struct LrSchedule {
  enum class Type { kLinear, kCosine, kCosineWithMinLr, kConstant, kConstantWithWarmup };
  Type type = Type::kLinear;
  double warmup_steps = 0;  // below 1: a share of the run's steps
  double min_lr_rate = 0;   // of the peak; only with kCosineWithMinLr
};

// Judges the schedule's fields together, in a job that has `fields`: violations name them. `peak`
// turns min_lr into min_lr_rate.
void JudgeLrSchedule(FieldReader& fields, double peak, LrSchedule* schedule);

// The rate of 1-based `step` of `steps`, bit for bit as transformers' scheduler and optimizer have
// it. Warm-up starts at 0, so the first step of a run that has one learns nothing.
double LearningRate(const LrSchedule& schedule, double peak, int64_t step, int64_t steps);

}  // namespace ftd
