// ftctl: the command line of ftd.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/base/version.h"
#include "client/command/command_docs.h"
#include "client/command/verbs.h"
#include "client/text/text.h"
#include "lib/base/nearest.h"
#include "lib/cli/generate.h"
#include "lib/cli/run_program.h"

namespace ftd {
namespace {

// The verbs come from the table, the examples are for the first day.
void PrintHelp() {
  std::cout << "ftctl fine-tunes language models on the machine where ftd runs.\n\n"
               "Usage: ftctl [--address unix:PATH|HOST:PORT] VERB ...\n\nVerbs:\n";
  for (const Verb& verb : Verbs())
    std::cout << "  " << PadRight(verb.name, 13) << verb.help << "\n";
  std::cout
      << "\nExamples:\n"
         "  ftctl run --mode lora --model ./SmolLM2-135M-Instruct --dataset rows.jsonl\n"
         "  ftctl submit --mode lora --model ./SmolLM2-135M-Instruct --dataset rows.jsonl "
         "--name first\n"
         "  ftctl watch first\n"
         "  ftctl get first ./first-adapter\n\n"
         "ftctl help VERB explains a verb. ftd is sought at --address, $FTCTL_ADDRESS, "
         "$RUNTIME_DIRECTORY/ftd.sock,\n"
         "$XDG_RUNTIME_DIR/ftd/ftd.sock, /run/ftd/ftd.sock. Over a network: --tls-ca FILE, and "
         "--tls-cert with --tls-key, or --token-file.\n"
      << std::flush;
}

int UsageError(const std::string& message) {
  std::cerr << "ftctl: " << message << "\nftctl help lists the verbs." << std::endl;
  return kExitUsage;
}

// What other tools call a verb. `stop` is not among them: to pause a job and to cancel it are two
// things.
struct Synonym {
  absl::string_view said, meant;
};
constexpr Synonym kSynonyms[] = {
    {"list", "ls"}, {"ps", "ls"}, {"status", "show"}, {"describe", "show"}, {"delete", "rm"}};

// A verb is never guessed: the nearest one is only named.
int RunVerbNamed(std::string name, const Invocation& call) {
  for (const Synonym& synonym : kSynonyms)
    if (name == synonym.said) name = std::string(synonym.meant);
  if (name == "stop") {
    return UsageError(
        "there is no verb stop; pause stops a job that can be resumed, cancel ends it");
  }
  std::vector<std::string> names;
  for (const Verb& verb : Verbs()) {
    if (name == verb.name) return verb.run(call);
    names.emplace_back(verb.name);
  }
  const std::string nearest = Nearest(name, names);
  return UsageError(
      absl::StrCat("unknown verb '", Printable(name), "'",
                   nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
}

// Runs `ftctl help [VERB]`.
int Help(const std::vector<std::string>& args) {
  if (args.empty()) {
    PrintHelp();
    return kExitOk;
  }
  return RunVerbNamed(args[0], {.args = {"--help"}});
}

int PrintVersion() {
  std::cout << "ftctl " << kFtctlVersion << std::endl;
  return kExitOk;
}

// Takes a flag that says where ftd is. Returns nullopt when it did, else the exit code of a usage
// error.
std::optional<int> TakeServerFlag(const std::string& text, std::vector<std::string>& args,
                                  ServerAddress& address) {
  const std::string name = text.substr(0, text.find('='));
  std::vector<std::string> known = {"--help", "--version"};
  for (const ServerFlag& flag : kServerFlags) {
    known.emplace_back(flag.name);
    if (name != flag.name) continue;
    if (name != text) {
      address.*flag.field = text.substr(name.size() + 1);
      return std::nullopt;
    }
    if (args.empty()) return UsageError(absl::StrCat(name, " needs ", flag.value));
    address.*flag.field = args[0];
    args.erase(args.begin());
    return std::nullopt;
  }
  const std::string nearest = Nearest(text, known);
  return UsageError(
      absl::StrCat("unknown flag ", Printable(text), " before the verb",
                   nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
}

// Reads the flags before the verb, and runs the verb with the rest.
int Dispatch(std::vector<std::string> args) {
  Invocation call;
  while (!args.empty() && absl::StartsWith(args[0], "-")) {
    const std::string flag = args[0];
    args.erase(args.begin());
    if (flag == "-h" || flag == "--help") return Help(args);
    if (flag == "-V" || flag == "--version") return PrintVersion();
    if (const auto code = TakeServerFlag(flag, args, call.address)) return *code;
  }
  if (args.empty()) return Help(args);
  const std::string verb = args[0];
  args.erase(args.begin());
  if (verb == "help") return Help(args);
  if (verb == "version") return PrintVersion();
  call.args = std::move(args);
  return RunVerbNamed(verb, call);
}

}  // namespace
}  // namespace ftd

int main(int argc, char** argv) {
  // gRPC's own messages about connections are not for users; ftctl reports each error once.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  return ftd::RunProgram("ftctl", argc, argv, [&] {
    int exit_code = 0;
    if (ftd::IsGenerateCall(argc, argv, ftd::DescribeFtctl, &exit_code)) return exit_code;
    return ftd::Dispatch({argv + 1, argv + argc});
  });
}
