#include "client/base/exit_codes.h"

#include <iostream>
#include <string>

#include "client/text/text.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

int PreconditionExitCode(const std::string& reason) {
  if (reason == "MODEL_CORRUPT" || reason == "MODEL_UNSUPPORTED") return kExitBadData;
  if (reason == "PATH_NOT_WRITABLE") return kExitCannotCreate;
  if (reason == "HUB_OFFLINE") return kExitUnavailable;
  return kExitRefused;
}

}  // namespace

int ExitCodeOf(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == "USAGE") return kExitUsage;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitBadData;
    case absl::StatusCode::kNotFound:
      return reason == "JOB_NOT_FOUND" ? kExitJobNotFound : kExitNoInput;
    case absl::StatusCode::kFailedPrecondition:
      return PreconditionExitCode(reason);
    case absl::StatusCode::kResourceExhausted:
      return kExitTryLater;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitNotPermitted;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return kExitUnavailable;
    case absl::StatusCode::kDataLoss:
      return kExitIoError;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return kExitInternal;
    default:  // ALREADY_EXISTS, ABORTED, OUT_OF_RANGE
      return kExitRefused;
  }
}

int Fail(const absl::Status& status) {
  std::cerr << "ftctl: " << PrintableLines(std::string(status.message())) << std::endl;
  return ExitCodeOf(status);
}

bool IsFinal(ftd::v1::Job::State state) { return OutcomeExitCode(state) != kExitJobNotFinished; }

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
