// ftctl doctor: what an operator should know on the first day, each with its remedy.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/base/exit_codes.h"
#include "client/command/doctor_checks.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/text.h"

namespace ftd {
namespace {

using ftd::v1::ServerInfo;

constexpr double kGigabyte = 1e9;
constexpr double kMostGigabytes = 1e9;  // far beyond any disk, and within 64 bits

const char* Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarn:
      return "warn";
    default:
      return "fail";
  }
}

// Most trouble on the first day is a wrong address, so the reason for it is shown.
std::string ChosenBy(const ServerAddress& server) {
  if (!server.address.empty()) return "by --address";
  const char* set = std::getenv("FTCTL_ADDRESS");
  if (set != nullptr && *set != '\0') return "by $FTCTL_ADDRESS";
  return "by default";
}

// Returns whether the address is a socket that is there, but may not be used.
bool IsForbidden(const std::string& address) {
  absl::string_view path = address;
  return absl::ConsumePrefix(&path, "unix:") && access(std::string(path).c_str(), W_OK) != 0 &&
         errno == EACCES;
}

// A missing group membership looks like a dead daemon, and is told apart here.
Finding Unreachable(const Connection& connection, const absl::Status& status,
                    const std::string& chosen_by) {
  if (IsForbidden(connection.address())) {
    return {"daemon", Verdict::kFail,
            absl::StrCat("this user may not use ", connection.address(), " (", chosen_by, ")"),
            "become a member of the socket's group: `usermod -aG ftd USER`, then log in again"};
  }
  Finding finding = Failed("daemon", status,
                           "a certificate (--tls-cert, --tls-key) or a token (--token-file) lets "
                           "you in; ftd's side is in docs/api.md");
  absl::StrAppend(&finding.found, " (", chosen_by, ")");
  return finding;
}

// Adds the server's findings. `*local`: it runs on this machine, as far as the address shows.
bool AskServer(const ServerAddress& server, int64_t least_free, ServerInfo* info, bool* local,
               std::vector<Finding>* findings) {
  const auto connection = Connect(server);
  if (!connection.ok()) {
    findings->push_back(Failed("daemon", connection.status(), "see `ftctl help doctor`"));
    return false;
  }
  *local = absl::StartsWith((*connection)->address(), "unix:");
  const auto answer =
      (*connection)
          ->Call(&ftd::v1::FineTuning::Stub::GetServerInfo, ftd::v1::GetServerInfoRequest());
  if (!answer.ok()) {
    findings->push_back(Unreachable(**connection, answer.status(), ChosenBy(server)));
    return false;
  }
  *info = *answer;
  findings->push_back(
      {"daemon", Verdict::kOk,
       absl::StrCat("ftd answers at ", (*connection)->address(), " (", ChosenBy(server), ")")});
  findings->push_back(CheckVersions(*info));
  findings->push_back(
      CheckDisk("state disk", info->state_dir(), info->state_free_bytes(), least_free));
  findings->push_back(
      CheckDisk("cache disk", info->cache_dir(), info->cache_free_bytes(), least_free));
  findings->push_back(CheckQueue(**connection, *info));
  return true;
}

std::vector<Finding> Examine(const ServerAddress& server, int64_t least_free) {
  std::vector<Finding> findings;
  // Without an answer the machine is examined all the same: the reason may be found there.
  ServerInfo info;
  bool local = true;
  const bool answers = AskServer(server, least_free, &info, &local, &findings);
  if (!local) {
    findings.push_back({"machine", Verdict::kOk,
                        "ftd runs elsewhere: `ftctl doctor` there looks at worker and driver"});
    return findings;
  }
  const ServerInfo* known = answers ? &info : nullptr;
  findings.push_back(CheckSettings());
  findings.push_back(CheckWorker(known));
  findings.push_back(CheckDevice(known));
  findings.push_back(CheckHubToken(known));
  return findings;
}

// Verdict, check and finding in columns, a remedy below.
void Print(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    std::cout << PadRight(Name(finding.verdict), 6) << PadRight(finding.check, 12)
              << Printable(finding.found) << "\n";
    if (finding.remedy.empty()) continue;
    std::cout << "      " << PadRight("", 12) << "→ " << Printable(finding.remedy) << "\n";
  }
  std::cout << std::flush;
}

// Every key in every finding, for scripts.
nlohmann::ordered_json Structured(const std::vector<Finding>& findings) {
  auto list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"check", finding.check},
                    {"verdict", Name(finding.verdict)},
                    {"found", PrintableLines(finding.found)},
                    {"remedy", PrintableLines(finding.remedy)}});
  }
  return list;
}

}  // namespace

int DoctorVerb(const Invocation& call) {
  std::string output = "table";
  double least_free_gb = 20;
  Flags flags(call, "doctor",
              "Look at ftd and this machine, and print a line for each thing that was looked at: "
              "ok, warn, or\n"
              "fail, with what to do. Exit code: 0 when nothing failed, else 1.",
              "  ftctl doctor\n  ftctl doctor -o json | jq '.[] | select(.verdict != \"ok\")'\n");
  flags.Double("--least-free", "Warn of a disk with less free than this, in GB [20]",
               [&](double value) { least_free_gb = std::clamp(value, 0.0, kMostGigabytes); });
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  // For the worker's check, which starts ft-worker. Set here, while there is one thread.
  if (const auto path = LibraryPath(); path.ok() && !path->empty()) {
    setenv("LD_LIBRARY_PATH", path->c_str(), /*overwrite=*/1);
  }
  const auto findings = Examine(flags.address(), static_cast<int64_t>(least_free_gb * kGigabyte));
  output == "table" ? Print(findings) : PrintStructured(Structured(findings), output);
  for (const Finding& finding : findings) {
    if (finding.verdict == Verdict::kFail) return kExitRefused;
  }
  return kExitOk;
}

}  // namespace ftd
