// ftctl login and whoami, which talk to the hub and not to ftd. They live in a program of their
// own, ftctl-hub beside ftctl: loading libcurl would double the time of every short command.
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/base/programs.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Replaces this process, so exit code, terminal and signals are the other program's.
int RunHubProgram(const std::string& verb) {
  const std::string program = ProgramBeside("ftctl-hub");
  std::vector<std::string> arguments = {program, verb};
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return Fail(ErrnoError(errno, absl::StrCat("run ", program)));
}

}  // namespace

// Flags are parsed here, so --help and errors look like those of all verbs.
int LoginVerb(const Invocation& call) {
  Flags flags(call, "login",
              "Store a Hugging Face token where all its tools look for it, after the hub has "
              "accepted it.\nIt is read from the terminal without being shown, or from stdin.",
              "  ftctl login\n  ftctl login <token.txt\n");
  if (const auto code = flags.Parse()) return *code;
  return RunHubProgram("login");
}

int WhoamiVerb(const Invocation& call) {
  Flags flags(call, "whoami", "Print the name that the hub knows the stored token by.",
              "  ftctl whoami\n");
  if (const auto code = flags.Parse()) return *code;
  return RunHubProgram("whoami");
}

}  // namespace ftd
