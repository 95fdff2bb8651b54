// What a job will do and need, in words and pictures. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/text/styled_line.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

// "steps", "memory", "disk" and "time", each with its value, for KeyValues; what is not known is
// empty.
std::vector<std::pair<std::string, std::string>> PlanSummary(const ftd::v1::JobPlan& plan);

// Returns the least memory that the job can do with: one row at a time, with all layers recomputed.
int64_t LeastBytes(const ftd::v1::JobPlan::Memory& memory);

// The parts of the memory as bars, the largest `columns` wide at most.
std::vector<StyledLine> MemoryBars(const ftd::v1::JobPlan::Memory& memory, int columns,
                                   bool unicode);

}  // namespace ftd
