#include "worker/engine/model/model.h"

#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "worker/engine/model/weight_reader.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

// Elements of the largest map.
int64_t LargestMap(const ModelConfig& c) {
  const int64_t qkv = (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim;
  return c.hidden_size * std::max(qkv, 2 * c.intermediate_size);
}

BatchContext MakeContext(const Model& model, const FlatBatch& batch) {
  BatchContext context;
  context.documents = batch.documents;
  context.rope = MakeRopeTable(model.rope_frequencies, batch.positions, model.dtype);
  context.attention = {model.config.num_attention_heads, model.config.num_key_value_heads,
                       model.config.head_dim};
  context.eps = model.config.rms_norm_eps;
  return context;
}

// Is there anything to learn below the first layer's input?
bool EmbeddingTrains(const Model& model) { return model.embedding.trainable(); }

// grad[id] += dx of every token, in float32 where grad is.
void AccumulateEmbedding(const at::Tensor& grad, const FlatBatch& batch, const at::Tensor& dx) {
  if (grad.scalar_type() == at::kFloat) {
    grad.index_add_(0, batch.input_ids, dx.to(at::kFloat));
  } else {
    // Of the rows that occur, not of the whole vocabulary.
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
    visit(layer.input_norm);
    visit(layer.post_attention_norm);
    ForEachLinear(layer, [&](LinearLayer& linear) {
      if (!linear.nf4.defined()) visit(linear.weight);
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

Model LoadModel(const ModelConfig& config, const ModelWeights& weights, Dtype dtype, bool nf4,
                c10::Device device, const std::function<void(int64_t, int64_t)>& progress) {
  Model model;
  model.config = config;
  model.dtype = ScalarTypeOf(dtype);
  WeightFormat format{at::TensorOptions(model.dtype).device(device), {}, config.nf4};
  if (nf4) format.nf4_scratch = at::empty({LargestMap(config)}, format.options);
  WeightReader reader(weights, format, progress);
  model.embedding = reader.Read({"model.embed_tokens.weight"});
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
    DecoderLayer layer;
    layer.input_norm = reader.Read({prefix + "input_layernorm.weight"});
    layer.qkv = reader.ReadLinear(
        {attention + "q_proj.weight", attention + "k_proj.weight", attention + "v_proj.weight"});
    layer.o = reader.ReadLinear({attention + "o_proj.weight"});
    layer.post_attention_norm = reader.Read({prefix + "post_attention_layernorm.weight"});
    layer.gate_up = reader.ReadLinear({mlp + "gate_proj.weight", mlp + "up_proj.weight"});
    layer.down = reader.ReadLinear({mlp + "down_proj.weight"});
    model.layers.push_back(std::move(layer));
  }
  model.final_norm = reader.Read({"model.norm.weight"});
  if (!config.tie_word_embeddings) model.untied_head = reader.Read({"lm_head.weight"});
  model.rope_frequencies = RopeFrequencies(config).to(device);
  return model;
}

// x_0 = embedding[ids];  x_{i+1} = layer_i(x_i). Of a layer that is to be recomputed, the tape
// holds x_i alone, [T, D] in place of about 20 times as much.
at::Tensor Forward(const Model& model, const FlatBatch& batch, const PassOptions& options,
                   Tape* tape) {
  BatchContext context = MakeContext(model, batch);
  context.dropout = options.dropout;
  context.dropout_seed = options.dropout_seed;
  std::vector<DecoderLayerSaved> kept(tape == nullptr ? 0 : model.layers.size());
  at::Tensor x = model.embedding.value.index_select(0, batch.input_ids);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    DecoderLayerSaved saved;
    const auto index = static_cast<int64_t>(i);
    x = DecoderLayerForward(model.layers[i], index, context, x, &saved);
    if (tape == nullptr) continue;
    if (index < options.recomputed_layers) saved = DecoderLayerSaved{.x = saved.x};
    kept[i] = std::move(saved);
  }
  if (tape != nullptr) *tape = {std::move(context), std::move(kept), options.recomputed_layers};
  return x;
}

at::Tensor FinalNorm(const Model& model, const at::Tensor& x) {
  NormSaved saved;
  return RmsNormForward(x, model.final_norm.value, model.config.rms_norm_eps, &saved);
}

// dx_i = (∂layer_i/∂x_i)ᵀ dx_{i+1}, from the last layer to the first; then
// embedding.grad[id] += Σ dx_0 over the tokens with that id. Below layer 0 only a trained embedding
// has a use for dx_0: with adapters alone it is never computed.
void Backward(Model& model, const FlatBatch& batch, Tape tape, at::Tensor dx) {
  for (auto i = static_cast<int64_t>(model.layers.size()) - 1; i >= 0; --i) {
    DecoderLayerSaved& saved = tape.layers[i];
    if (i < tape.recomputed_layers) DecoderLayerRecompute(model.layers[i], i, tape.context, &saved);
    dx = DecoderLayerBackward(model.layers[i], i, tape.context, saved, dx,
                              i > 0 || EmbeddingTrains(model));
    saved = {};
  }
  if (EmbeddingTrains(model)) AccumulateEmbedding(model.embedding.FreshGrad(), batch, dx);
}

}  // namespace ftd::engine
