// How the learning rate moves over a run: transformers' schedules of the same names.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "nlohmann/json.hpp"

namespace ftd {

// Field meanings and ranges: proto/ftd/v1/job.proto.
struct LrSchedule {
  enum class Type { kLinear, kCosine, kCosineWithMinLr, kConstant, kConstantWithWarmup };
  Type type = Type::kLinear;
  double warmup_steps = 0;  // below 1: a share of the run's steps
  double min_lr_rate = 0;   // of the peak; only with kCosineWithMinLr
};

// Reads lr_scheduler_type, warmup_steps, min_lr and min_lr_rate of a JobSpec's JSON; `peak` turns
// min_lr into min_lr_rate. Violations name the fields.
LrSchedule ReadLrSchedule(const nlohmann::json& job_spec, double peak,
                          std::vector<FieldViolation>* violations);

// The fields of a resolved JobSpec that ReadLrSchedule reads back.
nlohmann::ordered_json LrScheduleToJson(const LrSchedule& schedule);

// The rate of 1-based `step` of `steps`, bit for bit as transformers' scheduler and optimizer have
// it. Warm-up starts at 0, so the first step of a run that has one learns nothing.
double LearningRate(const LrSchedule& schedule, double peak, int64_t step, int64_t steps);

}  // namespace ftd
