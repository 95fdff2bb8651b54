#include "worker/engine/model/model.h"

#include <ATen/ops/embedding_dense_backward.h>

#include <utility>

#include "worker/engine/ops/norm/norm.h"

namespace ftd::engine {
namespace {

// Makes a kind of layers' table of cos and sin. Positions restart in every document, so it is made
// per batch and not once per model.
RopeTable TableOf(const Model& model, const RopeConfig& rope, const BatchFrequencies& frequencies,
                  const FlatBatch& batch) {
  RopeTable table =
      MakeRopeTable(frequencies.For(batch.documents.longest), batch.positions,
                    model.config.rope_in_float32 ? at::kFloat : model.dtype, rope.attention_factor);
  table.interleaved = model.config.rope_interleaved;
  return table;
}

// Returns the factors of queries by their positions [T, 1, 1]: 1 + β · ln(1 + ⌊position / L⌋), in
// float32 and then of the dtype (transformers modeling_ministral3.py); undefined without β.
at::Tensor QueryScale(const Model& model, const at::Tensor& positions) {
  const ModelConfig& c = model.config;
  if (c.query_scale_beta == 0) return {};
  return positions.div(c.rope.original_max_position_embeddings)
      .floor_()
      .add_(1)
      .log_()
      .mul_(c.query_scale_beta)
      .add_(1)
      .to(model.dtype)
      .view({-1, 1, 1});
}

// Makes what all layers share.
BatchContext MakeContext(const Model& model, const FlatBatch& batch, const PassOptions& options) {
  const ModelConfig& c = model.config;
  BatchContext context;
  context.dropout = options.dropout;
  context.dropout_seed = options.dropout_seed;
  context.caches = options.caches;
  context.documents = batch.documents;
  context.rotation.rope = TableOf(model, c.rope, model.rope_frequencies, batch);
  context.rotation.query_scale = QueryScale(model, batch.positions);
  if (c.UsesLocalRope()) {
    context.local_rotation = context.rotation;
    context.local_rotation.rope = TableOf(model, c.local_rope, model.local_rope_frequencies, batch);
  }
  context.attention = {c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.attention_scale,
                       c.attention_softcap};
  context.attention_gate = c.attention_gate;
  if (c.delta.value_heads > 0) {
    const bool chunked = !context.continues();
    context.delta = {c.delta, chunked ? MakeChunks(batch.documents, batch.positions) : Chunks{},
                     c.rms_norm_eps, c.activation};
  }
  context.norm = c.norm;
  context.eps = c.rms_norm_eps;
  context.activation = c.activation;
  context.residual_multiplier = c.residual_multiplier;
  return context;
}

// Returns whether there is anything to learn below the first layer's input.
bool EmbeddingTrains(const Model& model) { return model.embedding.trainable(); }

// Adds dx of every token to grad[its id], in float32 where grad is. The row of config.json's
// pad_token_id learns nothing here, wherever the token stands: transformers' nn.Embedding has it as
// padding_idx.
void AccumulateEmbedding(const at::Tensor& grad, const FlatBatch& batch, at::Tensor dx,
                         int64_t pad_token_id) {
  if (pad_token_id >= 0) dx = dx.masked_fill(batch.input_ids.eq(pad_token_id).unsqueeze(1), 0);
  if (grad.scalar_type() == at::kFloat) {
    grad.index_add_(0, batch.input_ids, dx.to(at::kFloat));
  } else {
    // In 16 bits the tokens of an id are summed first, in [U, D] rows for the ids that occur rather
    // than the vocabulary's V, and each sum is added to the gradient once.
    const at::Tensor sums =
        at::embedding_dense_backward(dx, batch.id_places, batch.distinct_ids.size(0),
                                     /*padding_idx=*/-1, /*scale_grad_by_freq=*/false);
    grad.index_add_(0, batch.distinct_ids, sums);
  }
}

}  // namespace

void Model::ForEachParameter(const std::function<void(Parameter&)>& visit) {
  visit(embedding);
  for (DecoderLayer& layer : layers) {
    ForEachOther(layer, visit);
    ForEachLinear(layer, [&](LinearLayer& linear) {
      if (!linear.nf4.defined()) visit(linear.weight);
      if (linear.bias.value.defined()) visit(linear.bias);
      if (linear.adapted()) visit(linear.lora_a);
      for (Adapter& adapter : linear.adapters) visit(adapter.b);
    });
  }
  visit(final_norm);
  if (!config.tie_word_embeddings) visit(untied_head);
}

std::vector<Parameter*> Model::TrainableParameters() {
  std::vector<Parameter*> parameters;
  ForEachParameter([&](Parameter& p) {
    if (p.trainable()) parameters.push_back(&p);
  });
  return parameters;
}

int64_t Model::CountParameters() {
  int64_t count = 0;
  ForEachParameter([&](Parameter& p) { count += p.value.numel(); });
  for (const DecoderLayer& layer : layers) {
    ForEachLinear(layer, [&](const LinearLayer& linear) {
      if (linear.nf4.defined()) count += linear.nf4.numel();
    });
  }
  return count;
}

// x_0 = e · embedding[ids]
at::Tensor Embed(const Model& model, const FlatBatch& batch) {
  at::Tensor x = model.embedding.value.index_select(0, batch.input_ids);
  if (model.embedding_multiplier != 1) x.mul_(model.embedding_multiplier);
  return x;
}

// x_{i+1} = layer_i(x_i). For a layer that is to be recomputed the tape holds x_i alone, [T, D] in
// place of about 20 times as much.
at::Tensor ForwardLayers(const Model& model, const FlatBatch& batch, at::Tensor x,
                         const PassOptions& options, Tape* tape) {
  BatchContext context = MakeContext(model, batch, options);
  std::vector<DecoderLayerSaved> kept(tape == nullptr ? 0 : model.layers.size());
  for (size_t i = 0; i < model.layers.size(); ++i) {
    DecoderLayerSaved saved;
    const auto index = static_cast<int64_t>(i);
    x = DecoderLayerForward(model.layers[i], index, context, x, &saved);
    if (tape == nullptr) continue;
    if (index < options.recomputed_layers) saved = DecoderLayerSaved{.x = saved.x};
    kept[i] = std::move(saved);
  }
  for (size_t d = 0; d < options.caches.size(); ++d)
    options.caches[d]->tokens += batch.documents.offsets[d + 1] - batch.documents.offsets[d];
  if (tape != nullptr) *tape = {std::move(context), std::move(kept), options.recomputed_layers};
  return x;
}

at::Tensor Forward(const Model& model, const FlatBatch& batch, const PassOptions& options,
                   Tape* tape) {
  return ForwardLayers(model, batch, Embed(model, batch), options, tape);
}

at::Tensor FinalNorm(const Model& model, const at::Tensor& x) {
  NormSaved saved;
  return RmsNormForward(x, FinalNormWeight(model), model.config.rms_norm_eps, &saved);
}

NormWeight FinalNormWeight(const Model& model) {
  return {model.final_norm.value, model.config.norm};
}

LogitsShape LogitsOf(const ModelConfig& config) {
  return {config.logits_divisor, config.logits_softcap};
}

// dx_i = (∂layer_i/∂x_i)ᵀ dx_{i+1}, from the last layer to the first; then
// embedding.grad[id] += e · Σ dx_0 over the tokens with that id. Below layer 0 only a trained
// embedding has a use for dx_0: with adapters alone it is never computed.
void Backward(Model& model, const FlatBatch& batch, Tape tape, at::Tensor dx) {
  for (auto i = static_cast<int64_t>(model.layers.size()) - 1; i >= 0; --i) {
    DecoderLayerSaved& saved = tape.layers[i];
    if (i < tape.recomputed_layers) DecoderLayerRecompute(model.layers[i], i, tape.context, &saved);
    dx = DecoderLayerBackward(model.layers[i], i, tape.context, saved, dx,
                              i > 0 || EmbeddingTrains(model));
    saved = {};
  }
  if (!EmbeddingTrains(model)) return;
  if (model.embedding_multiplier != 1) dx.mul_(model.embedding_multiplier);
  AccumulateEmbedding(model.embedding.FreshGrad(), batch, dx, model.config.pad_token_id);
}

}  // namespace ftd::engine
