// The position of a watcher of a job, and the opaque token that carries it over a lost connection
// or a restart.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace ftd {

struct WatchPosition {
  int64_t sequence = 0;        // last state event seen
  int32_t attempt = 1;         // whose logs are being read
  uint64_t events_offset = 0;  // bytes of its events.log behind us
  int64_t rows = 0;            // rows of its steps.log behind us

  bool operator==(const WatchPosition&) const = default;
};

// Opaque to clients. A token of another release or job is refused, never misread.
std::string EncodeResumeToken(const std::string& job_id, const WatchPosition& position);

// INVALID_ARGUMENT FIELD_INVALID when it is not a token of this job.
absl::StatusOr<WatchPosition> DecodeResumeToken(const std::string& job_id,
                                                const std::string& token);

}  // namespace ftd
