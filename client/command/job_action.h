// The shape of verbs that make one call about one job and print how it stands then.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

using JobCall = std::function<absl::StatusOr<ftd::v1::Job>(Connection&, const std::string& job)>;

// A verb's name and what `ftctl help` says of it.
struct ActionHelp {
  std::string verb;
  std::string description;
  std::string examples;
};

// Parses `JOB [-o json|yaml] [--quiet]` and the flags that `add_flags` adds, makes the call, says
// the job's state on stderr or prints the job.
int JobAction(const Invocation& call, const ActionHelp& help, const JobCall& act,
              const std::function<void(Flags&)>& add_flags = nullptr);

}  // namespace ftd
