// The checks of `ftctl doctor`. Each is one function that says what it found.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/rpc/connection.h"
#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

enum class Verdict { kOk, kWarn, kFail };

struct Finding {
  std::string check;  // "worker"
  Verdict verdict = Verdict::kOk;
  std::string found;
  std::string remedy;  // what to do; empty when kOk
};

// An error as a finding: its first line was found, the rest, else `remedy`, is what to do.
Finding Failed(const std::string& check, const absl::Status& status, const std::string& remedy);

// Checks the server's own answers.
Finding CheckVersions(const ftd::v1::ServerInfo& info);
// `least_free_bytes`: below it the finding is a warning; where ftd itself refuses jobs, a failure.
Finding CheckDisk(const std::string& check, const std::string& path, int64_t free_bytes,
                  int64_t least_free_bytes);
Finding CheckQueue(Connection& connection, const ftd::v1::ServerInfo& info);

// Checks this machine. `info` is null where no server answers.
Finding CheckDevice(const ftd::v1::ServerInfo* info);
// The LD_LIBRARY_PATH that FTD_LIBTORCH asks to start ft-worker with.
absl::StatusOr<std::string> LibraryPath();
// Starts the worker, so that the loader must find LibTorch.
Finding CheckWorker(const ftd::v1::ServerInfo* info);
// The settings that the ftd beside this program would start with.
Finding CheckSettings();
// The Hugging Face token: this user's as the hub judges it, and whether ftd has one.
Finding CheckHubToken(const ftd::v1::ServerInfo* info);

}  // namespace ftd
