#include "server/attempts/disk_room.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "lib/base/error.h"
#include "lib/hub/sources.h"
#include "lib/plan/disk_plan.h"
#include "lib/spec/train_spec.h"

namespace ftd {
namespace {

constexpr int64_t kMargin = StateDir::kReserveBytes;
constexpr double kGigabyte = 1e9;

}  // namespace

int64_t BytesOfAttempt(const Job& job) {
  const auto spec = ResolveTrainSpec(job.spec_json, Dtype::kFloat32);
  const auto config = ReadModelConfig(job.model_dir);
  if (!spec.ok() || !config.ok()) return 0;
  const DiskPlan plan = PlanDisk(*config, *spec);
  return plan.checkpoint + plan.result;
}

absl::Status CheckCanFit(const StateDir& state_dir, const Job& job) {
  const auto space = state_dir.DiskSpace();
  const int64_t wanted = BytesOfAttempt(job) + kMargin;
  if (!space.has_value() || wanted <= space->total) return absl::OkStatus();
  return Error(Reason::kDiskReserve,
               absl::StrFormat("a checkpoint and the result take %.2f GB, but the whole disk of %s "
                               "has %.2f GB; give ftd a larger one with --state-dir",
                               static_cast<double>(wanted) / kGigabyte, state_dir.root().string(),
                               static_cast<double>(space->total) / kGigabyte));
}

bool IsDiskFull(const StateDir& state_dir) {
  constexpr int64_t kRoomForWords = 1 << 20;
  const auto space = state_dir.DiskSpace();
  return space.has_value() && space->free < kRoomForWords;
}

std::optional<Shortage> FindShortage(const StateDir& state_dir, const Job& job, int64_t at_least) {
  const auto space = state_dir.DiskSpace();
  const int64_t wanted = std::max(at_least, BytesOfAttempt(job) + kMargin);
  if (space.has_value() && space->free < wanted) {
    return Shortage{.wanted = wanted,
                    .message = absl::StrFormat(
                        "waits until %.2f GB are free in %s, for a checkpoint and the "
                        "result",
                        static_cast<double>(wanted) / kGigabyte, state_dir.root().string())};
  }
  if (job.sources_json.empty()) return std::nullopt;
  const auto sources = hub::SourcesFromJson(job.sources_json);
  if (!sources.ok()) return std::nullopt;
  const absl::Status fits = hub::CheckDiskFor(*sources);
  if (ReasonOf(fits) != Reason::kDiskFull) return std::nullopt;
  return Shortage{.wanted = wanted, .message = std::string(fits.message())};
}

int64_t SpaceWantedAfterFullDisk(const StateDir& state_dir, const Job& job) {
  const int64_t needed = BytesOfAttempt(job);
  const int64_t free_now = state_dir.DiskSpace().value_or(StateDir::Space()).free;
  return std::max(needed, free_now + needed / 8) + kMargin;
}

}  // namespace ftd
