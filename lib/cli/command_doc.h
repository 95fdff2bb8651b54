// A program's command line as data: manual pages and shells' completions are made of it. It is read
// off the very tables that --help prints, so that neither can say anything else.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"

namespace ftd {

// A flag, or an argument by position.
struct ArgumentDoc {
  std::vector<std::string> names;  // "-o", "--output"; of an argument by position: "JOB"
  // The kind of its value: "INT", "table|json"; a switch takes "". FILE, DIR, PATH (either),
  // PROGRAM, JOB, MODEL and VERB are words that completion knows how to continue.
  std::string value;
  std::vector<std::string> choices;  // the words that it takes, where they can be listed
  std::string help;
  std::string group;
  bool required = false;
  bool repeatable = false;
};

struct CommandDoc {
  std::string name;         // "ftctl", "submit"
  std::string summary;      // one line; may be empty
  std::string description;  // sentences
  std::string examples;     // as --help ends
  std::vector<ArgumentDoc> arguments;
  std::vector<ArgumentDoc> flags;
  std::vector<CommandDoc> commands;
};

// A chapter of a manual page: terms and what they mean.
struct DocSection {
  std::string title;
  std::vector<std::pair<std::string, std::string>> rows;
};

struct ProgramDoc {
  CommandDoc command;
  std::string version;
  int section = 1;  // of the manual
  std::vector<DocSection> sections;
};

// `type` as CLI11 shows it: "INT", "table|json", "TEXT:{lora,full}".
void SetValue(const std::string& type, ArgumentDoc* argument);

// Describes all of a CLI::App that is not hidden, with its sub-commands. A template, because not
// all who include this know CLI11.
template <typename App>
CommandDoc DescribeCommand(const App& app) {
  CommandDoc doc{
      .name = app.get_name(), .description = app.get_description(), .examples = app.get_footer()};
  for (const auto* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    ArgumentDoc argument{.help = option->get_description(), .group = option->get_group()};
    const bool by_position = option->get_positional();
    const std::string names = option->get_name(by_position, !by_position);
    for (absl::string_view name : absl::StrSplit(names, ',')) {
      // "--no-shuffle{false}": a negative spelling.
      argument.names.emplace_back(name.substr(0, name.find('{')));
    }
    if (by_position || option->get_items_expected_max() > 0) {
      SetValue(option->get_type_name(), &argument);
    }
    if (by_position && argument.value.empty()) argument.value = argument.names[0];
    using Policy = decltype(option->get_multi_option_policy());
    argument.required = option->get_required();
    argument.repeatable = option->get_multi_option_policy() == Policy::TakeAll;
    (by_position ? doc.arguments : doc.flags).push_back(std::move(argument));
  }
  for (const auto* command : app.get_subcommands([](const App*) { return true; })) {
    doc.commands.push_back(DescribeCommand(*command));
  }
  return doc;
}

// Returns whether `flag` is one of `flags`, by its names.
bool IsAmong(const ArgumentDoc& flag, const std::vector<ArgumentDoc>& flags);

}  // namespace ftd
