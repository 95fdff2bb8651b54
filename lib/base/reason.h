// The table of reasons for which something is refused or fails: one row each, in which the status
// code, the exit code of the programs and the advice stand. docs/api.md's table of errors is made
// of it, and a test holds ftd.v1.ErrorReason (proto/ftd/v1/errors.proto) to it.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace ftd {

enum class Reason {
  kNone,  // the status has no reason, or one of another release
  kAdapterMismatch,
  kAddressInUse,
  kCheckpointCorrupt,
  kCheckpointNotFound,
  kConfigInvalid,
  kDatasetInvalid,
  kDatasetNotFound,
  kDbBusy,
  kDbCorrupt,
  kDbIo,
  kDiskFull,
  kDiskReserve,
  kDoesNotFit,
  kFieldInvalid,
  kFtdMissing,
  kGenerationEnded,
  kHashMismatch,
  kHostMemoryGuard,
  kHubOffline,
  kHubProtocol,
  kHubRefused,
  kHubUnreachable,
  kInternal,
  kInterrupted,
  kJobNotFound,
  kLibtorchNotFound,
  kLossDiverged,
  kModelCorrupt,
  kModelGated,
  kModelNotFound,
  kModelUnsupported,
  kModeUnsupported,
  kNameInUse,
  kNotOwner,
  kPathInUse,
  kPathNotWritable,
  kPathRefused,
  kQueueFull,
  kQuotaExceeded,
  kRequestIdReused,
  kResultMissing,
  kResultPruned,
  kSchemaNewer,
  kStateConflict,
  kStateDirInUse,
  kStopping,
  kTokenInvalid,
  kTokenNotFound,
  kTooManyModels,
  kTooManyUploads,
  kTooManyWatchers,
  kUsage,
};

// In the order in which a row reads best.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct ReasonRow {
  Reason reason;
  const char* name;       // "MODEL_CORRUPT": in ErrorInfo, in a job's failure_reason, in the docs
  absl::StatusCode code;  // with which it comes
  int exit_code;          // of ftctl, ft-train and ft-worker
  const char* advice;     // what a caller does about it
  bool api = true;        // whether a call of the API may end with it
};

// All but kNone, by name.
absl::Span<const ReasonRow> ReasonTable();

// Requires: not kNone.
const ReasonRow& RowOf(Reason reason);

// kNone for a name that the table does not have.
Reason ReasonNamed(std::string_view name);

// The exit code for a status: its reason's, else its code's (sysexits.h where that has one). 0 for
// OK.
int ExitCodeOf(const absl::Status& status);

}  // namespace ftd
