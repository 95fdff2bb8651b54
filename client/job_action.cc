#include "client/job_action.h"

#include <iostream>

#include "client/exit_codes.h"
#include "client/flags.h"
#include "client/json_output.h"
#include "client/names.h"

namespace ftd {

int JobAction(const Invocation& call, const std::string& verb, const std::string& description,
              const JobCall& act) {
  std::string name;
  std::string output;
  bool quiet = false;
  Flags flags(call, verb, description, "  ftctl " + verb + " first\n");
  flags.Positional("JOB", "Id or name", &name);
  flags.Choice("-o,--output", "Print the job", {"json", "yaml"}, &output);
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto job = act(**connection, name);
  if (!job.ok()) return Fail(job.status());
  if (!output.empty()) PrintStructured(ToJson(*job), output);
  if (!quiet) std::cerr << JobTitle(*job) << " is " << StateName(job->state()) << "." << std::endl;
  return kExitOk;
}

}  // namespace ftd
