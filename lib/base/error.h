// Errors with a machine-readable reason.
//
// An absl::Status that crosses a boundary of ftd carries, beside its code and message, a reason
// (reason.h) and, for a bad field, the field's name. The gRPC layer turns them into
// google.rpc.ErrorInfo and BadRequest; the worker turns them into a failure reason.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/reason.h"

namespace ftd {

// Returns a status with `reason` and the code that goes with it. `message` names the object and
// says what to do. Requires: a reason.
absl::Status Error(Reason reason, std::string_view message);
// The same with another code than the reason's own.
absl::Status Error(Reason reason, absl::StatusCode code, std::string_view message);
// An error that another program reported, which may be of a release with other reasons.
absl::Status ErrorNamed(absl::StatusCode code, std::string_view reason, std::string_view message);

// One field of a request and what is wrong with it.
struct FieldViolation {
  std::string field;        // "lora.rank"
  std::string description;  // "must be 1 to 4096; got 0"
};

// INVALID_ARGUMENT FIELD_INVALID for one or more fields. Requires: `violations` is not empty.
absl::Status FieldError(const std::vector<FieldViolation>& violations);

// The reason; kNone when the status has none, or one that this release does not know.
Reason ReasonOf(const absl::Status& status);

// The reason's name, known here or not; "" when the status has none.
std::string ReasonNameOf(const absl::Status& status);

// The violations of a FieldError, else empty.
std::vector<FieldViolation> ViolationsOf(const absl::Status& status);

// The same error with `violations` instead of its own; the message stays.
absl::Status WithViolations(absl::Status status, const std::vector<FieldViolation>& violations);

// The same error with `prefix` before its message; code, reason and fields stay.
absl::Status Prefixed(const absl::Status& status, std::string_view prefix);

// An error about a system call that just set errno: "open /x/y: No such file or directory". ENOENT
// gives NOT_FOUND, ENOSPC and EDQUOT RESOURCE_EXHAUSTED with reason DISK_FULL, EACCES, EPERM and
// EROFS FAILED_PRECONDITION with reason PATH_NOT_WRITABLE, EMFILE and ENFILE UNAVAILABLE (others
// close theirs in time), all others INTERNAL.
absl::Status ErrnoError(int error, std::string_view what);

}  // namespace ftd

// Evaluates an absl::Status and returns it from the enclosing function unless it is OK.
#define FTD_RETURN_IF_ERROR(expr)                                              \
  do {                                                                         \
    if (absl::Status ftd_status = (expr); !ftd_status.ok()) return ftd_status; \
  } while (false)

#define FTD_CONCAT_INNER(a, b) a##b
#define FTD_CONCAT(a, b) FTD_CONCAT_INNER(a, b)
// Evaluates an absl::StatusOr, returns its status unless it is OK, else moves the value into `lhs`.
#define FTD_ASSIGN_OR_RETURN(lhs, expr) \
  FTD_ASSIGN_OR_RETURN_IMPL(FTD_CONCAT(status_or_, __LINE__), lhs, expr)
#define FTD_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                              \
  if (!var.ok()) return std::move(var).status();  \
  lhs = *std::move(var)
