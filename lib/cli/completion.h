// Scripts that let a shell complete a program's command line: verbs, flags, and what they take.
//
// Words that only the server knows, jobs and models, are asked of `ftctl completion jobs|models`,
// which is silent where no ftd answers.
#pragma once

#include <string>
#include <vector>

#include "lib/cli/command_doc.h"

namespace ftd {

std::string BashCompletion(const CommandDoc& program);
std::string ZshCompletion(const CommandDoc& program);
std::string FishCompletion(const CommandDoc& program);

// For the three above.

// A command with the verbs that lead to it: {}, {"models"}, {"models", "pull"}.
struct CommandPath {
  std::vector<std::string> verbs;
  const CommandDoc* command;
};
// The program and all below it, in order.
std::vector<CommandPath> AllCommands(const CommandDoc& program);

// A name that may begin names of functions: "_ft_train".
std::string FunctionName(const CommandDoc& program);
// In single quotes, as bash and zsh read them.
std::string Quoted(const std::string& text);
// Flags that say how to reach the server: "--address", …. Scripts pass them on.
std::vector<std::string> ConnectionFlags(const CommandDoc& program);
std::vector<std::string> CommandNames(const CommandDoc& command);
// `script` with @F@ replaced by FunctionName and @CONNECTION@ by the flags, parted by `separator`.
std::string Filled(const std::string& script, const CommandDoc& program,
                   const std::string& separator);

}  // namespace ftd
