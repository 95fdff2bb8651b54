#include "client/text/plan_text.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "lib/base/short_bytes.h"

namespace ftd {
namespace {

using ftd::v1::JobPlan;

int64_t TrainedBytes(const JobPlan::Memory& memory) {
  return memory.adapters_bytes() + memory.masters_bytes() + memory.gradients_bytes() +
         memory.optimizer_bytes();
}

std::string StepsText(const JobPlan& plan) {
  return absl::StrCat(plan.steps(), " with ", plan.rows(), " rows of ", plan.tokens(),
                      " tokens in all");
}

// "18.4 GB of the GPU: weights 16.1 GB, what trains 0.3 GB, the largest micro-batch 2.0 GB (1.1 GB
// with all layers recomputed)", on a CPU with ", PyTorch's libraries 28.0 MB"
std::string MemoryText(const JobPlan::Memory& memory) {
  const int64_t trained = TrainedBytes(memory);
  const int64_t all =
      memory.weights_bytes() + trained + memory.step_bytes() + memory.libraries_bytes();
  std::string text =
      absl::StrCat(ShortBytes(all), memory.on_gpu() ? " of the GPU" : "", ": weights ",
                   ShortBytes(memory.weights_bytes()), ", what trains ", ShortBytes(trained),
                   ", the largest micro-batch ", ShortBytes(memory.step_bytes()));
  if (memory.step_recomputed_bytes() < memory.step_bytes()) {
    absl::StrAppend(&text, " (", ShortBytes(memory.step_recomputed_bytes()),
                    " with all layers recomputed)");
  }
  if (memory.libraries_bytes() > 0)
    absl::StrAppend(&text, ", PyTorch's libraries ", ShortBytes(memory.libraries_bytes()));
  return text;
}

// "3.1 GB: 3 checkpoints of 1.0 GB, the result 0.1 GB; 16.1 GB to fetch first"
std::string DiskText(const JobPlan::Disk& disk) {
  const int64_t all = disk.checkpoints() * disk.checkpoint_bytes() + disk.result_bytes();
  std::string text = absl::StrCat(ShortBytes(all), ": ", disk.checkpoints(), " checkpoints of ",
                                  ShortBytes(disk.checkpoint_bytes()), ", the result ",
                                  ShortBytes(disk.result_bytes()));
  if (disk.download_bytes() > 0)
    absl::StrAppend(&text, "; ", ShortBytes(disk.download_bytes()), " to fetch first");
  return text;
}

std::string BasisText(const JobPlan::Time& time) {
  const std::string jobs =
      time.jobs() == 1 ? "a job" : absl::StrCat("the last ", time.jobs(), " jobs");
  switch (time.basis()) {
    case JobPlan::Time::SAME_SHAPE:
      return absl::StrCat(", by ", jobs, " of this model, mode and dtype");
    case JobPlan::Time::OTHER_JOBS:
      return absl::StrCat(", by ", jobs, " of this dtype, none of this model and mode");
    case JobPlan::Time::PEAK:
      return ", by what the device does at most: no job of this dtype has run here yet";
    default:
      return "";
  }
}

std::string TimeText(const JobPlan::Time& time) {
  const std::string low = ShortDuration(time.low_seconds());
  const std::string high = ShortDuration(time.high_seconds());
  return absl::StrCat(low == high ? low : absl::StrCat(low, " to ", high), BasisText(time));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> PlanSummary(const JobPlan& plan) {
  return {{"steps", StepsText(plan)},
          {"memory", MemoryText(plan.memory())},
          {"disk", plan.has_disk() ? DiskText(plan.disk()) : ""},
          {"time", plan.has_time() ? TimeText(plan.time()) : ""},
          {"does not fit", plan.does_not_fit()}};
}

int64_t LeastBytes(const JobPlan::Memory& memory) {
  return memory.weights_bytes() + TrainedBytes(memory) + memory.step_least_bytes();
}

std::vector<StyledLine> MemoryBars(const JobPlan::Memory& memory, int columns, bool unicode) {
  const std::pair<const char*, int64_t> parts[] = {{"weights", memory.weights_bytes()},
                                                   {"adapters", memory.adapters_bytes()},
                                                   {"masters", memory.masters_bytes()},
                                                   {"gradients", memory.gradients_bytes()},
                                                   {"optimizer", memory.optimizer_bytes()},
                                                   {"micro-batch", memory.step_bytes()},
                                                   {"  recomputed", memory.step_recomputed_bytes()},
                                                   {"  one row", memory.step_least_bytes()},
                                                   {"libraries", memory.libraries_bytes()}};
  constexpr int kName = 14, kFigure = 12, kEighths = 8;
  int64_t most = 1;
  for (const auto& [name, bytes] : parts) most = std::max(most, bytes);
  const int width = std::max(1, columns - kName - kFigure);
  std::vector<StyledLine> lines;
  for (const auto& [name, bytes] : parts) {
    if (bytes == 0) continue;
    const double share = static_cast<double>(bytes) / static_cast<double>(most);
    StyledLine line;
    line.Add(absl::StrCat(PadRight(name, kName), PadRight(ShortBytes(bytes), kFigure)));
    line.Add(
        Ink::kAccent,
        Bar(std::max(unicode ? 1 : kEighths, static_cast<int>(share * width * kEighths)), unicode));
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace ftd
