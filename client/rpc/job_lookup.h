// GetJob.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/rpc/connection.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

// Returns the job with this id or name. A verb that follows a job over time looks it up first and
// then uses the id, since the name might come to mean another job.
absl::StatusOr<ftd::v1::Job> FindJob(Connection& connection, const std::string& id_or_name);

}  // namespace ftd
