// ftctl watch: follow a job live.
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/job_lookup.h"
#include "client/watch/follow.h"
#include "client/watch/job_views.h"
#include "client/watch/terminal.h"

namespace ftd {

// A screen needs a terminal on stdout; a pipe gets lines.
int WatchVerb(const Invocation& call) {
  std::string job;
  Flags flags(call, "watch",
              "Follow a job until it ends: a live screen on a terminal, else one line per logging "
              "interval.\n"
              "Ctrl-C leaves the job running. Exit code: 0 succeeded, 100 failed, 103 cancelled, "
              "130 Ctrl-C.",
              "  ftctl watch first\n  ftctl watch first | tee first.log\n");
  flags.Positional("JOB", "Id or name", &job);
  if (const auto code = flags.Parse()) return *code;
  Signals signals = FollowSignals(StdoutIsTerminal());
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto found = FindJob(**connection, job);
  if (!found.ok()) return Fail(found.status());
  return WatchToEnd(**connection, *found, signals);
}

}  // namespace ftd
