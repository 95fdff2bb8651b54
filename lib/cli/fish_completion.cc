// fish reads flags by itself once it knows them; in addition it needs to know after which verbs
// each one counts. The function @F@_at decides that.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "lib/cli/completion.h"

namespace ftd {
namespace {

constexpr const char* kFishHead =
    R"(# fish completion of @NAME@, made from the tables of its --help.

# Whether the words before the cursor are these verbs; with a number behind a --, whether so many
# arguments by position follow them. After the number: the flags that take a word.
function @F@_at
    set -l words (commandline -opc)[2..]
    set -l verbs $argv
    set -l count
    set -l valued @VALUED@
    if set -l bar (contains -i -- -- $argv)
        set verbs
        test $bar -gt 1; and set verbs $argv[1..(math $bar - 1)]
        set count $argv[(math $bar + 1)]
        set -a valued $argv[(math $bar + 2)..]
    end
    set -l seen
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
        else if contains -- $word $valued
            set skip 1
        else if not string match -q -- '-*' $word
            set -a seen $word
        end
    end
    set -l depth (count $verbs)
    test $depth -gt 0; and test "$seen[1..$depth]" != "$verbs"; and return 1
    if test -n "$count"
        test (math (count $seen) - $depth) = $count
    else if test (count $seen) -gt $depth
        set -l next $seen[(math $depth + 1)]
        not contains -- "$verbs $next" $@F@_commands
    end
end

# The jobs or models that ftd knows.
function @F@_ask
    set -l words (commandline -opc)
    set -l program ftctl
    test @NAME@ = ftctl; and set program $words[1]
    set -l connection
    for i in (seq (count $words))
        if contains -- $words[$i] @CONNECTION@
            set -a connection $words[$i..(math $i + 1)]
        else if contains -- (string replace -r '=.*' '' -- $words[$i]) @CONNECTION@
            set -a connection $words[$i]
        end
    end
    $program $connection completion $argv[1] 2>/dev/null </dev/null
end
)";

std::string FishQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

// Returns the value that a flag or argument takes, as options of `complete`: -x no files, -k keep
// the order, -a the candidates, -r a value is required.
std::string Values(const ArgumentDoc& argument) {
  if (!argument.choices.empty()) return "-xa " + FishQuoted(absl::StrJoin(argument.choices, " "));
  const std::string& value = argument.value;
  if (value == "FILE" || value == "PATH" || value == "PROGRAM") return "-rF";
  if (value == "DIR") return "-xa '(__fish_complete_directories)'";
  if (value == "JOB") return "-kxa '(@F@_ask jobs)'";
  if (value == "MODEL") return "-kxa '(@F@_ask models; __fish_complete_directories)'";
  if (value == "VERB") return "-xa \"$@F@_verbs\"";
  return "-x";
}

// One line of the script; the condition says after which verbs it counts.
std::string Complete(const std::string& condition, const std::string& what) {
  return absl::StrCat("complete -c @NAME@ -n ", FishQuoted(condition), " ", what, "\n");
}

// fish wants -l for a long name, -s for a short one, and both on one line.
std::string FlagLine(const std::string& condition, const ArgumentDoc& flag) {
  std::string names;
  for (const std::string& name : flag.names) {
    const bool is_long = absl::StartsWith(name, "--");
    absl::StrAppend(&names, is_long ? "-l " : "-s ", name.substr(is_long ? 2 : 1), " ");
  }
  const std::string values = flag.value.empty() ? "" : Values(flag) + " ";
  return Complete(condition, absl::StrCat(names, values, "-d ", FishQuoted(flag.help)));
}

// @F@_at skips the word after each of these.
std::vector<std::string> ValuedFlags(const CommandDoc& command) {
  std::vector<std::string> names;
  for (const ArgumentDoc& flag : command.flags) {
    if (!flag.value.empty()) names.insert(names.end(), flag.names.begin(), flag.names.end());
  }
  return names;
}

// The `complete` lines of one command: its verbs, its arguments by position, its flags.
std::string CommandLines(const CommandPath& path) {
  const CommandDoc& command = *path.command;
  const std::string verbs = absl::StrJoin(path.verbs, " ");
  const std::string at = absl::StrCat("@F@_at ", verbs);
  const std::string valued = absl::StrJoin(ValuedFlags(command), " ");
  std::string lines = "\n";
  const auto counted = [&](int count) {
    return absl::StrCat("@F@_at ", verbs, " -- ", count, " ", valued);
  };
  for (const CommandDoc& inner : command.commands) {
    lines +=
        Complete(counted(0), absl::StrCat("-xa ", inner.name, " -d ", FishQuoted(inner.summary)));
  }
  int count = 0;
  for (const ArgumentDoc& argument : command.arguments) {
    lines += Complete(counted(count++), Values(argument));
  }
  for (const ArgumentDoc& flag : command.flags) lines += FlagLine(at, flag);
  return lines;
}

}  // namespace

std::string FishCompletion(const CommandDoc& program) {
  std::string script = kFishHead;
  std::vector<std::string> paths;
  std::string lines;
  for (const CommandPath& path : AllCommands(program)) {
    if (!path.verbs.empty()) {
      // Written as @F@_at builds it: a blank leads where nothing comes before.
      paths.push_back(Quoted((path.verbs.size() == 1 ? " " : "") + absl::StrJoin(path.verbs, " ")));
    }
    lines += CommandLines(path);
  }
  // -e removes what an older script defined.
  absl::StrAppend(&script, "\nset -g @F@_commands ", absl::StrJoin(paths, " "),
                  "\nset -g @F@_verbs ", absl::StrJoin(CommandNames(program), " "),
                  "\n\ncomplete -c @NAME@ -e\ncomplete -c @NAME@ -f\n", lines);
  script = absl::StrReplaceAll(script, {{"@VALUED@", absl::StrJoin(ValuedFlags(program), " ")}});
  return Filled(script, program, " ");
}

}  // namespace ftd
