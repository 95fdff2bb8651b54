// The work that a training step takes by the maths of the model, and how much a device can do: what
// model FLOPs utilisation (MFU; Chowdhery et al. 2022, "PaLM", appendix B) is the quotient of.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>

#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Floating-point operations of one forward and backward pass; a multiplication and its addition are
// two. Products with weights, within attention and with the states of a delta rule count, and what
// is learnt of them: a frozen weight has no gradient of its own. Padding, positions without a label
// in the head, the masked half of attention and whatever is computed a second time do not count.
struct ModelFlops {
  double per_token = 0;
  double per_label = 0;  // in the head
  // By the window of the layers, 0 for none: of each document, twice the pairs of tokens that see
  // each other, t² without a window.
  std::map<int64_t, double> per_pair;

  // Returns the work of a micro-batch of documents that begin at `offsets`, the last of which is
  // the end of all, with so many labels.
  double Of(std::span<const int64_t> offsets, int64_t labels) const;
};

// Returns the work of a judged model with the spec's adapters.
ModelFlops FlopsOf(const ModelConfig& config, const TrainSpec& spec);

// Returns the dense floating-point operations a second of an NVIDIA GPU by its data sheet, at its
// boost clock: bfloat16 and float16 on tensor cores with float32 sums, float32 without TF32. `name`
// is CUDA's. 0: not in the table.
double PeakFlops(std::string_view name, Dtype dtype);

}  // namespace ftd
