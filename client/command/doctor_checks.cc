#include "client/command/doctor_checks.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/base/nvidia_driver.h"
#include "client/base/programs.h"
#include "client/base/version.h"
#include "client/text/names.h"
#include "client/text/text.h"
#include "lib/base/child_process.h"
#include "lib/base/json.h"
#include "lib/base/libtorch_path.h"
#include "lib/base/short_bytes.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::ServerInfo;

constexpr int64_t kRefusedBelow = 16 << 20;  // server/host/state_dir.cc refuses jobs then
constexpr auto kProgramLimit = std::chrono::seconds(20);
constexpr auto kWorkerLimit = std::chrono::seconds(120);  // gigabytes of libraries, cold

// Counts the jobs in `state`, up to a thousand, and sets the first one.
absl::StatusOr<int> Count(Connection& connection, Job::State state, Job* first) {
  ftd::v1::ListJobsRequest request;
  request.set_page_size(1000);
  request.add_states(state);
  auto page = connection.Call(&ftd::v1::FineTuning::Stub::ListJobs, request);
  if (!page.ok()) return page.status();
  // Newest first, so the last one has waited longest.
  if (page->jobs_size() > 0 && first != nullptr) *first = *page->jobs().rbegin();
  return page->jobs_size();
}

}  // namespace

// An error's further lines say what to do; without any, `remedy` does.
Finding Failed(const std::string& check, const absl::Status& status, const std::string& remedy) {
  const std::string message(status.message());
  const size_t end = std::min(message.find('\n'), message.size());
  const std::string rest = end < message.size() ? message.substr(end + 1) : remedy;
  return {check, Verdict::kFail, message.substr(0, end), rest};
}

// Version and revision: two builds of one version may differ.
Finding CheckVersions(const ServerInfo& info) {
  const auto text = [](const std::string& version, const std::string& revision) {
    return absl::StrCat(version, " (", revision, ")");
  };
  const std::string ours = text(kFtctlVersion, kFtctlRevision);
  const std::string theirs = text(info.version(), info.revision());
  if (ours == theirs) return {"versions", Verdict::kOk, absl::StrCat("ftctl and ftd are ", ours)};
  // A different revision of the same version may well work together; another version need not.
  return {"versions", info.version() == kFtctlVersion ? Verdict::kWarn : Verdict::kFail,
          absl::StrCat("ftctl is ", ours, ", ftd is ", theirs),
          "install both from one build; after an upgrade `systemctl restart ftd`, which costs the "
          "running job no step"};
}

// Warns below what the user asked for; fails where ftd would refuse a job.
Finding CheckDisk(const std::string& check, const std::string& path, int64_t free_bytes,
                  int64_t least_free_bytes) {
  if (free_bytes < 0) {
    return {check, Verdict::kWarn, absl::StrCat("nobody can tell how much is free in ", path),
            "see whether its filesystem is mounted and whole"};
  }
  const std::string found = absl::StrCat(ShortBytes(free_bytes), " are free in ", path);
  if (free_bytes >= least_free_bytes) return {check, Verdict::kOk, found};
  return {
      check, free_bytes < kRefusedBelow ? Verdict::kFail : Verdict::kWarn,
      absl::StrCat(found, ", less than ", ShortBytes(least_free_bytes)),
      "`ftctl rm JOB --results` and `ftctl models rm MODEL` make room; state_dir and HF_HOME may "
      "lie on other disks"};
}

// Jobs that wait for a person (HELD, PAUSED) are easily forgotten.
Finding CheckQueue(Connection& connection, const ServerInfo& info) {
  std::string found = absl::StrCat(info.running(), " running, ", info.queued(), " queued");
  Job waiting;
  const auto held = Count(connection, Job::HELD, nullptr);
  const auto paused = Count(connection, Job::PAUSED, nullptr);
  if (!held.ok()) return Failed("queue", held.status(), "");
  if (!paused.ok()) return Failed("queue", paused.status(), "");
  absl::StrAppend(&found, ", ", *held, " held, ", *paused, " paused");
  if (info.queued() > 0 && info.running() == 0 &&
      // Jobs that wait while nothing runs: a back-off, or a runner that cannot start them.
      Count(connection, Job::QUEUED, &waiting).value_or(0) > 0) {
    const std::string why = PendingText(waiting.pending_reason());
    return {"queue", Verdict::kWarn,
            absl::StrCat(found, "; nothing runs", why.empty() ? "" : ": " + why),
            absl::StrCat("`ftctl show ", JobHandle(waiting), "` and ftd's log say more")};
  }
  if (*held + *paused == 0) return {"queue", Verdict::kOk, found};
  return {"queue", Verdict::kWarn, found,
          "`ftctl ls --state HELD --state PAUSED` lists them; `ftctl release` and `ftctl resume` "
          "let them run"};
}

// Compares the driver that this machine has with the device that ftd uses.
Finding CheckDevice(const ServerInfo* info) {
  const NvidiaDriver driver = FindNvidiaDriver("/proc/driver/nvidia");
  const bool cuda = info != nullptr && info->device() == "cuda";
  if (driver.version.empty() && cuda) {
    return {"device", Verdict::kOk, "a GPU (its driver's files are not shown here)"};
  }
  if (driver.version.empty()) {
    return {"device", Verdict::kWarn, "no NVIDIA driver: jobs train on the CPU",
            "for a GPU, install its driver, see that nvidia-smi lists it, and restart ftd"};
  }
  const std::string found =
      absl::StrCat(driver.gpus.empty() ? "GPU" : driver.gpus, ", driver ", driver.version);
  if (cuda || info == nullptr) return {"device", Verdict::kOk, found};
  return {"device", Verdict::kFail, absl::StrCat(found, ", but ftd uses the CPU"),
          "ftd's account must be able to read and write /dev/nvidiactl and /dev/nvidia0 "
          "(DeviceAllow= in the unit); then restart ftd"};
}

// The same rule by which ftd starts its worker.
absl::StatusOr<std::string> LibraryPath() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  return ftd::LibraryPathFor(variable("FTD_LIBTORCH"), variable("LD_LIBRARY_PATH"));
}

// Runs `ft-worker --version`, which loads all of its libraries: the usual thing to go wrong.
Finding CheckWorker(const ServerInfo* info) {
  if (const auto path = LibraryPath(); !path.ok()) {
    return Failed("worker", path.status(), "correct FTD_LIBTORCH, in ftd's environment too");
  }
  const std::string beside = ProgramBeside("ft-worker");
  const std::string worker = info != nullptr && !info->worker().empty() ? info->worker() : beside;
  const std::string libtorch =
      "put LibTorch's folder at lib/ftd/torch beside bin/, or name it in FTD_LIBTORCH, in ftd's "
      "environment too; not below /home or /root, which the service cannot see";
  // ftd named this program. If somebody has taken ftd over, root must not start it on their behalf.
  const auto trusted = worker == beside ? beside : InTrustedHands(worker);
  if (absl::IsPermissionDenied(trusted.status())) {
    return {"worker", Verdict::kWarn,
            absl::StrCat(worker, " was not started: ", trusted.status().message()),
            "run `ftctl doctor` as ftd's user, or have it belong to root"};
  }
  const auto ran = trusted.ok() ? RunChild({*trusted, "--version"}, {.limit = kWorkerLimit})
                                : absl::StatusOr<ChildResult>(trusted.status());
  if (!ran.ok()) {
    return Failed("worker", ran.status(),
                  "install ft-worker beside ftd, or set `worker` in ftd.toml to where it is");
  }
  const std::string said = LastLine(ran->output);
  if (ran->exit_code != 0) {
    return {"worker", Verdict::kFail, absl::StrCat(worker, " does not start: ", said), libtorch};
  }
  const std::string found = absl::StrCat(worker, ": ", said);
  const bool cuda = info != nullptr && info->device() == "cuda";
  if (cuda && absl::StrContains(said, "+cpu")) {
    return {"worker", Verdict::kFail, found + ", which is built without CUDA", libtorch};
  }
  const std::string version = info == nullptr ? kFtctlVersion : info->version();
  if (absl::StartsWith(said, absl::StrCat("ft-worker ", version, " "))) {
    return {"worker", Verdict::kOk, found};
  }
  return {"worker", Verdict::kFail, absl::StrCat(found, ", but ftd is ", version),
          "install ftd and ft-worker from one build"};
}

// ftd judges its own settings: the rules are not repeated here.
Finding CheckSettings() {
  const std::string ftd = ProgramBeside("ftd");
  const auto ran = RunChild({ftd, "--check-config"}, {.limit = kProgramLimit});
  if (absl::IsNotFound(ran.status())) {
    return {"settings", Verdict::kOk, "no ftd beside this ftctl, so none to judge"};
  }
  if (!ran.ok()) return Failed("settings", ran.status(), "");
  if (ran->exit_code == 0) {
    return {"settings", Verdict::kOk, absl::StrCat(ftd, " --check-config finds no fault")};
  }
  return {"settings", Verdict::kFail, LastLine(ran->output),
          "correct that line; `ftd --help` lists the settings, `ftd --check-config` judges them"};
}

// Asks through ftctl-hub, which has libcurl; ftctl itself does without.
Finding CheckHubToken(const ServerInfo* info) {
  const std::string hub = ProgramBeside("ftctl-hub");
  const auto ran = RunChild({hub, "doctor"}, {.limit = kProgramLimit});
  if (!ran.ok()) return Failed("hub token", ran.status(), "install ftctl-hub beside ftctl");
  const auto said = ParseJsonObject(ran->output);
  if (!said) {
    return {"hub token", Verdict::kFail, absl::StrCat(hub, " says: ", LastLine(ran->output)),
            "install ftctl and ftctl-hub from one build"};
  }
  Finding finding{"hub token", Verdict::kOk, said->value("found", ""), said->value("remedy", "")};
  const std::string verdict = said->value("verdict", "");
  if (verdict != "ok") finding.verdict = verdict == "warn" ? Verdict::kWarn : Verdict::kFail;
  // Our token is good, but the daemon downloads with its own.
  if (finding.verdict != Verdict::kOk || info == nullptr || info->has_hub_token()) return finding;
  finding.verdict = Verdict::kWarn;
  absl::StrAppend(&finding.found, "; ftd itself has no token");
  finding.remedy =
      "`ftctl login` as ftd's user, or for the service /etc/credstore/hf-token and a restart";
  return finding;
}

}  // namespace ftd
