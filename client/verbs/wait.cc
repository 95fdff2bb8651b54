// ftctl wait: block until a job has ended.
#include <chrono>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/job_lookup.h"
#include "client/watch/follow.h"

namespace ftd {

int WaitVerb(const Invocation& call) {
  std::string name;
  std::optional<double> timeout;
  Flags flags(
      call, "wait",
      "Wait until a job has ended. Exit code: 0 succeeded, 100 failed, 101 not finished in time,\n"
      "102 no such job, 103 cancelled. Restarts of ftd do not end it.",
      "  ftctl wait first && ftctl get first out\n  ftctl wait first --timeout 3600\n");
  flags.Positional("JOB", "Id or name", &name);
  flags.Double("--timeout", "Give up after this many seconds [never]",
               [&](double value) { timeout = value; });
  if (const auto code = flags.Parse()) return *code;
  Signals signals = FollowSignals(false);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto job = FindJob(**connection, name);
  if (!job.ok()) return Fail(job.status());
  // No stream is needed for a job that has ended.
  if (IsFinal(job->state())) return ReportOutcome({FollowOutcome::kFinal, *job, 0, {}});

  std::optional<std::chrono::milliseconds> limit;
  // Thirty years are as good as more, and do not overflow the clock.
  if (timeout)
    limit = std::chrono::milliseconds(static_cast<int64_t>(std::clamp(*timeout, 0.0, 1e9) * 1000));
  JobView silent;
  return ReportOutcome(FollowJob(**connection, *job, silent, signals, limit));
}

}  // namespace ftd
