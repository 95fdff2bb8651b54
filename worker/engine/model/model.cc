#include "worker/engine/model/model.h"

#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "lib/model/architecture.h"
#include "worker/engine/model/weight_reader.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

// Returns the elements of the largest projection, its tensors stacked. One scratch of that size
// serves all maps of a model in NF4, because they are expanded one at a time.
int64_t LargestProjection(const ModelConfig& config) {
  int64_t largest = 0;
  ThrowIfError(VisitParameters(config, [&](const ParameterInfo& info) {
    int64_t elements = 0;
    for (const TensorInfo& tensor : info.tensors)
      if (info.is_projection) elements += tensor.shape[0] * tensor.shape[1];
    largest = std::max(largest, elements);
    return absl::OkStatus();
  }));
  return largest;
}

// Reads a parameter to its place.
void ReadInto(Model& model, const ParameterInfo& info, WeightReader& reader) {
  // VisitParameters goes layer by layer: the first parameter of a new one makes room for it.
  if (info.layer == static_cast<int64_t>(model.layers.size())) model.layers.emplace_back();
  switch (info.role) {
    case ParameterRole::kEmbedding:
      model.embedding = reader.Read(info);
      return;
    case ParameterRole::kInputNorm:
      model.layers[info.layer].input_norm = reader.Read(info);
      return;
    case ParameterRole::kQkv:
      model.layers[info.layer].qkv = reader.ReadLinear(info);
      return;
    case ParameterRole::kQkvBias:
      model.layers[info.layer].qkv.bias = reader.Read(info);
      return;
    case ParameterRole::kQueryNorm:
      model.layers[info.layer].query_norm = reader.Read(info);
      return;
    case ParameterRole::kKeyNorm:
      model.layers[info.layer].key_norm = reader.Read(info);
      return;
    case ParameterRole::kAttentionOutBias:
      model.layers[info.layer].o.bias = reader.Read(info);
      return;
    case ParameterRole::kAttentionOut:
      model.layers[info.layer].o = reader.ReadLinear(info);
      return;
    case ParameterRole::kPostAttentionNorm:
      model.layers[info.layer].post_attention_norm = reader.Read(info);
      return;
    case ParameterRole::kGateUp:
      model.layers[info.layer].gate_up = reader.ReadLinear(info);
      return;
    case ParameterRole::kDown:
      model.layers[info.layer].down = reader.ReadLinear(info);
      return;
    case ParameterRole::kFinalNorm:
      model.final_norm = reader.Read(info);
      return;
    case ParameterRole::kHead:
      model.untied_head = reader.Read(info);
      return;
  }
}

// Makes what all layers share. Positions restart in every document, so the table of cos and sin is
// made per batch and not once per model.
BatchContext MakeContext(const Model& model, const FlatBatch& batch) {
  BatchContext context;
  context.documents = batch.documents;
  context.rope = MakeRopeTable(model.rope_frequencies, batch.positions, model.dtype);
  context.attention = {model.config.num_attention_heads, model.config.num_key_value_heads,
                       model.config.head_dim};
  context.eps = model.config.rms_norm_eps;
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
    visit(layer.input_norm);
    visit(layer.post_attention_norm);
    if (layer.query_norm.value.defined()) visit(layer.query_norm);
    if (layer.key_norm.value.defined()) visit(layer.key_norm);
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

Model LoadModel(const ModelConfig& config, const ModelWeights& weights, Dtype dtype, bool nf4,
                c10::Device device, const std::function<void(int64_t, int64_t)>& progress) {
  Model model;
  model.config = config;
  model.dtype = ScalarTypeOf(dtype);
  // In a repository that is quantised already, tensors that are not NF4 stay as they are
  // (nf4_already).
  WeightFormat format{at::TensorOptions(model.dtype).device(device), {}, config.nf4};
  if (nf4) format.nf4_scratch = at::empty({LargestProjection(config)}, format.options);
  WeightReader reader(weights, format, progress);
  ThrowIfError(VisitParameters(config, [&](const ParameterInfo& info) {
    ReadInto(model, info, reader);
    return absl::OkStatus();
  }));
  model.rope_frequencies = RopeFrequencies(config).to(device);
  return model;
}

// x_0 = embedding[ids];  x_{i+1} = layer_i(x_i). For a layer that is to be recomputed the tape
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
  if (EmbeddingTrains(model))
    AccumulateEmbedding(model.embedding.FreshGrad(), batch, dx, model.config.pad_token_id);
}

}  // namespace ftd::engine
