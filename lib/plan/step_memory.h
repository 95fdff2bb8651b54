// The memory of the device that a micro-batch takes beyond the weights and the optimizer's state,
// and the number of layers that must therefore be recomputed. Functions of shapes alone, without
// torch: the same shapes give the same answer, on any machine.
//
// They replay what model.cc, objectives/sft.cc and decoder_layer.cc allocate and free, in their
// order; fake_gpu_test holds them against what those really do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/model/traits.h"

namespace ftd {

// The layers with the gated delta rule in place of attention.
struct DeltaLayers {
  std::vector<bool> at;  // by layer; empty: none
  DeltaShape sizes;
  int64_t qkv_ranks = 0, o_ranks = 0;  // of all adapters of a map together
  int64_t chunks = 0, documents = 0;   // of the micro-batch

  bool any() const { return !at.empty(); }
  bool is(int64_t layer) const { return any() && at[static_cast<size_t>(layer)]; }
  // What the input map makes of a token.
  int64_t features() const { return sizes.channels() + sizes.values() + 2 * sizes.value_heads; }
};

// Legend: D model, N heads, K kv heads, H head dim, F ffn, V vocabulary; T tokens, S labels.
struct StepShape {
  // The model.
  int64_t layers = 0;
  int64_t hidden = 0;      // D
  int64_t heads = 0;       // N
  int64_t kv_heads = 0;    // K
  int64_t head_dim = 0;    // H
  int64_t inner = 0;       // F
  int64_t vocabulary = 0;  // V
  int64_t element = 0;     // bytes of a number in the compute dtype
  bool on_gpu = true;      // else on a CPU, whose operators make other intermediates
  bool qkv_bias = false, o_bias = false, gate_up_bias = false, down_bias = false;
  struct Norms {  // of a layer's blocks: before each, and of what it adds
    bool attention_input = true, attention_output = false, mlp_input = true, mlp_output = false;
  };
  Norms norms;
  // Stretches of a token's queries and keys that are normed: each head, or all as one.
  int64_t query_norms = 0, key_norms = 0;
  bool scaled_branches = false;    // what a block adds is multiplied
  bool softcapped = false;         // attention's scores
  bool logits_softcapped = false;  // the logits
  int64_t rotary_dim = 0;          // R
  int64_t rope_tables = 1;         // of cos and sin
  int64_t rope_element = 0;        // bytes of a number in them
  bool queries_scaled = false;     // by their positions
  bool attention_gate = false;
  DeltaLayers delta;

  // The parameters that train.
  int64_t grad_element = 4;  // bytes of a number in the gradients
  bool full = false;         // the weights, else adapters
  bool dropout = false;      // on adapters' inputs
  bool norm_folds = false;   // linear.h's NormFoldsIntoProduct
  bool accumulated = false;  // gradients of other micro-batches are there already
  struct Ranks {             // of all adapters of a map together
    int64_t qkv = 0, o = 0, gate_up = 0, down = 0;
  };
  Ranks ranks;
  int64_t rank = 0;  // of one adapter

  // The micro-batch.
  int64_t tokens = 0;     // T
  int64_t labels = 0;     // S
  int64_t documents = 0;  // rows
  int64_t distinct = 0;   // different tokens
  int64_t longest = 0;    // tokens of the longest document
};

// Returns the most bytes that tensors of forward and backward pass take at a time, the batch's own
// included, when the first `recomputed` layers are.
int64_t StepPeakBytes(const StepShape& shape, int64_t recomputed);

// Returns whether the step, with the first `recomputed` layers so and with what operators take
// within themselves, takes at most `available` bytes.
bool StepFits(const StepShape& shape, int64_t recomputed, int64_t available);

// Returns the fewest layers to recompute so that it does; all of them when nothing suffices.
int64_t LayersToRecompute(const StepShape& shape, int64_t available);

}  // namespace ftd
