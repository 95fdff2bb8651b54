// ftctl rm: forget a job that has ended.
#include <iostream>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/text.h"

namespace ftd {

// There is no question first: the result stays unless --results is given.
int RmVerb(const Invocation& call) {
  ftd::v1::DeleteJobRequest request;
  std::string name;
  bool quiet = false;
  Flags flags(call, "rm",
              "Forget a job that has ended: its steps, logs and checkpoints. Its result stays "
              "unless --results.",
              "  ftctl rm first\n  ftctl rm --results first\n");
  flags.Positional("JOB", "Id or name", &name);
  flags.Switch("--results", "Remove the result too",
               [&](bool results) { request.set_results(results); });
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  request.set_job(name);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto removed = (*connection)->Call(&ftd::v1::FineTuning::Stub::DeleteJob, request);
  if (!removed.ok()) return Fail(removed.status());
  if (!quiet) std::cerr << "Job " << Printable(name) << " is removed." << std::endl;
  return kExitOk;
}

}  // namespace ftd
