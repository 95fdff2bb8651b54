// ftctl retry: a job that has ended, once more.
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/base/uuid.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "lib/runlog/plain_json.h"

namespace ftd {

int RetryVerb(const Invocation& call) {
  ftd::v1::RetryJobRequest request;
  std::string name, output;
  bool quiet = false;
  Flags flags(call, "retry",
              "Queue a job that has ended once more: the same settings, model and data, from the "
              "first step on.\nPrints the new job's id.",
              "  ftctl retry first\n  ftctl watch $(ftctl retry --quiet first)\n");
  flags.Positional("JOB", "Id or name", &name);
  flags.Text("--request-id", "UUID that makes a repeated call the same job [a new one]",
             [&](const std::string& id) { request.set_request_id(id); });
  flags.Choice("-o,--output", "Print the job instead of its id", {"json", "yaml"}, &output);
  flags.Switch("-q,--quiet", "The id alone, no talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  request.set_job(name);
  // Made here, so that a call that is repeated after a lost answer queues one job.
  if (request.request_id().empty()) request.set_request_id(NewUuid());
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto job = (*connection)->Call(&ftd::v1::FineTuning::Stub::RetryJob, request);
  if (!job.ok()) return Fail(job.status());
  if (!quiet) {
    std::cerr << "Submitted job " << JobTitle(*job) << ", which repeats " << job->retry_of()
              << ".\n  ftctl watch " << JobHandle(*job) << "      follow it" << std::endl;
  }
  if (output.empty()) {
    std::cout << job->id() << std::endl;
  } else {
    PrintStructured(ToJson(*job), output);
  }
  return kExitOk;
}

}  // namespace ftd
