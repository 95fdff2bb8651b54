// An adapter added to its base model's weights: a model that needs neither PEFT nor ftd. Includes
// no torch. On the CPU always, since a job may have the GPU. Every call throws EngineError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "lib/spec/train_spec.h"

namespace ftd::engine {

struct MergeSource {
  std::filesystem::path model_dir;
  std::filesystem::path adapter_dir;  // may be empty: the model alone, out of NF4 if it is in it
  // The adapter was trained on projections in NF4, which were rounded to that dtype first.
  std::optional<Dtype> nf4;
};

struct MergedSize {
  int64_t bytes = 0;    // of the files of weights
  int64_t numbers = 0;  // in them
};

// Reads headers alone.
MergedSize SizeOfMerged(const MergeSource& source);

using MergeProgress = std::function<void(int64_t done, int64_t total)>;  // bytes

// Writes the weights into an existing directory: files, tensors and dtypes as the source has them,
// in the same order. A tensor W that the adapter has factors for becomes W + s · B A, computed in
// float32 and rounded once; one in NF4 is expanded; all others are copied byte for byte. Needs
// memory for three of the largest tensor in float32. Throws kModel for a sum that its dtype cannot
// hold.
void WriteMerged(const MergeSource& source, const std::filesystem::path& dir,
                 const MergeProgress& progress);

// How far the merged model is from base + adapter.
struct MergeCheck {
  double logits_error = 0;  // ‖merged − base + adapter‖ / ‖base + adapter‖, over all logits
  double logits_bound = 0;
  // The largest share that a part of a map took of what rounding may change in its output.
  double map_share = 0;
};

// Passes a few rows through both, one layer at a time, and compares (merge_check.cc has the bounds
// and their reasons). `dir` has the files of WriteMerged, and config.json. Throws kInternal where
// they differ by more than rounding explains, naming the map. Needs memory for one layer of each in
// float32, or for the embedding if that is larger.
MergeCheck CheckMerged(const MergeSource& source, const std::filesystem::path& dir,
                       const MergeProgress& progress);

}  // namespace ftd::engine
