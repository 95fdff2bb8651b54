// TailLog's stream: the bytes of worker.log.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/host/state_dir.h"
#include "server/host/stream_source.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Used by one thread at a time, as every StreamSource.
class LogSource : public StreamSource<v1::TailLogResponse> {
 public:
  // NOT_FOUND for an unknown job; INVALID_ARGUMENT FIELD_INVALID for an attempt that it never had.
  // With attempt 0 and `follow` the logs of later attempts come after that of the newest.
  static absl::StatusOr<std::unique_ptr<LogSource>> Open(JobStore& store, const StateDir& state_dir,
                                                         const v1::TailLogRequest& request);

  const std::string& job_id() const { return job_id_; }
  absl::StatusOr<std::optional<v1::TailLogResponse>> Next() override;
  bool AtEnd() const override { return at_end_; }

 private:
  LogSource(JobStore& store, const StateDir& state_dir) : store_(store), state_dir_(state_dir) {}
  absl::StatusOr<std::optional<v1::TailLogResponse>> Read();

  JobStore& store_;
  const StateDir& state_dir_;
  std::string job_id_;
  // Position in worker.log of `attempt_`: the first byte that was not sent yet is at offset_.
  int32_t attempt_ = 0;
  bool only_this_attempt_ = false;
  bool follow_ = false;
  bool at_end_ = false;
  int64_t offset_ = 0;
};

}  // namespace ftd
