#include "client/text/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "lib/base/short_bytes.h"

namespace ftd {

using ftd::v1::Job;
using ftd::v1::JobSpec;

namespace {

// A server newer than this client may send values without a name here.
std::string NameOr(const std::string& name, int number) {
  return name.empty() ? absl::StrCat(number) : name;
}

}  // namespace

std::string StateName(Job::State state) { return NameOr(Job::State_Name(state), state); }

std::string PhaseName(ftd::v1::Progress::Phase phase) {
  if (phase == ftd::v1::Progress::PHASE_UNSPECIFIED) return "";
  return NameOr(ftd::v1::Progress::Phase_Name(phase), phase);
}

std::string ModeName(JobSpec::Mode mode) {
  return absl::AsciiStrToLower(NameOr(JobSpec::Mode_Name(mode), mode));
}

std::string FailureName(ftd::v1::FailureReason reason) {
  if (reason == ftd::v1::FAILURE_REASON_UNSPECIFIED) return "";
  return NameOr(ftd::v1::FailureReason_Name(reason), reason);
}

// "" for a reason that a newer server may give: the state says enough.
std::string PendingText(Job::PendingReason why) {
  switch (why) {
    case Job::GPU_BUSY:
      return "another job has the device";
    case Job::DEPENDENCY:
      return "a job that it comes after has not succeeded yet";
    case Job::BACKOFF:
      return "it waits before the next attempt";
    case Job::DISK_RESERVE:
      return "it waits for space on the disk";
    case Job::DRAINED:
      return "the queue is drained";
    default:
      return "";
  }
}

std::string ModelName(const JobSpec& spec) {
  std::string name = spec.model();
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  return name.substr(name.find_last_of('/') + 1);
}

std::string JobTitle(const Job& job) {
  return job.name().empty() ? job.id() : absl::StrCat(job.id(), " (", job.name(), ")");
}

std::string JobHandle(const Job& job) { return job.name().empty() ? job.id() : job.name(); }

// A job that has not begun has no plan yet, but may have a limit.
int64_t StepsPlanned(const Job& job) {
  return std::max(job.progress().steps_planned(), job.spec().max_steps());
}

std::string EvaluationText(const ftd::v1::Evaluation& evaluation) {
  return absl::StrCat("loss ", Fixed(evaluation.loss(), 4), ", token accuracy ",
                      Fixed(100 * evaluation.mean_token_accuracy(), 1), "%, ", evaluation.rows(),
                      " rows");
}

std::string DrainText(const std::string& owner, const google::protobuf::Timestamp& time,
                      const std::string& message) {
  return absl::StrCat("drained by ", owner, " since ", LocalTime(time), message.empty() ? "" : ": ",
                      message);
}

std::string RemovalText(const ftd::v1::Removal& removal) {
  const std::string kind = NameOr(ftd::v1::Removal::Kind_Name(removal.kind()), removal.kind());
  return absl::StrCat(absl::AsciiStrToLower(kind), ", ", ShortBytes(removal.size_bytes()),
                      ", pruned ", LocalTime(removal.time()),
                      removal.owner().empty() ? "" : " for ", removal.owner());
}

bool IsResultPruned(const Job& job) {
  return std::any_of(job.removals().begin(), job.removals().end(), [](const auto& removal) {
    return removal.kind() == ftd::v1::Removal::RESULT;
  });
}

// The command that most users want next, by the job's state.
std::string NextStep(const Job& job) {
  const std::string handle = JobHandle(job);
  switch (job.state()) {
    case Job::SUCCEEDED:
      if (IsResultPruned(job)) return absl::StrCat("ftctl retry ", handle);
      return absl::StrCat("ftctl get ", handle, " DIR");
    case Job::FAILED:
      return absl::StrCat("ftctl logs ", handle);
    case Job::HELD:
      return absl::StrCat("ftctl release ", handle);
    case Job::PAUSED:
      return absl::StrCat("ftctl resume ", handle);
    case Job::CANCELLED:
      return "";
    default:
      return absl::StrCat("ftctl watch ", handle);
  }
}

}  // namespace ftd
