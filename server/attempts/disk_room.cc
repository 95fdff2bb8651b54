#include "server/attempts/disk_room.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_format.h"
#include "lib/base/error.h"
#include "lib/hub/sources.h"
#include "lib/model/architecture.h"
#include "lib/spec/train_spec.h"

namespace ftd {
namespace {

constexpr int64_t kMargin = StateDir::kReserveBytes;
constexpr double kGigabyte = 1e9;

struct Parameters {
  int64_t all = 0;
  int64_t of_adapters = 0;
};

int64_t ElementsOf(const TensorInfo& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;
  return elements;
}

absl::StatusOr<Parameters> CountParameters(const Job& job, const LoraSpec& lora) {
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(job.model_dir));
  Parameters parameters;
  FTD_RETURN_IF_ERROR(VisitParameters(config, [&](const ParameterInfo& parameter) {
    for (const TensorInfo& tensor : parameter.tensors) {
      parameters.all += ElementsOf(tensor);
      if (!parameter.is_projection || tensor.shape.size() != 2) continue;
      if (!absl::c_linear_search(lora.target_modules, ModuleOf(tensor.name))) continue;
      parameters.of_adapters += lora.rank * (tensor.shape[0] + tensor.shape[1]);
    }
    return absl::OkStatus();
  }));
  return parameters;
}

}  // namespace

int64_t BytesOfAttempt(const Job& job) {
  const auto spec = ResolveTrainSpec(job.spec_json, Dtype::kFloat32);
  if (!spec.ok()) return 0;
  const auto parameters = CountParameters(job, spec->lora);
  if (!parameters.ok()) return 0;
  // A checkpoint has the weights that are trained and two moments of each; the result the weights
  // once more.
  constexpr int64_t kFloat32Bytes = 4;
  if (spec->mode != Mode::kFull) return parameters->of_adapters * kFloat32Bytes * 4;
  const int64_t weight_bytes = spec->dtype == Dtype::kFloat32 ? kFloat32Bytes : 2;
  const int64_t state_bytes =
      spec->precision == Precision::kHfParity ? weight_bytes : kFloat32Bytes;
  return parameters->all * (3 * state_bytes + weight_bytes);
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
