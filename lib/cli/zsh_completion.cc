// zsh's own _arguments walks the words. The script has a function for each command, with a line for
// each flag.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "lib/cli/completion.h"

namespace ftd {
namespace {

constexpr const char* kZshFunctions = R"(#compdef @NAME@
# zsh completion of @NAME@, made from the tables of its --help.

# The jobs or models that ftd knows: a word, a tab and a description on each line.
@F@-ask() {
  local line
  local -a found
  for line in "${(@f)$("$program" "$connection[@]" completion $1 2>/dev/null </dev/null)}"; do
    [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe -t $1 $2 found
}
@F@-jobs() { @F@-ask jobs job }
@F@-models() { @F@-ask models model; _files -/ }

@F@() {
  local program=ftctl context state state_descr line word
  local -a connection
  local -A opt_args
  [[ @NAME@ == ftctl ]] && program=$words[1]
  local -i at
  for ((at = 2; at <= $#words; at++)); do
    word=$words[at]
    case $word in
    (@CONNECTION@) connection+=("$word" "${(Q)words[at + 1]}") ;;
    (--*=*) [[ "|@CONNECTION@|" == *"|${word%%=*}|"* ]] && connection+=("${(Q)word}") ;;
    esac
  done
  @F@-command
}
)";

// Works both ways: autoloaded from $fpath, or sourced in ~/.zshrc.
constexpr const char* kEnd = R"(
if [[ $funcstack[1] == @F@ ]]; then
  @F@ "$@"
else
  compdef @F@ @NAME@
fi
)";

// Returns text for a place inside the brackets and between the colons of a specification.
std::string Plain(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"\\", "\\\\"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}, {"\n", " "}});
}

// Returns the part of a specification that says how a value is completed; " " for not at all.
std::string Action(const ArgumentDoc& argument) {
  if (!argument.choices.empty()) return "(" + absl::StrJoin(argument.choices, " ") + ")";
  if (argument.value == "FILE" || argument.value == "PATH") return "_files";
  if (argument.value == "PROGRAM") return "_command_names -e";
  if (argument.value == "DIR") return "_files -/";
  if (argument.value == "JOB") return "@F@-jobs";
  if (argument.value == "MODEL") return "@F@-models";
  if (argument.value == "VERB") return "@F@-verbs";
  return " ";
}

// "(-o --output)--output=[help]:value:action": the names in parentheses exclude each other. = and +
// say where the value stands; * allows the flag again.
std::string FlagSpecs(const ArgumentDoc& flag) {
  std::string specs;
  for (const std::string& name : flag.names) {
    const bool is_long = name.rfind("--", 0) == 0;
    std::string spec =
        flag.repeatable ? "*" : absl::StrCat("(", absl::StrJoin(flag.names, " "), ")");
    absl::StrAppend(&spec, name,
                    flag.value.empty() ? ""
                    : is_long          ? "="
                                       : "+",
                    "[", Plain(flag.help), "]");
    if (!flag.value.empty()) absl::StrAppend(&spec, ":", Plain(flag.value), ":", Action(flag));
    absl::StrAppend(&specs, " \\\n    ", Quoted(spec));
  }
  return specs;
}

// A command with verbs completes its first argument by them, and leaves the rest to the verb's
// function.
std::string CommandFunction(const CommandPath& path) {
  std::string name = "@F@-command";
  for (const std::string& verb : path.verbs) absl::StrAppend(&name, "-", verb);
  const CommandDoc& command = *path.command;
  std::string specs, cases;
  for (const ArgumentDoc& flag : command.flags) specs += FlagSpecs(flag);
  int position = 0;
  for (const ArgumentDoc& argument : command.arguments) {
    const std::string spec =
        absl::StrCat(++position, ":", Plain(argument.names[0]), ":", Action(argument));
    absl::StrAppend(&specs, " \\\n    ", Quoted(spec));
  }
  if (command.commands.empty()) {
    return absl::StrCat("\n", name, "() {\n  _arguments -s", specs, "\n}\n");
  }
  std::string verbs;
  for (const CommandDoc& inner : command.commands) {
    absl::StrAppend(&verbs, "\n    ", Quoted(absl::StrCat(inner.name, ":", inner.summary)));
    absl::StrAppend(&cases, "    (", inner.name, ") ", name, "-", inner.name, " ;;\n");
  }
  return absl::StrCat(
      "\n", name, "-verbs() {\n  local -a verbs=(", verbs,
      "\n  )\n  _describe -t commands verb verbs\n}\n", name,
      "() {\n  local curcontext=$curcontext context state state_descr line\n  local -A opt_args\n"
      "  _arguments -s -C -A '-*'",
      specs, " \\\n    '1: :", name, "-verbs' \\\n    '*:: :->rest'",
      " && return\n  [[ $state == rest ]] && case $line[1] in\n", cases, "  esac\n}\n");
}

}  // namespace

// zsh autoloads the file as the function @F@; the end of the file then calls that function.
std::string ZshCompletion(const CommandDoc& program) {
  std::string script = kZshFunctions;
  for (const CommandPath& path : AllCommands(program)) script += CommandFunction(path);
  if (!program.commands.empty()) script += "\n@F@-verbs() { @F@-command-verbs }\n";
  return Filled(script + kEnd, program, "|");
}

}  // namespace ftd
