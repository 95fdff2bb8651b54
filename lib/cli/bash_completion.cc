// bash knows no descriptions, and gives the words up to the cursor. So the script has a table of
// the words that may follow each verb, and one function that walks the command line through it. @F@
// stands for the program's function prefix.
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/cli/completion.h"

namespace ftd {
namespace {

constexpr const char* kBashHead =
    R"(# bash completion of @NAME@, made from the tables of its --help.
)";

constexpr const char* kBashFunctions = R"(
# The jobs or models that ftd knows. Nothing of what a server says is expanded by the shell.
@F@_ask() {
    local program=ftctl word connection=() words i
    [[ @NAME@ == ftctl ]] && program=${COMP_WORDS[0]}
    read -ra words <<<"$COMP_LINE"
    for ((i = 0; i < ${#words[@]}; i++)); do
        case ${words[i]} in
        @CONNECTION@) connection+=("${words[i]}" "${words[i + 1]}") ;;
        --*=*) [[ "|@CONNECTION@|" == *"|${words[i]%%=*}|"* ]] && connection+=("${words[i]}") ;;
        esac
    done
    while IFS=$'\t' read -r word _; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done < <("$program" "${connection[@]}" completion "$1" 2>/dev/null </dev/null)
}

@F@_complete() {
    local cur=${COMP_WORDS[COMP_CWORD]} path= seen=0 value= last= commands flags arguments word i
    COMPREPLY=()
    @F@_table ""
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        =) continue ;;  # --flag=value comes as three words
        :)              # and unix:PATH too
            ((++i == COMP_CWORD)) && value=$last
            continue
            ;;
        esac
        if [[ $value ]]; then
            last=$value value=
        elif [[ $word == -* ]]; then
            @F@_value "$path $word"
        elif [[ " $commands " == *" $word "* ]]; then
            path+=" $word" seen=0
            @F@_table "$path"
        else
            commands= last=
            ((++seen))
        fi
    done
    case $cur in
    = | :) cur= ;;
    esac
    if [[ ! $value ]]; then
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
            return
        fi
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
        arguments=($arguments)
        value=${arguments[seen]}
    fi
    case $value in
    =*)
        value=${value#=}
        mapfile -t COMPREPLY < <(compgen -W "${value//,/ }" -- "$cur")
        ;;
    FILE | PATH | PROGRAM)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        ;;
    DIR | MODEL)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        [[ $value == MODEL ]] && @F@_ask models
        ;;
    JOB) @F@_ask jobs ;;
    VERB)
        @F@_table ""
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
        ;;
    esac
    return 0
}

complete -F @F@_complete @NAME@
)";

// Returns one word for a value: "=a,b" where the choices can be listed, "TEXT" for anything that
// cannot be completed.
std::string Value(const ArgumentDoc& argument) {
  if (!argument.choices.empty()) return "=" + absl::StrJoin(argument.choices, ",");
  const bool word =
      argument.value.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string::npos;
  return word ? argument.value : "TEXT";
}

// A row's key: the verbs, each after a blank, and the flag; " job ls --state".
std::string Key(const CommandPath& path, const std::string& flag = "") {
  std::string key;
  for (const std::string& verb : path.verbs) absl::StrAppend(&key, " ", verb);
  return Quoted(flag.empty() ? key : absl::StrCat(key, " ", flag));
}

// One branch of the table function's case.
std::string Row(const CommandPath& path) {
  const CommandDoc& command = *path.command;
  std::vector<std::string> flags, arguments;
  for (const ArgumentDoc& flag : command.flags) {
    flags.insert(flags.end(), flag.names.begin(), flag.names.end());
  }
  for (const ArgumentDoc& argument : command.arguments) arguments.push_back(Value(argument));
  return absl::StrCat(
      "    ", Key(path), ")\n        commands=", Quoted(absl::StrJoin(CommandNames(command), " ")),
      "\n        flags=", Quoted(absl::StrJoin(flags, " ")),
      "\n        arguments=", Quoted(absl::StrJoin(arguments, " ")), "\n        ;;\n");
}

}  // namespace

std::string BashCompletion(const CommandDoc& program) {
  std::string table, values;
  // Flags that take the same kind of value share one branch of the case.
  std::map<std::string, std::vector<std::string>> keys_of;  // by value
  for (const CommandPath& path : AllCommands(program)) {
    table += Row(path);
    for (const ArgumentDoc& flag : path.command->flags) {
      if (flag.value.empty()) continue;
      for (const std::string& name : flag.names) keys_of[Value(flag)].push_back(Key(path, name));
    }
  }
  for (const auto& [value, keys] : keys_of) {
    absl::StrAppend(&values, "    ", absl::StrJoin(keys, " | "), ") value=", Quoted(value),
                    " ;;\n");
  }
  return Filled(absl::StrCat(kBashHead,
                             "\n# What may stand behind these verbs.\n@F@_table() {\n"
                             "    commands= flags= arguments=\n    case $1 in\n",
                             table,
                             "    esac\n}\n\n# What a flag takes; nothing for a switch.\n"
                             "@F@_value() {\n    value=\n    case $1 in\n",
                             values, "    esac\n}\n", kBashFunctions),
                program, "|");
}

}  // namespace ftd
