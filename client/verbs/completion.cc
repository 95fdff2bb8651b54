// ftctl completion: scripts for shells, and the words that these scripts ask for.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/command_docs.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/names.h"
#include "client/text/text.h"
#include "lib/base/short_bytes.h"
#include "lib/cli/generate.h"
#include "lib/spec/aliases.h"

namespace ftd {
namespace {

using ftd::v1::FineTuning;

// Somebody has pressed a key and waits.
constexpr auto kPatience = std::chrono::milliseconds(500);

void PrintWord(const std::string& word, const std::string& description) {
  std::cout << Printable(word) << "\t" << Printable(description) << "\n";
}

// Makes one attempt. Returns false where nobody answers in time, whatever the reason: a shell that
// completes must not print an error.
template <class Request, class Response>
bool Ask(const ServerAddress& address,
         grpc::Status (FineTuning::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
         const Request& request, Response* response) {
  const auto connection = Connect(address);
  if (!connection.ok()) return false;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  return ((*connection)->stub().*method)(&context, request, response).ok();
}

int Jobs(const ServerAddress& address) {
  ftd::v1::ListJobsRequest request;
  request.set_page_size(200);
  ftd::v1::ListJobsResponse response;
  if (!Ask(address, &FineTuning::Stub::ListJobs, request, &response)) return kExitOk;
  // A word, a tab and a description; a job with a name is offered by both.
  for (const ftd::v1::Job& job : response.jobs()) {
    const std::string what = absl::StrCat(StateName(job.state()), " ", ModeName(job.spec().mode()),
                                          " on ", ModelName(job.spec()));
    if (!job.name().empty()) PrintWord(job.name(), what);
    PrintWord(job.id(), what);
  }
  std::cout << std::flush;
  return kExitOk;
}

int Models(const ServerAddress& address) {
  ftd::v1::ListModelsResponse response;
  // Without ftd the aliases that every ftd has are better than nothing.
  if (!Ask(address, &FineTuning::Stub::ListModels, ftd::v1::ListModelsRequest(), &response)) {
    for (const auto& [alias, name] : hub::BuiltInAliases()) PrintWord(alias, name);
  }
  for (const ftd::v1::Model& model : response.models()) {
    if (model.type() == ftd::v1::Model::DATASET) continue;
    for (const std::string& alias : model.aliases()) PrintWord(alias, model.name());
    if (model.size_bytes() > 0) PrintWord(model.name(), ShortBytes(model.size_bytes()));
  }
  std::cout << std::flush;
  return kExitOk;
}

}  // namespace

// One verb for both, since the scripts have to call something that every ftctl has.
int CompletionVerb(const Invocation& call) {
  std::string what;
  Flags flags(call, "completion",
              "Print a script that lets a shell complete verbs, flags, what these take, jobs and "
              "models.\n"
              "The scripts in turn ask for `jobs` and `models`, which are silent where no ftd "
              "answers at once.",
              "  source <(ftctl completion bash)      # in ~/.bashrc; likewise zsh in ~/.zshrc\n"
              "  ftctl completion fish | source       # in ~/.config/fish/config.fish\n");
  flags.Positional("WHAT", "", &what, "bash|zsh|fish|jobs|models");
  if (const auto code = flags.Parse()) return *code;
  if (what == "jobs") return Jobs(flags.address());
  if (what == "models") return Models(flags.address());
  if (what == "man") what.clear();  // the page is the build's affair
  const auto script = Generate(what, DescribeFtctl());
  if (!script.ok()) {
    std::cerr << "ftctl completion: WHAT is bash, zsh, fish, jobs or models; got '"
              << Printable(what) << "'" << std::endl;
    return kExitUsage;
  }
  std::cout << *script << std::flush;
  return kExitOk;
}

}  // namespace ftd
