// How much text a job's spec may hold. It is stored with the job and sent with each look at it.
#pragma once

#include <vector>

#include "ftd/v1/job.pb.h"
#include "lib/base/error.h"

namespace ftd {

// Appends to `bad` each text, list and map of the spec that takes more bytes than it may: 65536 for
// a template and for a list or map as a whole, 4096 for any other text. The list of files is
// bounded by kMaxSpecBytes alone, as is the spec that a submit makes of this one.
void CheckSpecSizes(const v1::JobSpec& spec, std::vector<FieldViolation>& bad);

}  // namespace ftd
