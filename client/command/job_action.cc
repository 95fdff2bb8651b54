#include "client/command/job_action.h"

#include <iostream>

#include "client/base/exit_codes.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/text/text.h"
#include "lib/runlog/plain_json.h"

namespace ftd {

// The common part of the verbs that change a job: only the call and a few flags differ.
int JobAction(const Invocation& call, const ActionHelp& help, const JobCall& act,
              const std::function<void(Flags&)>& add_flags) {
  std::string name;
  std::string output;
  bool quiet = false;
  Flags flags(call, help.verb, help.description, help.examples);
  flags.Positional("JOB", "Id or name", &name);
  if (add_flags) add_flags(flags);
  flags.Choice("-o,--output", "Print the job", {"json", "yaml"}, &output);
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto job = act(**connection, name);
  if (!job.ok()) return Fail(job.status());
  if (!output.empty()) PrintStructured(ToJson(*job), output);
  if (quiet) return kExitOk;
  std::cerr << JobTitle(*job) << " is " << StateName(job->state());
  if (!job->message().empty()) std::cerr << ": " << PrintableLines(job->message());
  std::cerr << "." << std::endl;
  return kExitOk;
}

}  // namespace ftd
