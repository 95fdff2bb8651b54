// Supervised fine-tuning: the cross-entropy of each label given the tokens before it. An objective
// is what stands between Forward and Backward: of the hidden states it makes numbers to report and
// the gradient of the hidden states.
//
// Legend: T tokens of a flat batch, S positions with a label, D model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lib/spec/train_spec.h"
#include "worker/engine/model/model.h"
#include "worker/engine/ops/loss/loss.h"

namespace ftd::engine {

struct SftResult {
  DeviceSums sums;  // over the micro-batch's S labels: the loss and the metrics
  at::Tensor dx;    // [T, D] gradient of loss / num_items
};

// Returns the sums and the gradient for Forward's output x [T, D]; num_items: labels of the whole
// step. Adds to the gradients of the head and of the final norm. Nothing in it waits for the
// device.
SftResult Sft(Model& model, const FlatBatch& batch, const at::Tensor& x, int64_t num_items,
              const TrainSpec& spec);

// Returns the sums alone, without a gradient: for evaluation. Consumes x, so that its memory is
// free before the logits take theirs.
DeviceSums SftSums(Model& model, const FlatBatch& batch, at::Tensor x, const TrainSpec& spec);

}  // namespace ftd::engine
