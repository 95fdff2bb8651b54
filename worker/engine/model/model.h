// A decoder model: its parameters, and the pass through its layers,
// forward and backward. An objective (objectives/) decides what is learned from its output.
//
// Legend: T tokens of a flat batch, S positions with a target, D model, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "lib/model/model_config.h"
#include "worker/engine/model/decoder_layer.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/tensors/parameter.h"

namespace ftd::engine {

struct Model {
  ModelConfig config;
  at::ScalarType dtype = at::kFloat;  // of the forward pass
  Parameter embedding;                // [V, D]; also the head when tied
  double embedding_multiplier = 1;    // as the dtype has it
  std::vector<DecoderLayer> layers;
  Parameter final_norm;                                       // [D]
  Parameter untied_head;                                      // [V, D]; undefined when tied
  BatchFrequencies rope_frequencies, local_rope_frequencies;  // of full and of windowed layers

  Parameter& head() { return config.tie_word_embeddings ? embedding : untied_head; }

  // Every parameter, adapters included, in a fixed order; but not the weights that are held in NF4.
  void ForEachParameter(const std::function<void(Parameter&)>& visit);
  std::vector<Parameter*> TrainableParameters();
  // Numbers in all weights and adapters, quantised or not.
  int64_t CountParameters();
};

// A micro-batch: documents end to end, without padding.
struct FlatBatch {
  at::Tensor input_ids;  // [T] int64
  at::Tensor positions;  // [T] int64, from 0 in each document
  Documents documents;
  at::Tensor supervised;  // [S] int64: positions whose next token is a label
  at::Tensor targets;     // [S] int64
  // The U tokens that occur, ascending, and where among them each of input_ids is:
  at::Tensor distinct_ids;  // [U] int64
  at::Tensor id_places;     // [T] int64
};

struct PassOptions {
  double dropout = 0;
  uint64_t dropout_seed = 0;
  // Gradient checkpointing: of the first so many layers only the input is kept. The first, because
  // their backward pass comes last, when what the others kept is free again.
  int64_t recomputed_layers = 0;
  // Generation: a cache for each document. Each document is the beginning of a sequence whose cache
  // is empty; or each is one token, the next of a sequence whose cache is not, at that position.
  // The caches get what the tokens leave. No tape can be had.
  std::vector<SequenceCache*> caches;
};

// The data that a forward pass leaves for its backward pass.
struct Tape {
  BatchContext context;
  std::vector<DecoderLayerSaved> layers;
  int64_t recomputed_layers = 0;
};

// Returns the first layer's input [T, D].
at::Tensor Embed(const Model& model, const FlatBatch& batch);

// Returns the last layer's output x [T, D], before the final norm. Without a `tape` nothing is
// kept: for evaluation and logits.
at::Tensor Forward(const Model& model, const FlatBatch& batch, const PassOptions& options,
                   Tape* tape);
// Does the same from the first layer's input `x`: for a model that has only some of its layers.
at::Tensor ForwardLayers(const Model& model, const FlatBatch& batch, at::Tensor x,
                         const PassOptions& options, Tape* tape);

// Returns the final norm of hidden states [.., D].
at::Tensor FinalNorm(const Model& model, const at::Tensor& x);

// Returns the final norm's weight, and what makes logits of the head's products.
NormWeight FinalNormWeight(const Model& model);
LogitsShape LogitsOf(const ModelConfig& config);

// Goes back from dx [T, D], the gradient of Forward's output, and adds to the gradients of all
// below it. Frees each layer's part of the tape after its use. Nothing in it waits for the device.
// Both are consumed, so that their memory is free when the pass no longer needs it.
void Backward(Model& model, const FlatBatch& batch, Tape tape, at::Tensor dx);

}  // namespace ftd::engine
