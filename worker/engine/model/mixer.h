// How a layer mixes tokens, between the map that reads its input and the one that writes its
// output: attention, with a gate where the model has one, or the gated delta rule.
//
// Legend: T tokens, P features of the input map's output, M of the output map's input.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/model/decoder_layer.h"

namespace ftd::engine {

inline NormWeight NormWeightOf(const Parameter& norm, const BatchContext& context) {
  return {norm.value, context.norm};
}

// Returns mixed [T, M] of projected [T, P], which is consumed, and saves what the backward pass
// needs. Layer `index` of the context's caches gets what later tokens need; where the batch
// continues their sequences, the backward pass has nothing to begin with.
at::Tensor MixerForward(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                        at::Tensor projected, DecoderLayerSaved* saved);

// Returns the same again, from what was saved.
at::Tensor MixerOutput(const DecoderLayer& layer, const BatchContext& context,
                       const DecoderLayerSaved& saved);

// Returns the gradient [T, P] of projected from that of mixed; adds to those of the mixer's own
// parameters.
at::Tensor MixerBackward(DecoderLayer& layer, const BatchContext& context,
                         const DecoderLayerSaved& saved, const at::Tensor& d_mixed);

}  // namespace ftd::engine
