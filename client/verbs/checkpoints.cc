// ftctl checkpoints: what a job has on disk.
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/pages.h"
#include "client/text/json_output.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/plain_json.h"

namespace ftd {

// The paths are the server's.
int CheckpointsVerb(const Invocation& call) {
  ftd::v1::ListCheckpointsRequest request;
  std::string job;
  std::string output = "table";
  Flags flags(call, "checkpoints", "List a job's checkpoints on the server, oldest first.",
              "  ftctl checkpoints first\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  request.set_job(job);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto list =
      CallForAllPages(**connection, &ftd::v1::FineTuning::Stub::ListCheckpoints, request);
  if (!list.ok()) return Fail(list.status());
  if (output != "table") {
    PrintStructured(ToJson(*list)["checkpoints"], output);
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& checkpoint : list->checkpoints()) {
    rows.push_back({absl::StrCat(checkpoint.step()), ShortBytes(checkpoint.size_bytes()),
                    LocalTime(checkpoint.create_time()), absl::StrCat(checkpoint.attempt()),
                    checkpoint.path()});
  }
  std::cout << Table({"STEP", "SIZE", "WRITTEN", "ATTEMPT", "PATH"}, rows) << std::flush;
  return kExitOk;
}

}  // namespace ftd
