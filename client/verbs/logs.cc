// ftctl logs: the worker's own output.
#include <grpcpp/grpcpp.h>

#include <iostream>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"

namespace ftd {

// Bytes go out as they are, unlike all other text from ftd, which is made printable first.
int LogsVerb(const Invocation& call) {
  ftd::v1::TailLogRequest request;
  std::string job;
  Flags flags(call, "logs", "Print what the worker of a job wrote.",
              "  ftctl logs first -n 50\n  ftctl logs first -f\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Int64("-n,--lines", "The last LINES lines [all]",
              [&](int64_t value) { request.set_lines(value); });
  flags.Int32("--attempt", "Of this attempt [the newest]",
              [&](int32_t value) { request.set_attempt(value); });
  flags.Switch("-f,--follow", "Keep printing until the job ends",
               [&](bool value) { request.set_follow(value); });
  if (const auto code = flags.Parse()) return *code;
  request.set_job(job);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  grpc::ClientContext context;
  auto reader = (*connection)->stub().TailLog(&context, request);
  ftd::v1::TailLogResponse response;
  while (reader->Read(&response)) std::cout << response.data() << std::flush;
  const absl::Status status = (*connection)->ToStatus(reader->Finish());
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace ftd
