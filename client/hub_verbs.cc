// ftctl login and whoami, which talk to the hub and not to ftd. They live in a program of their
// own, ftctl-hub beside ftctl: loading libcurl would double the time of every short command.
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "artifacts/error.h"
#include "client/exit_codes.h"
#include "client/verbs.h"

namespace ftd {
namespace {

int RunHubProgram(const std::string& verb, const Invocation& call) {
  std::error_code error;
  std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  program.replace_filename("ftctl-hub");
  std::vector<std::string> arguments = {program.string(), verb};
  arguments.insert(arguments.end(), call.args.begin(), call.args.end());
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return Fail(ErrnoError(errno, absl::StrCat("run ", program.string())));
}

}  // namespace

int LoginVerb(const Invocation& call) { return RunHubProgram("login", call); }

int WhoamiVerb(const Invocation& call) { return RunHubProgram("whoami", call); }

}  // namespace ftd
