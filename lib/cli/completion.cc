#include "lib/cli/completion.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace ftd {
namespace {

// Depth first, so that a command comes before its own verbs.
void Append(const CommandDoc& command, const std::vector<std::string>& verbs,
            std::vector<CommandPath>* all) {
  all->push_back({verbs, &command});
  for (const CommandDoc& inner : command.commands) {
    std::vector<std::string> deeper = verbs;
    deeper.push_back(inner.name);
    Append(inner, deeper, all);
  }
}

}  // namespace

std::vector<CommandPath> AllCommands(const CommandDoc& program) {
  std::vector<CommandPath> all;
  Append(program, {}, &all);
  return all;
}

std::string FunctionName(const CommandDoc& program) {
  return "_" + absl::StrReplaceAll(program.name, {{"-", "_"}});
}

// Single quotes hold everything but themselves: 'it'\''s'.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// Flags that say which ftd to ask. The script passes them on when it asks for jobs or models.
std::vector<std::string> ConnectionFlags(const CommandDoc& program) {
  std::vector<std::string> names;
  for (const ArgumentDoc& flag : program.flags) {
    if (flag.group == "Connection") names.push_back(flag.names[0]);
  }
  return names;
}

std::vector<std::string> CommandNames(const CommandDoc& command) {
  std::vector<std::string> names;
  for (const CommandDoc& inner : command.commands) names.push_back(inner.name);
  return names;
}

// Programs without a connection get a pattern that matches nothing.
std::string Filled(const std::string& script, const CommandDoc& program,
                   const std::string& separator) {
  const std::vector<std::string> connection = ConnectionFlags(program);
  return absl::StrReplaceAll(
      script, {{"@F@", FunctionName(program)},
               {"@NAME@", program.name},
               {"@CONNECTION@", connection.empty() ? "''" : absl::StrJoin(connection, separator)}});
}

}  // namespace ftd
