#include "worker/engine/model.h"

#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "worker/engine/loss.h"
#include "worker/engine/tensor_io.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

// Copies named tensors of a model directory into parameters.
class WeightReader {
 public:
  WeightReader(const ModelWeights& weights, at::TensorOptions options,
               const std::function<void(int64_t, int64_t)>& progress)
      : weights_(weights), options_(options), progress_(progress) {
    for (const auto& [name, view] : weights.tensors())
      total_ += static_cast<int64_t>(view.data.size());
  }

  // One parameter of the given tensors, stacked by rows.
  Parameter Read(const std::vector<std::string>& names) {
    Parameter parameter;
    std::vector<const TensorView*> views;
    int64_t rows = 0;
    for (const std::string& name : names) {
      const TensorView* view = weights_.Find(name);
      if (view == nullptr)
        throw EngineError(EngineError::Kind::kModel, "tensor " + name + " is missing");
      parameter.names.push_back({name, rows, view->shape[0]});
      rows += view->shape[0];
      views.push_back(view);
    }
    std::vector<int64_t> shape = views[0]->shape;
    shape[0] = rows;
    parameter.value = at::empty(shape, options_);
    for (size_t i = 0; i < views.size(); ++i) {
      parameter.value.narrow(0, parameter.names[i].first, parameter.names[i].count)
          .copy_(ViewAsTensor(*views[i]));
      done_ += static_cast<int64_t>(views[i]->data.size());
      if (progress_) progress_(done_, total_);
    }
    return parameter;
  }

 private:
  const ModelWeights& weights_;
  at::TensorOptions options_;
  const std::function<void(int64_t, int64_t)>& progress_;
  int64_t done_ = 0, total_ = 0;
};

BatchContext MakeContext(const Model& model, const FlatBatch& batch) {
  BatchContext context;
  context.offsets = batch.offsets;
  context.rope = MakeRopeTable(model.rope_frequencies, batch.positions, model.dtype);
  context.attention = {model.config.num_attention_heads, model.config.num_key_value_heads,
                       model.config.head_dim};
  context.eps = model.config.rms_norm_eps;
  return context;
}

// Is there anything to learn below the first layer's input?
bool EmbeddingTrains(const Model& model) { return model.embedding.trainable(); }

// grad[id] += dx of every token, in float32 where grad is.
void AccumulateEmbedding(const at::Tensor& grad, const at::Tensor& ids, const at::Tensor& dx) {
  if (grad.scalar_type() == at::kFloat) {
    grad.index_add_(0, ids, dx.to(at::kFloat));
  } else {
    grad.add_(at::embedding_dense_backward(dx, ids, grad.size(0), /*padding_idx=*/-1,
                                           /*scale_grad_by_freq=*/false));
  }
}

}  // namespace

void Model::ForEachParameter(const std::function<void(Parameter&)>& visit) {
  visit(embedding);
  for (DecoderLayer& layer : layers) {
    visit(layer.input_norm);
    visit(layer.post_attention_norm);
    for (LinearLayer* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      visit(linear->weight);
      if (linear->adapted()) visit(linear->lora_a);
      for (Adapter& adapter : linear->adapters) visit(adapter.b);
    }
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

Model LoadModel(const ModelConfig& config, const ModelWeights& weights, Dtype dtype,
                c10::Device device, const std::function<void(int64_t, int64_t)>& progress) {
  Model model;
  model.config = config;
  model.dtype = ScalarTypeOf(dtype);
  WeightReader reader(weights, at::TensorOptions(model.dtype).device(device), progress);
  model.embedding = reader.Read({"model.embed_tokens.weight"});
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
    DecoderLayer layer;
    layer.input_norm = reader.Read({prefix + "input_layernorm.weight"});
    layer.qkv.weight = reader.Read(
        {attention + "q_proj.weight", attention + "k_proj.weight", attention + "v_proj.weight"});
    layer.o.weight = reader.Read({attention + "o_proj.weight"});
    layer.post_attention_norm = reader.Read({prefix + "post_attention_layernorm.weight"});
    layer.gate_up.weight = reader.Read({mlp + "gate_proj.weight", mlp + "up_proj.weight"});
    layer.down.weight = reader.Read({mlp + "down_proj.weight"});
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

LossSums ForwardBackward(Model& model, const FlatBatch& batch, const PassOptions& options) {
  BatchContext context = MakeContext(model, batch);
  context.dropout = options.dropout;
  context.dropout_seed = options.dropout_seed;
  const auto layers = static_cast<int64_t>(model.layers.size());

  std::vector<DecoderLayerSaved> saved(model.layers.size());
  at::Tensor x = model.embedding.value.index_select(0, batch.input_ids);
  for (int64_t i = 0; i < layers; ++i) {
    x = DecoderLayerForward(model.layers[i], i, context, x, &saved[i]);
    if (options.recompute_layers) saved[i] = DecoderLayerSaved{.x = saved[i].x};
  }

  // Only positions that have a target go on to the vocabulary.
  const at::Tensor final_x = x.index_select(0, batch.supervised);
  NormSaved final_saved;
  const at::Tensor normed =
      RmsNormForward(final_x, model.final_norm.value, context.eps, &final_saved);
  const LossResult loss =
      LinearCrossEntropy(model.head(), normed, batch.targets, options.num_items);
  const at::Tensor dfinal =
      RmsNormBackward(final_x, model.final_norm.value, final_saved, loss.dx, model.final_norm.grad);
  at::Tensor dx = at::zeros(x.sizes(), x.options()).index_copy_(0, batch.supervised, dfinal);

  for (int64_t i = layers - 1; i >= 0; --i) {
    if (options.recompute_layers)
      DecoderLayerForward(model.layers[i], i, context, at::Tensor(saved[i].x), &saved[i]);
    dx = DecoderLayerBackward(model.layers[i], i, context, saved[i], dx,
                              i > 0 || EmbeddingTrains(model));
    saved[i] = {};
  }
  if (EmbeddingTrains(model)) AccumulateEmbedding(model.embedding.grad, batch.input_ids, dx);
  return loss.sums;
}

}  // namespace ftd::engine
