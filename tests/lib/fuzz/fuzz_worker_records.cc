// Any bytes as what a worker leaves in an attempt's directory: its events, its steps, the summary
// of their losses. Input: a byte with the number of files, their lengths (u16 each), then the
// files. Steps that are read piece by piece are those that are read at once.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/utf8.h"
#include "lib/runlog/message_text.h"
#include "lib/runlog/record_log.h"
#include "lib/runlog/step_history.h"
#include "lib/runlog/step_log.h"

namespace {

namespace fs = std::filesystem;

void Check(bool holds) {
  if (!holds) std::abort();
}

void CheckMessage(const absl::Status& status) {
  const auto message = status.message();
  Check(status.ok() || ftd::IsValidUtf8({message.data(), message.size()}));
}

// In memory, where the machine has such a place.
const fs::path& Directory() {
  static const fs::path directory = [] {
    const fs::path base = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string name = base / "fuzz-records-XXXXXX";
    Check(mkdtemp(name.data()) != nullptr);
    std::atexit([] {
      std::error_code ignored;
      fs::remove_all(Directory(), ignored);
    });
    return fs::path(name);
  }();
  return directory;
}

void Write(const fs::path& path, std::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  Check(fd >= 0 && write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  close(fd);
}

void ReadEvents(const fs::path& path) {
  uint64_t offset = 0;
  while (true) {
    const auto batch = ftd::ReadRecords(path, offset, 2);
    CheckMessage(batch.status());
    if (!batch.ok() || batch->payloads.empty()) return;
    Check(batch->next_offset > offset);
    offset = batch->next_offset;
    for (const std::string& payload : batch->payloads) {
      ftd::v1::WorkerEvent event;
      (void)ftd::ParseRepairingText(payload, &event);
    }
  }
}

std::string Bytes(const std::vector<ftd::v1::StepMetrics>& steps) {
  std::string all;
  for (const auto& step : steps) absl::StrAppend(&all, step.SerializeAsString(), "|");
  return all;
}

// Each row has the step that the header's first one and the row's place make: a header, which has
// no CRC, may be damaged to say another, and then each reader counts in its own way.
bool AreConsistent(const std::vector<fs::path>& logs) {
  for (const fs::path& log : logs) {
    const auto info = ftd::ReadStepLogInfo(log);
    const auto steps = ftd::ReadSteps(log);
    if (!info.ok() || !steps.ok()) continue;
    for (size_t row = 0; row < steps->size(); ++row)
      if ((*steps)[row].step() != info->first_step + static_cast<int64_t>(row)) return false;
    if (info->first_step < 0 || info->first_step > (int64_t{1} << 60)) return false;
  }
  return true;
}

void ReadStepLogs(const std::vector<fs::path>& logs) {
  for (const fs::path& log : logs) {
    CheckMessage(ftd::ReadLastStep(log).status());
    CheckMessage(ftd::ReadStepLogInfo(log).status());
  }
  const auto merged = ftd::MergeStepLogs(logs);
  CheckMessage(merged.status());
  auto history = ftd::StepHistory::Open(logs, 0, 0);
  CheckMessage(history.status());
  Check(history.ok() == merged.ok());
  if (!merged.ok()) return;
  const bool consistent = AreConsistent(logs);
  if (consistent) Check(history->size() == static_cast<int64_t>(merged->size()));
  std::vector<ftd::v1::StepMetrics> pieces;
  for (int64_t begin = 0; begin < history->size(); begin += 3) {
    const auto piece = history->Read(begin, 3);
    Check(piece.ok());
    pieces.insert(pieces.end(), piece->begin(), piece->end());
  }
  if (consistent) Check(Bytes(pieces) == Bytes(*merged));
  if (history->size() < 6) return;
  const auto chosen = history->Choose(5);
  Check(chosen.ok() && !chosen->empty() && chosen->back() < history->size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t files = input.empty() ? 0 : static_cast<uint8_t>(input[0]) % 4;
  if (input.size() < 1 + 2 * files) return 0;
  std::string_view contents = input.substr(1 + 2 * files);
  std::vector<fs::path> logs;
  for (size_t i = 0; i < files; ++i) {
    const size_t length = static_cast<uint8_t>(input[1 + 2 * i]) |
                          static_cast<size_t>(static_cast<uint8_t>(input[2 + 2 * i])) << 8;
    logs.push_back(Directory() / absl::StrCat("steps", i, ".log"));
    Write(logs.back(), contents.substr(0, length));
    // What another run has left there, or bytes of this one.
    if (i == 1) Write(logs.back().string() + ".summary", contents);
    contents.remove_prefix(std::min(length, contents.size()));
  }
  Write(Directory() / "events.log", contents);
  ReadEvents(Directory() / "events.log");
  ReadStepLogs(logs);
  return 0;
}
