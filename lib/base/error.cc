#include "lib/base/error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace ftd {
namespace {

// Payload URLs of a status. They never leave the process: gRPC's details are made from them.
constexpr char kReasonUrl[] = "ftd/reason";
constexpr char kViolationsUrl[] = "ftd/violations";

// Field names and descriptions contain neither of these, so they can separate the payload's parts.
constexpr char kFieldEnd = '\x1f';
constexpr char kViolationEnd = '\x1e';

}  // namespace

absl::Status Error(Reason reason, std::string_view message) {
  return Error(reason, RowOf(reason).code, message);
}

absl::Status Error(Reason reason, absl::StatusCode code, std::string_view message) {
  return ErrorNamed(code, RowOf(reason).name, message);
}

absl::Status ErrorNamed(absl::StatusCode code, std::string_view reason, std::string_view message) {
  absl::Status status(code, {message.data(), message.size()});
  status.SetPayload(kReasonUrl, absl::Cord(absl::string_view(reason.data(), reason.size())));
  return status;
}

// The message has all violations as text, for clients that do not read the details.
absl::Status FieldError(const std::vector<FieldViolation>& violations) {
  std::vector<std::string> sentences;
  sentences.reserve(violations.size());
  for (const FieldViolation& violation : violations)
    sentences.push_back(absl::StrCat(violation.field, " ", violation.description));
  return WithViolations(Error(Reason::kFieldInvalid, absl::StrJoin(sentences, "; ")), violations);
}

absl::Status WithViolations(absl::Status status, const std::vector<FieldViolation>& violations) {
  std::string payload;
  for (const FieldViolation& violation : violations) {
    absl::StrAppend(&payload, violation.field, std::string(1, kFieldEnd), violation.description,
                    std::string(1, kViolationEnd));
  }
  status.SetPayload(kViolationsUrl, absl::Cord(payload));
  return status;
}

Reason ReasonOf(const absl::Status& status) { return ReasonNamed(ReasonNameOf(status)); }

std::string ReasonNameOf(const absl::Status& status) {
  auto payload = status.GetPayload(kReasonUrl);
  return payload ? std::string(*payload) : std::string();
}

// Reads back the payload that FieldError has written.
std::vector<FieldViolation> ViolationsOf(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  auto payload = status.GetPayload(kViolationsUrl);
  if (!payload) return violations;
  for (absl::string_view entry :
       absl::StrSplit(std::string(*payload), kViolationEnd, absl::SkipEmpty())) {
    std::vector<std::string> parts = absl::StrSplit(entry, absl::MaxSplits(kFieldEnd, 1));
    if (parts.size() == 2) violations.push_back({parts[0], parts[1]});
  }
  return violations;
}

// A plain copy would lose the payloads, and with them the reason.
absl::Status Prefixed(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(absl::string_view(prefix.data(), prefix.size()),
                                                  status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

absl::Status ErrnoError(int error, std::string_view what) {
  std::string message =
      absl::StrCat(absl::string_view(what.data(), what.size()), ": ", std::strerror(error));
  // The same few causes everywhere, so that a user gets advice for a full disk wherever it fills
  // up.
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case ENOSPC:
    case EDQUOT:
      return Error(Reason::kDiskFull, message);
    case EACCES:
    case EPERM:
    case EROFS:
      return Error(Reason::kPathNotWritable, message);
    // Of the machine, not of ftd: the same may work in a moment.
    case EIO:
    case EMFILE:
    case ENFILE:
      return absl::UnavailableError(message);
    default:
      return Error(Reason::kInternal, message);
  }
}

}  // namespace ftd
