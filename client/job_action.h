// The shape of verbs that make one call about one job and print how it stands then.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/connection.h"
#include "client/verbs.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

using JobCall = std::function<absl::StatusOr<ftd::v1::Job>(Connection&, const std::string& job)>;

// Parses `JOB [-o json|yaml] [--quiet]`, makes the call, tells the job's state on stderr or prints
// the job.
int JobAction(const Invocation& call, const std::string& verb, const std::string& description,
              const JobCall& act);

}  // namespace ftd
