// ListJobs' page_token: opaque to clients, bound to the filter that it came from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/job.h"

namespace ftd {

// Names the place below `ordinal` in a list of `states`.
std::string EncodePageToken(int64_t ordinal, const std::vector<JobState>& states);

// The greatest ordinal for an empty token. INVALID_ARGUMENT FIELD_INVALID for one of another list.
absl::StatusOr<int64_t> DecodePageToken(const std::string& token,
                                        const std::vector<JobState>& states);

}  // namespace ftd
