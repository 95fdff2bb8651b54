// ftctl push: a result into a repository of the Hugging Face hub.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/task_stream.h"
#include "client/text/json_output.h"
#include "client/text/text.h"
#include "client/watch/terminal.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

// The last line is the address; stdout has nothing else.
void PrintPush(const v1::Push& push, bool quiet) {
  if (!quiet) {
    std::cerr << (push.unchanged() ? "The hub had all of it already, at commit "
                                   : "The result is on the hub, at commit ")
              << Printable(push.commit()) << std::endl;
  }
  std::cout << Printable(push.url()) << std::endl;
}

}  // namespace

// Ends with the stream: when ftctl goes, ftd stops pushing.
int PushVerb(const Invocation& call) {
  v1::PushResultRequest request;
  std::string job, repository, output = "text";
  bool is_private = false, quiet = false;
  Flags flags(
      call, "push",
      "Put a job's result into a repository of the Hugging Face hub, with the token that the "
      "server has (`ftctl\nlogin`), which must have the right to write: one commit, with all "
      "files or none. Ctrl-C ends it; the same\ncommand resumes it, and makes no second "
      "commit.",
      "  ftctl push first ann/first-lora --private\n  ftctl push first ann/first-lora "
      "--revision v2 -o json\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Positional("OWNER/NAME", "The repository; it is created if need be", &repository);
  flags.Switch("--private", "A repository that has to be created is private", &is_private);
  flags.Text("--revision", "The branch; it is created if need be [main]",
             [&](const std::string& text) { request.set_revision(text); });
  flags.Choice("-o,--output", "Format [text]", {"text", "json", "yaml"}, &output);
  flags.Switch("-q,--quiet", "The address alone", &quiet);
  if (const auto code = flags.Parse()) return *code;
  request.set_job(job);
  request.set_repository(repository);
  request.set_private_(is_private);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  grpc::ClientContext context;
  auto reader = (*connection)->stub().PushResult(&context, request);
  const auto done = LastOf(**connection, *reader, !quiet && StderrIsTerminal());
  if (!done.ok()) return Fail(done.status());
  if (output == "text") {
    PrintPush(done->outcome(), quiet);
  } else {
    PrintStructured(ToJson(done->outcome()), output);
  }
  return kExitOk;
}

}  // namespace ftd
