#include "lib/base/reason.h"

#include <algorithm>

#include "lib/base/error.h"

namespace ftd {
namespace {

using Code = absl::StatusCode;

constexpr bool kLocal = false;  // never crosses the API

// Sorted by name. The numbers are exit codes: sysexits.h where one fits, 102 for a job that is not
// there.
constexpr ReasonRow kTable[] = {
    {Reason::kAdapterMismatch, "ADAPTER_MISMATCH", Code::kFailedPrecondition, 1,
     "give the rank, alpha and target modules that the adapter was trained with"},
    {Reason::kAddressInUse, "ADDRESS_IN_USE", Code::kFailedPrecondition, 1,
     "stop the program that listens there, or listen elsewhere", kLocal},
    {Reason::kCheckpointCorrupt, "CHECKPOINT_CORRUPT", Code::kDataLoss, 74, "check the disk"},
    {Reason::kCheckpointNotFound, "CHECKPOINT_NOT_FOUND", Code::kNotFound, 66,
     "choose a step that `ftctl checkpoints` lists"},
    {Reason::kConfigInvalid, "CONFIG_INVALID", Code::kFailedPrecondition, 1,
     "correct the setting, or the line of the token file, that the message names"},
    {Reason::kDatasetInvalid, "DATASET_INVALID", Code::kInvalidArgument, 65,
     "correct the row or file that the message names"},
    {Reason::kDatasetNotFound, "DATASET_NOT_FOUND", Code::kNotFound, 66,
     "check the path (on the server), the upload's sha256 or the name on the hub"},
    {Reason::kDbBusy, "DB_BUSY", Code::kUnavailable, 69, "retry with back-off; nothing was done"},
    {Reason::kDbCorrupt, "DB_CORRUPT", Code::kDataLoss, 74,
     "check the disk, and restore the database from a backup"},
    {Reason::kDbIo, "DB_IO", Code::kUnavailable, 69,
     "repeat the call, with the same request_id; if it stays, check the disk"},
    {Reason::kDiskFull, "DISK_FULL", Code::kResourceExhausted, 75,
     "free space where the message says, then retry"},
    {Reason::kDiskReserve, "DISK_RESERVE", Code::kResourceExhausted, 75,
     "free space on the server, then retry"},
    {Reason::kDoesNotFit, "DOES_NOT_FIT", Code::kFailedPrecondition, 1,
     "change the job as the message says, or choose a smaller model"},
    {Reason::kFieldInvalid, "FIELD_INVALID", Code::kInvalidArgument, 65,
     "correct the fields that BadRequest names"},
    {Reason::kFtdMissing, "FTD_MISSING", Code::kUnavailable, 69, "install ftd beside ftctl",
     kLocal},
    {Reason::kGenerationEnded, "GENERATION_ENDED", Code::kUnavailable, 69,
     "ask again; while a job has the GPU, the CPU answers"},
    {Reason::kHashMismatch, "HASH_MISMATCH", Code::kDataLoss, 74, "send the file again"},
    {Reason::kHostMemoryGuard, "HOST_MEMORY_GUARD", Code::kResourceExhausted, 75,
     "free memory of the host, or train with less", kLocal},
    {Reason::kHubOffline, "HUB_OFFLINE", Code::kFailedPrecondition, 69,
     "fetch the model first, or unset `HF_HUB_OFFLINE`"},
    {Reason::kHubProtocol, "HUB_PROTOCOL", Code::kDataLoss, 74,
     "retry; if it stays, the hub's answer is not what it should be"},
    {Reason::kHubRefused, "HUB_REFUSED", Code::kFailedPrecondition, 1,
     "do as the hub's message says, then retry"},
    {Reason::kHubUnreachable, "HUB_UNREACHABLE", Code::kUnavailable, 69,
     "check the server's network, then retry: what was fetched is kept"},
    {Reason::kInternal, "INTERNAL", Code::kInternal, 70, "report it: this is a defect of ftd"},
    {Reason::kInterrupted, "INTERRUPTED", Code::kCancelled, 130, "run it again", kLocal},
    {Reason::kJobNotFound, "JOB_NOT_FOUND", Code::kNotFound, 102, "check the id or name"},
    {Reason::kLibtorchNotFound, "LIBTORCH_NOT_FOUND", Code::kNotFound, 66,
     "set `FTD_LIBTORCH` to LibTorch's folder", kLocal},
    {Reason::kLossDiverged, "LOSS_DIVERGED", Code::kAborted, 1,
     "lower the learning rate, or train in float32", kLocal},
    {Reason::kModeUnsupported, "MODE_UNSUPPORTED", Code::kUnimplemented, 69,
     "use a build that offers it"},
    {Reason::kModelCorrupt, "MODEL_CORRUPT", Code::kFailedPrecondition, 65,
     "download the model again; the message names file and field"},
    {Reason::kModelGated, "MODEL_GATED", Code::kFailedPrecondition, 1,
     "ask for access on the page that the message names, then retry"},
    {Reason::kModelNotFound, "MODEL_NOT_FOUND", Code::kNotFound, 66,
     "check the path (on the server), the alias or the name on the hub"},
    {Reason::kModelUnsupported, "MODEL_UNSUPPORTED", Code::kFailedPrecondition, 65,
     "choose another model; the message names what is missing"},
    {Reason::kNameInUse, "NAME_IN_USE", Code::kAlreadyExists, 1, "choose another name"},
    {Reason::kNotOwner, "NOT_OWNER", Code::kPermissionDenied, 77,
     "manage access tokens on ftd's machine, over its unix socket"},
    {Reason::kPathInUse, "PATH_IN_USE", Code::kAlreadyExists, 73, "name another directory", kLocal},
    {Reason::kPathNotWritable, "PATH_NOT_WRITABLE", Code::kFailedPrecondition, 73,
     "change the permissions of the directory or file that the message names"},
    {Reason::kPathRefused, "PATH_REFUSED", Code::kInvalidArgument, 65,
     "use a path below one of the server's `dataset_roots`"},
    {Reason::kQueueFull, "QUEUE_FULL", Code::kResourceExhausted, 75, "retry when jobs have ended"},
    {Reason::kQuotaExceeded, "QUOTA_EXCEEDED", Code::kResourceExhausted, 75,
     "end or remove what is yours, then retry"},
    {Reason::kRequestIdReused, "REQUEST_ID_REUSED", Code::kAlreadyExists, 1,
     "send a fresh request_id"},
    {Reason::kResultMissing, "RESULT_MISSING", Code::kDataLoss, 74,
     "the result was removed by hand; retry the job"},
    {Reason::kResultPruned, "RESULT_PRUNED", Code::kNotFound, 66,
     "retry the job; the server's `retention_result_*` settings say how long results are kept"},
    {Reason::kSchemaNewer, "SCHEMA_NEWER", Code::kFailedPrecondition, 1,
     "run the release of ftd that the database was last used with, or a later one", kLocal},
    {Reason::kStateConflict, "STATE_CONFLICT", Code::kFailedPrecondition, 1,
     "see the job's state; the message names the call that helps"},
    {Reason::kStateDirInUse, "STATE_DIR_IN_USE", Code::kFailedPrecondition, 1,
     "stop the ftd that runs there, or use another state directory", kLocal},
    {Reason::kStopping, "STOPPING", Code::kUnavailable, 69,
     "retry with back-off; nothing was done"},
    {Reason::kTokenInvalid, "TOKEN_INVALID", Code::kUnauthenticated, 77,
     "give a valid token, or a client certificate"},
    {Reason::kTokenNotFound, "TOKEN_NOT_FOUND", Code::kNotFound, 66, "check the token's name"},
    {Reason::kTooManyModels, "TOO_MANY_MODELS", Code::kResourceExhausted, 75,
     "retry when another model is idle; the server's `generate_models` says how many may answer"},
    {Reason::kTooManyUploads, "TOO_MANY_UPLOADS", Code::kResourceExhausted, 75,
     "retry when other uploads have ended"},
    {Reason::kTooManyWatchers, "TOO_MANY_WATCHERS", Code::kResourceExhausted, 75,
     "close other watches, then retry"},
    {Reason::kUsage, "USAGE", Code::kInvalidArgument, 2, "see --help", kLocal},
};

// Returns the exit code for a status without a reason, as a library or a transport returns it.
int ExitCodeOfCode(Code code) {
  switch (code) {
    case Code::kOk:
      return 0;
    case Code::kInvalidArgument:
      return 65;  // EX_DATAERR
    case Code::kNotFound:
      return 66;  // EX_NOINPUT
    case Code::kUnavailable:
    case Code::kUnimplemented:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
      return 69;  // EX_UNAVAILABLE
    case Code::kInternal:
    case Code::kUnknown:
      return 70;  // EX_SOFTWARE
    case Code::kDataLoss:
      return 74;  // EX_IOERR
    case Code::kResourceExhausted:
      return 75;  // EX_TEMPFAIL
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return 77;  // EX_NOPERM
    default:      // refused: FAILED_PRECONDITION, ALREADY_EXISTS, ABORTED, OUT_OF_RANGE
      return 1;
  }
}

}  // namespace

absl::Span<const ReasonRow> ReasonTable() { return kTable; }

const ReasonRow& RowOf(Reason reason) {
  // A reason without a row would be a bug: the last row is returned, and a test asks for each.
  return *std::find_if(std::begin(kTable), std::end(kTable) - 1,
                       [reason](const ReasonRow& row) { return row.reason == reason; });
}

Reason ReasonNamed(std::string_view name) {
  const auto* row = std::find_if(std::begin(kTable), std::end(kTable),
                                 [name](const ReasonRow& row) { return row.name == name; });
  return row == std::end(kTable) ? Reason::kNone : row->reason;
}

int ExitCodeOf(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  // A reason that comes with another code than usual means what the code says.
  if (reason == Reason::kNone || RowOf(reason).code != status.code())
    return ExitCodeOfCode(status.code());
  return RowOf(reason).exit_code;
}

}  // namespace ftd
