#include "client/base/exit_codes.h"

#include <iostream>
#include <string>

#include "client/text/text.h"
#include "lib/base/error.h"

namespace ftd {
int Fail(const absl::Status& status) {
  std::cerr << "ftctl: " << PrintableLines(std::string(status.message())) << std::endl;
  return ExitCodeOf(status);
}

bool IsFinal(ftd::v1::Job::State state) { return OutcomeExitCode(state) != kExitJobNotFinished; }

// Outcomes other than success count from 100, so that a script can tell a failed job from a failed
// command (sysexits.h ends at 78).
int OutcomeExitCode(ftd::v1::Job::State state) {
  switch (state) {
    case ftd::v1::Job::SUCCEEDED:
      return kExitOk;
    case ftd::v1::Job::FAILED:
      return kExitJobFailed;
    case ftd::v1::Job::CANCELLED:
      return kExitJobCancelled;
    default:
      return kExitJobNotFinished;
  }
}

}  // namespace ftd
