// The name, labels and priority that users give a job beside its spec, and their limits.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/base/error.h"

namespace ftd {

// Each appends to `bad` what is wrong.
// "" is allowed: the job is called by its id.
void CheckName(const std::string& name, std::vector<FieldViolation>& bad);
void CheckPriority(int32_t priority, std::vector<FieldViolation>& bad);
// 0 is allowed: no limit.
void CheckTimeLimit(int64_t seconds, std::vector<FieldViolation>& bad);
// Those that a job comes after.
void CheckAfter(const std::vector<std::string>& after, std::vector<FieldViolation>& bad);
void CheckLabels(const std::map<std::string, std::string>& labels,
                 std::vector<FieldViolation>& bad);

}  // namespace ftd
