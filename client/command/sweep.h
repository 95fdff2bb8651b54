// Several jobs that differ in some fields: `submit --sweep learning_rate=1e-4,2e-4`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "nlohmann/json.hpp"

namespace ftd {

// The label by which the jobs of a sweep are found; its value is the sweep's name.
inline constexpr char kSweepLabel[] = "sweep";

// The specs of a sweep, each a JobSpec in proto3 JSON with the swept fields alone: all combinations
// of the values, the first axis slowest. An axis is "FIELD=VALUE,VALUE…", its field named as in job
// files or as its flag is spelt; numbers, words and switches can be swept. INVALID_ARGUMENT USAGE
// for what does not read, a field that is given twice, and more than 256 combinations.
absl::StatusOr<std::vector<nlohmann::json>> ReadSweep(const std::vector<std::string>& axes);

// The requests of the sweep that `base` is the common part of: named NAME-1, NAME-2, … after
// `base`, or after a name that is made here, with the sweep's label, and with request ids that
// follow from that of `base`, so that a sweep that was broken off can be completed.
absl::StatusOr<std::vector<v1::SubmitJobRequest>> SweepRequests(
    const v1::SubmitJobRequest& base, const std::vector<nlohmann::json>& specs);

}  // namespace ftd
