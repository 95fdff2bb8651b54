#include "client/command/command_docs.h"

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/base/version.h"
#include "client/command/verbs.h"

namespace ftd {
namespace {

// A verb that is called with `describe` fills it in and does nothing else.
CommandDoc Described(const Verb& verb) {
  CommandDoc doc;
  verb.run({.describe = &doc});
  doc.name = verb.name;
  doc.summary = verb.help;
  return doc;
}

CommandDoc HelpVerb() {
  return {.name = "help",
          .summary = "Explain a verb",
          .arguments = {{.names = {"VERB"}, .value = "VERB", .help = "All of them without it"}}};
}

// The flags before the verb are read by main.cc and not by CLI11, so they are described by hand.
CommandDoc Command() {
  CommandDoc doc{.name = "ftctl",
                 .summary = "fine-tune language models on the machine where ftd runs",
                 .description =
                     "Queues jobs, follows and controls them, and brings their results home.\n"
                     "ftctl help VERB says the same as this page.\n"
                     "Data goes to the standard output, everything else to the standard error."};
  for (const ServerFlag& flag : kServerFlags) {
    ArgumentDoc argument{.names = {flag.name},
                         .help = absl::StrCat(flag.help, " [$", flag.variable, "]"),
                         .group = "Connection"};
    SetValue(flag.value, &argument);
    doc.flags.push_back(std::move(argument));
  }
  doc.flags.push_back({.names = {"-h", "--help"}, .help = "Show this help", .group = "Options"});
  doc.flags.push_back({.names = {"--version"}, .help = "Show the version", .group = "Options"});
  for (const Verb& verb : Verbs()) doc.commands.push_back(Described(verb));
  doc.commands.push_back(HelpVerb());
  return doc;
}

// From the table in exit_codes.h, which docs/cli.md repeats.
DocSection ExitStatus() {
  DocSection section{.title = "EXIT STATUS"};
  for (const ExitCodeHelp& row : kExitCodes) {
    section.rows.emplace_back(absl::StrCat(row.code), row.when);
  }
  return section;
}

}  // namespace

// Asks every verb to describe itself: man page and completions cannot miss a flag.
ProgramDoc DescribeFtctl() {
  ProgramDoc program{.command = Command(), .version = kFtctlVersion};
  DocSection environment{.title = "ENVIRONMENT"};
  for (const ServerFlag& flag : kServerFlags) {
    environment.rows.emplace_back(flag.variable,
                                  absl::StrCat("Counts where ", flag.name, " is not given."));
  }
  environment.rows.emplace_back("NO_COLOR", "Set to anything: no colours.");
  DocSection files{.title = "FILES",
                   .rows = {{"$RUNTIME_DIRECTORY/ftd.sock", "Where ftd is sought first,"},
                            {"$XDG_RUNTIME_DIR/ftd/ftd.sock", "then,"},
                            {"/run/ftd/ftd.sock", "and then."}}};
  program.sections = {
      ExitStatus(),
      environment,
      files,
      {.title = "SEE ALSO", .rows = {{"ftd(8), ft-train(1)", "The daemon; training without it."}}}};
  return program;
}

}  // namespace ftd
