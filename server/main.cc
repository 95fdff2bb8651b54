// ftd: the fine-tuning daemon. Flags only; daemon.h does the rest.
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/nearest.h"
#include "lib/cli/generate.h"
#include "lib/cli/run_program.h"
#include "server/daemon.h"
#include "server/host/build_info.h"
#include "server/host/deadline.h"
#include "server/host/log.h"
#include "server/host/options.h"
#include "server/host/service_manager.h"
#include "server/net/grpc_log.h"
#include "server/net/tls.h"

namespace {

// sysexits.h
constexpr int kExitUsage = 2, kExitFailure = 1, kExitConfig = 78;

struct Flags {
  ftd::Settings settings;
  std::string config_file;
  bool check_config = false;
  bool print_config = false;
};

std::string FlagName(const std::string& key) {
  return "--" + absl::StrReplaceAll(key, {{"_", "-"}});
}

// Reports a mistake of the command line. CLI11 says which argument it does not know; the nearest
// known one is what the user wants to read.
int ReportUsage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  std::fprintf(stderr, "ftd: %s\n", error.what());
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) known.push_back(option->get_name());
  for (const std::string& argument : app.remaining()) {
    const std::string nearest = ftd::Nearest(argument, known);
    if (!nearest.empty()) std::fprintf(stderr, "ftd: did you mean %s?\n", nearest.c_str());
  }
  std::fprintf(stderr, "ftd: `ftd --help` lists the flags\n");
  return kExitUsage;
}

// Describes the program for the manual and for shells.
ftd::ProgramDoc Describe(const CLI::App& app) {
  ftd::ProgramDoc program{.command = ftd::DescribeCommand(app), .version = ftd::kVersion};
  program.section = 8;
  program.command.name = "ftd";
  program.command.summary = "the fine-tuning daemon";
  ftd::DocSection environment{.title = "ENVIRONMENT"};
  for (const ftd::OptionHelp& option : ftd::OptionKeys()) {
    environment.rows.emplace_back(
        "FTD_" + absl::AsciiStrToUpper(option.key),
        "The same as " + FlagName(option.key) + "; in the file: " + option.key + ".");
  }
  program.sections = {environment,
                      {"FILES",
                       {{"$XDG_CONFIG_HOME/ftd/ftd.toml", "The settings. Where there is none:"},
                        {"/etc/ftd/ftd.toml", "the machine's. Its table models names models."}}},
                      {"EXIT STATUS",
                       {{"0", "It was stopped, or the settings are good."},
                        {"1", "It cannot serve; the last line of the log says why."},
                        {"2", "The command line itself."},
                        {"78", "The settings are bad."}}},
                      {"SEE ALSO", {{"ftctl(1)", "The client."}}}};
  return program;
}

int ParseFlags(int argc, char** argv, Flags& flags) {
  CLI::App app(
      "ftd: the fine-tuning daemon. Settings come from flags, FTD_* variables and ftd.toml, in "
      "this order.");
  app.set_version_flag("--version", std::string("ftd ") + ftd::kVersion + " " + ftd::kRevision);
  std::map<std::string, std::vector<std::string>> values;
  // Flags come from the same table as the file's keys and the environment's variables.
  for (const ftd::OptionHelp& option : ftd::OptionKeys()) {
    app.add_option(FlagName(option.key), values[option.key], option.help)
        ->type_name(option.type)
        ->expected(1)
        ->multi_option_policy(option.repeatable ? CLI::MultiOptionPolicy::TakeAll
                                                : CLI::MultiOptionPolicy::TakeLast);
  }
  app.add_option("--config", flags.config_file, "Configuration file (TOML)")->type_name("FILE");
  app.add_flag("--check-config", flags.check_config, "Check the settings and exit: 0 good, 78 bad");
  app.add_flag("--print-config", flags.print_config, "Print the settings as TOML and exit");
  int generated = 0;
  if (ftd::IsGenerateCall(
          argc, argv, [&] { return Describe(app); }, &generated)) {
    return generated == 0 ? -1 : generated;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = ReportUsage(app, error);
    return code == 0 ? -1 : code;
  }
  // A repeated flag becomes one text with commas, as in the environment.
  for (const auto& [key, given] : values) {
    if (!given.empty()) flags.settings[key] = absl::StrJoin(given, ",");
  }
  return 0;
}

absl::StatusOr<ftd::Options> Load(const Flags& flags) {
  return ftd::LoadOptions(flags.settings, ftd::EnvironmentSettings(), flags.config_file);
}

// How long a daemon may take to end beside its worker's grace. Its calls have two seconds, and then
// their connections are broken off.
constexpr auto kMostToEnd = std::chrono::seconds(4);

// Starts `program` in this process, which keeps its pid and the sockets that it was passed.
void Reexecute(const std::string& program, char** argv) {
  ftd::KeepPassedSockets();
  execv(program.c_str(), argv);
  ftd::LogError("cannot start ", program, " again: ", std::generic_category().message(errno));
}

// Leaves no memory behind, where tokens and users' data are: no core dumps, of this process or a
// worker, and no other process of the same user may read this one's memory. A worker is dumpable
// again, but its limit stays.
void KeepMemoryPrivate() {
  const rlimit none{};
  setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__  // whose search for leaks attaches to this process
  prctl(PR_SET_DUMPABLE, 0);
#endif
}

int Serve(const Flags& flags, ftd::Options options, char** argv) {
  std::error_code error;
  // Read now: a package upgrade may replace the file, and SIGHUP should start the new one from the
  // same path.
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  auto daemon = ftd::Daemon::Start(std::move(options));
  if (!daemon.ok()) {
    ftd::LogError(std::string(daemon.status().message()));
    return kExitFailure;
  }
  const auto check = [&]() -> absl::Status {
    const auto options = Load(flags);
    return options.ok() ? ftd::Daemon::CheckFiles(*options) : options.status();
  };
  const bool again = (*daemon)->Run(check) == ftd::Daemon::Outcome::kReexecute;
  {
    // A thread may be stuck in a disk or a host that does not answer. What is stored survives any
    // kill, and a worker that still runs is adopted by the next ftd.
    const ftd::Deadline last_resort(kMostToEnd, [&] {
      ftd::LogWarning("something does not end; ftd ", again ? "starts again" : "ends",
                      " without it; a worker that runs is adopted by the next ftd");
      if (again) Reexecute(program, argv);
      _exit(again ? kExitFailure : 0);
    });
    daemon->reset();
  }
  // The daemon is destroyed, so its locks and ports are free for the program that starts again.
  if (!again) return 0;
  Reexecute(program, argv);
  return kExitFailure;
}

// Debian builds Abseil with its check of the order in which mutexes are locked, which costs every
// lock, gRPC's too; and glibc gives memory back to the kernel that the next call needs again.
void SaveProcessorTime() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  mallopt(M_TRIM_THRESHOLD, 32 << 20);  // task_pool.cc gives it back once a burst is over
}

int Main(int argc, char** argv) {
  Flags flags;
  if (const int code = ParseFlags(argc, argv, flags); code != 0) return code < 0 ? 0 : code;
  auto options = Load(flags);
  if (!options.ok()) {
    ftd::LogError(std::string(options.status().message()));
    return kExitConfig;
  }
  if (flags.print_config) std::printf("%s", ftd::OptionsToToml(*options).c_str());
  if (flags.check_config || flags.print_config) return 0;
  ftd::SetUpLog(options->log_format, options->log_level);
  SaveProcessorTime();
  KeepMemoryPrivate();
  umask(0027);  // the group that may open the socket may read results
  ftd::BlockSignals();
  ftd::AllowOnlyTls13();
  ftd::SendGrpcLogToOurs();
  return Serve(flags, *std::move(options), argv);
}

}  // namespace

int main(int argc, char** argv) {
  return ftd::RunProgram("ftd", argc, argv, [&] { return Main(argc, argv); });
}
