// ftctl drain and undrain: let the queue stand, and let it run again.
#include <chrono>
#include <iostream>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/text.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

using ftd::v1::FineTuning;

// Asks until no job has a worker, also across restarts of ftd.
absl::Status WaitUntilIdle(Connection& connection) {
  constexpr auto kPause = std::chrono::milliseconds(500);
  while (true) {
    FTD_ASSIGN_OR_RETURN(const auto info, connection.Call(&FineTuning::Stub::GetServerInfo,
                                                          ftd::v1::GetServerInfoRequest()));
    if (info.running() == 0) return absl::OkStatus();
    connection.Rest(kPause);
  }
}

}  // namespace

int DrainVerb(const Invocation& call) {
  ftd::v1::DrainQueueRequest request;
  bool wait = false, quiet = false;
  Flags flags(call, "drain",
              "Start no more jobs, until `ftctl undrain`. The one that runs continues to its end; "
              "jobs may be\n"
              "submitted and wait. A restart of ftd changes nothing about that. For admins.",
              "  ftctl drain --message \"new disk at noon\" --wait\n");
  flags.Text("-m,--message", "For whoever waits",
             [&](const std::string& message) { request.set_message(message); });
  flags.Switch("--wait", "Return once nothing runs", &wait);
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto drained = (*connection)->Call(&FineTuning::Stub::DrainQueue, request);
  if (!drained.ok()) return Fail(drained.status());
  const bool runs = drained->running() > 0;
  if (!quiet) {
    std::cerr << "The queue is drained; "
              << (!runs  ? "nothing runs."
                  : wait ? "waiting for the job that runs."
                         : "the job that runs continues to its end.")
              << std::endl;
  }
  if (!wait || !runs) return kExitOk;
  if (const absl::Status idle = WaitUntilIdle(**connection); !idle.ok()) return Fail(idle);
  if (!quiet) std::cerr << "Nothing runs." << std::endl;
  return kExitOk;
}

int UndrainVerb(const Invocation& call) {
  bool quiet = false;
  Flags flags(call, "undrain", "Let a drained queue run again. For admins.", "  ftctl undrain\n");
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto undrained =
      (*connection)->Call(&FineTuning::Stub::UndrainQueue, ftd::v1::UndrainQueueRequest());
  if (!undrained.ok()) return Fail(undrained.status());
  if (!quiet) {
    std::cerr << (undrained->was_drained() ? "The queue runs again." : "The queue was not drained.")
              << std::endl;
  }
  return kExitOk;
}

}  // namespace ftd
