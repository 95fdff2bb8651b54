#include "lib/cli/generate.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/cli/completion.h"
#include "lib/cli/man_page.h"

namespace ftd {

// `kind` is a word of the build's and of `ftctl completion`.
absl::StatusOr<std::string> Generate(const std::string& kind, const ProgramDoc& program) {
  if (kind == "man") return ManPage(program);
  if (kind == "bash") return BashCompletion(program.command);
  if (kind == "zsh") return ZshCompletion(program.command);
  if (kind == "fish") return FishCompletion(program.command);
  return Error(Reason::kUsage, absl::StrCat("nothing to generate is called '", kind, "'"));
}

// The build calls each program with --generate to make its man page and completions. It is not a
// flag of the command line, so it is in no --help.
bool IsGenerateCall(int argc, char** argv, const std::function<ProgramDoc()>& describe,
                    int* exit_code) {
  if (argc != 3 || std::string(argv[1]) != "--generate") return false;
  const auto text = Generate(argv[2], describe());
  if (text.ok()) std::cout << *text << std::flush;
  if (!text.ok()) std::cerr << text.status().message() << std::endl;
  *exit_code = text.ok() ? 0 : 2;
  return true;
}

}  // namespace ftd
