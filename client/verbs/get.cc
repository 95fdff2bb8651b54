// ftctl get: take a result home.
#include <iostream>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/download.h"

namespace ftd {

// The directory must not exist or be empty, so nothing of the user's is ever overwritten.
int GetVerb(const Invocation& call) {
  std::string job;
  std::string directory;
  bool quiet = false;
  Flags flags(call, "get",
              "Copy the result of a job that succeeded into a new directory. Every file's sha256 "
              "is checked;\n"
              "DIR holds the whole result or does not appear.",
              "  ftctl get first ./first-adapter\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Positional("DIR", "Where to; it must not exist, or be empty", &directory);
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  if (const absl::Status status = DownloadResult(**connection, job, directory); !status.ok())
    return Fail(status);
  if (!quiet) std::cerr << "The result is in " << directory << std::endl;
  return kExitOk;
}

}  // namespace ftd
