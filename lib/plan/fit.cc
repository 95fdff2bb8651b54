#include "lib/plan/fit.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "lib/base/ceil_div.h"
#include "lib/base/error.h"
#include "lib/base/short_bytes.h"
#include "lib/model/architecture.h"
#include "lib/plan/flops.h"
#include "lib/plan/work_sizes.h"

namespace ftd {
namespace {

constexpr size_t kMostChanges = 3;

// Operations for a token of a row of that length that learns all of it.
double WorkOfToken(const ModelConfig& config, const TrainSpec& spec, int64_t row) {
  const int64_t offsets[] = {0, row};
  return FlopsOf(config, spec).Of(offsets, row) / static_cast<double>(row);
}

class Search {
 public:
  Search(const ModelConfig& config, const TrainSpec& spec, bool on_gpu, int64_t longest_row,
         int64_t room)
      : config_(config),
        spec_(spec),
        on_gpu_(on_gpu),
        longest_(longest_row),
        room_(room),
        work_(WorkOfToken(config, spec, longest_row)) {}

  std::vector<SpecChange> Run() {
    Halves();
    Modes();
    Rows();
    return std::move(found_);
  }

 private:
  // Takes the change in if it suffices.
  void Try(std::string flags, std::string price, const TrainSpec& changed, int64_t row) {
    if (found_.size() == kMostChanges) return;
    const int64_t bytes = LeastMemory(config_, changed, on_gpu_, row).total();
    if (bytes > room_) return;
    found_.push_back(
        {std::move(flags), std::move(price), bytes, WorkOfToken(config_, changed, row) / work_});
  }

  // The same job in fewer bits.
  void Halves() {
    TrainSpec halved = spec_;
    halved.dtype = Dtype::kBfloat16;
    if (spec_.dtype == Dtype::kFloat32)
      Try("--dtype bfloat16", "arithmetic with 8 bits of precision", halved, longest_);
    if (spec_.mode != Mode::kFull || spec_.precision == Precision::kHfParity) return;
    halved.precision = Precision::kHfParity;
    Try(absl::StrCat(spec_.dtype == Dtype::kBfloat16 ? "" : "--dtype bfloat16 ",
                     "--precision hf_parity"),
        "updates below some 0.4 % of a weight are lost", halved, longest_);
  }

  void Modes() {
    TrainSpec changed = spec_;
    if (changed.lora.target_modules.empty())
      changed.lora.target_modules = TargetModulesOf(*config_.family);
    changed.precision = Precision::kFp32Master;
    if (spec_.mode == Mode::kFull) {
      changed.mode = Mode::kLora;
      Try("--mode lora", "an adapter instead of all weights", changed, longest_);
    }
    if (spec_.mode != Mode::kQlora) {
      changed.mode = Mode::kQlora;
      Try("--mode qlora", "an adapter on a 4-bit base", changed, longest_);
    }
  }

  // Halves the rows' length until it suffices.
  void Rows() {
    TrainSpec shorter = spec_;
    for (int64_t row = longest_ / 2; row >= kChunkTokens; row /= 2) {
      shorter.seq_length = static_cast<int32_t>(row);
      const size_t before = found_.size();
      Try(absl::StrCat("--seq-length ", row), "longer rows are cut", shorter, row);
      if (found_.size() > before) return;
    }
  }

  const ModelConfig& config_;
  const TrainSpec& spec_;
  const bool on_gpu_;
  const int64_t longest_, room_;
  const double work_;
  std::vector<SpecChange> found_;
};

// "--mode lora (17.4 GB, 0.7 times the work: an adapter instead of all weights)"
std::string TextOf(const SpecChange& change) {
  const bool other_work = change.work < 0.95 || change.work > 1.05;
  return absl::StrCat(
      change.flags, " (", ShortBytes(change.bytes),
      other_work ? absl::StrFormat(", %.1f times the work for a token", change.work) : "", ": ",
      change.price, ")");
}

}  // namespace

MemoryPlan LeastMemory(const ModelConfig& config, const TrainSpec& spec, bool on_gpu,
                       int64_t longest_row) {
  const BatchShape row{.tokens = longest_row,
                       .labels = longest_row,
                       .documents = 1,
                       .distinct = std::min(longest_row, config.vocab_size),
                       .longest = longest_row,
                       .chunks = CeilDiv(longest_row, kChunkTokens)};
  return PlanMemory(config, spec, on_gpu, row, config.num_hidden_layers);
}

std::vector<SpecChange> ChangesThatFit(const ModelConfig& config, const TrainSpec& spec,
                                       bool on_gpu, int64_t longest_row, int64_t room) {
  return Search(config, spec, on_gpu, longest_row, room).Run();
}

absl::Status CheckFits(const ModelConfig& config, const TrainSpec& spec, const MemoryRoom& room,
                       int64_t longest_row) {
  if (room.bytes <= 0) return absl::OkStatus();
  const MemoryPlan least = LeastMemory(config, spec, room.on_gpu, longest_row);
  if (least.total() <= room.bytes) return absl::OkStatus();
  std::vector<std::string> fitting;
  for (const SpecChange& change :
       ChangesThatFit(config, spec, room.on_gpu, longest_row, room.bytes))
    fitting.push_back(TextOf(change));
  return Error(
      Reason::kDoesNotFit,
      absl::StrCat("training ", spec.model, " in mode ", std::string(ModeName(spec.mode)),
                   " needs at least ", ShortBytes(least.total()),
                   " of memory: ", ShortBytes(least.weights + least.scratch), " for the weights, ",
                   ShortBytes(least.kept() - least.weights - least.scratch), " for what trains, ",
                   ShortBytes(least.step), " for a row of ", longest_row, " tokens; jobs may have ",
                   ShortBytes(room.bytes), room.on_gpu ? " of the GPU. " : " of the machine. ",
                   fitting.empty()
                       ? "No other mode, dtype or row length would fit: choose a smaller model"
                       : "It would fit with " + absl::StrJoin(fitting, ", or with ")));
}

}  // namespace ftd
