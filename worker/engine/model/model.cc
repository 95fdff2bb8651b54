#include "worker/engine/model/model.h"

#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "worker/engine/model/weight_reader.h"
#include "worker/engine/ops/loss/loss.h"
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

// From the last layer's output x [T, D] to the loss and back: dx [T, D]. Only positions that have a
// target go on to the vocabulary.
LossResult HeadForwardBackward(Model& model, const FlatBatch& batch, const at::Tensor& x,
                               double eps, int64_t num_items) {
  const at::Tensor final_x = x.index_select(0, batch.supervised);
  NormSaved saved;
  const at::Tensor normed = RmsNormForward(final_x, model.final_norm.value, eps, &saved);
  LossResult loss = LinearCrossEntropy(model.head(), normed, batch.targets, num_items);
  const at::Tensor dfinal = RmsNormBackward(final_x, model.final_norm.value, saved, loss.dx,
                                            /*residual=*/{}, model.final_norm.FreshGrad());
  loss.dx = at::zeros(x.sizes(), x.options()).index_copy_(0, batch.supervised, dfinal);
  return loss;
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

at::Tensor Infer(Model& model, const FlatBatch& batch) {
  const BatchContext context = MakeContext(model, batch);
  at::Tensor x = model.embedding.value.index_select(0, batch.input_ids);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    DecoderLayerSaved saved;
    x = DecoderLayerForward(model.layers[i], static_cast<int64_t>(i), context, x, &saved);
  }
  NormSaved norm;
  return RmsNormForward(x, model.final_norm.value, context.eps, &norm);
}

DeviceSums EvaluateBatch(Model& model, const FlatBatch& batch) {
  const at::Tensor x = Infer(model, batch).index_select(0, batch.supervised);
  return CrossEntropySums(model.head(), x, batch.targets);
}

DeviceSums ForwardBackward(Model& model, const FlatBatch& batch, const PassOptions& options) {
  BatchContext context = MakeContext(model, batch);
  context.dropout = options.dropout;
  context.dropout_seed = options.dropout_seed;
  const auto layers = static_cast<int64_t>(model.layers.size());

  std::vector<DecoderLayerSaved> saved(model.layers.size());
  at::Tensor x = model.embedding.value.index_select(0, batch.input_ids);
  for (int64_t i = 0; i < layers; ++i) {
    x = DecoderLayerForward(model.layers[i], i, context, x, &saved[i]);
    if (i < options.recomputed_layers) saved[i] = DecoderLayerSaved{.x = saved[i].x};
  }
  auto [sums, dx] = HeadForwardBackward(model, batch, x, context.eps, options.num_items);
  x = at::Tensor();

  for (int64_t i = layers - 1; i >= 0; --i) {
    if (i < options.recomputed_layers)
      DecoderLayerRecompute(model.layers[i], i, context, &saved[i]);
    dx = DecoderLayerBackward(model.layers[i], i, context, saved[i], dx,
                              i > 0 || EmbeddingTrains(model));
    saved[i] = {};
  }
  if (EmbeddingTrains(model)) AccumulateEmbedding(model.embedding.FreshGrad(), batch, dx);
  return sums;
}

}  // namespace ftd::engine
