#include "client/rpc/job_lookup.h"

namespace ftd {

absl::StatusOr<ftd::v1::Job> FindJob(Connection& connection, const std::string& id_or_name) {
  ftd::v1::GetJobRequest request;
  request.set_job(id_or_name);
  return connection.Call(&ftd::v1::FineTuning::Stub::GetJob, request);
}

}  // namespace ftd
