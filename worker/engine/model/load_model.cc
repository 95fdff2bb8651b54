#include "worker/engine/model/load_model.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>

#include "lib/model/architecture.h"
#include "worker/engine/error.h"
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

// Returns a parameter's place within its layer, for those that are read as they are.
Parameter& PlaceIn(DecoderLayer& layer, ParameterRole role) {
  switch (role) {
    case ParameterRole::kAttentionInputNorm:
      return layer.attention_input_norm;
    case ParameterRole::kQkvBias:
      return layer.qkv.bias;
    case ParameterRole::kQueryNorm:
      return layer.query_norm;
    case ParameterRole::kKeyNorm:
      return layer.key_norm;
    case ParameterRole::kAttentionOutBias:
      return layer.o.bias;
    case ParameterRole::kAttentionOutputNorm:
      return layer.attention_output_norm;
    case ParameterRole::kDeltaConv:
      return layer.delta.conv;
    case ParameterRole::kDeltaDecay:
      return layer.delta.decay;
    case ParameterRole::kDeltaStepBias:
      return layer.delta.step_bias;
    case ParameterRole::kDeltaNorm:
      return layer.delta.norm;
    case ParameterRole::kMlpInputNorm:
      return layer.mlp_input_norm;
    case ParameterRole::kGateUpBias:
      return layer.gate_up.bias;
    case ParameterRole::kDownBias:
      return layer.down.bias;
    case ParameterRole::kMlpOutputNorm:
      return layer.mlp_output_norm;
    default:
      throw EngineError(EngineError::Kind::kInternal, "a parameter without a place in its layer");
  }
}

// Reads a parameter of a layer to its place.
void ReadInto(DecoderLayer& layer, const ParameterInfo& info, WeightReader& reader) {
  switch (info.role) {
    case ParameterRole::kQkv:
      layer.qkv = reader.ReadLinear(info);
      return;
    case ParameterRole::kAttentionOut:
      layer.o = reader.ReadLinear(info);
      return;
    case ParameterRole::kGateUp:
      layer.gate_up = reader.ReadLinear(info);
      return;
    case ParameterRole::kDown:
      layer.down = reader.ReadLinear(info);
      return;
    default:
      PlaceIn(layer, info.role) = reader.Read(info);
  }
}

// Reads a parameter outside the layers to its place.
void ReadInto(Model& model, const ParameterInfo& info, WeightReader& reader) {
  switch (info.role) {
    case ParameterRole::kEmbedding:
      model.embedding = reader.Read(info);
      return;
    case ParameterRole::kFinalNorm:
      model.final_norm = reader.Read(info);
      return;
    case ParameterRole::kHead:
      model.untied_head = reader.Read(info);
      return;
    default:
      throw EngineError(EngineError::Kind::kInternal, "a parameter without a place in its model");
  }
}

// Returns the factor of embeddings. Gemma's is a tensor of the compute dtype: √3072 is 55.5 in
// bfloat16.
double EmbeddingMultiplier(const ModelConfig& config, at::ScalarType dtype) {
  const double multiplier = config.embedding_multiplier;
  if (!config.embedding_multiplier_rounded) return multiplier;
  return at::scalar_tensor(multiplier, at::kFloat).to(dtype).item<double>();
}

// Returns a model that has no weights yet.
Model Frame(const ModelConfig& config, at::ScalarType dtype, c10::Device device) {
  Model model;
  model.config = config;
  model.dtype = dtype;
  model.embedding_multiplier = EmbeddingMultiplier(config, model.dtype);
  model.rope_frequencies = BatchFrequencies(config.rope, device);
  model.local_rope_frequencies = BatchFrequencies(config.local_rope, device);
  return model;
}

// In a repository that is quantised already, tensors that are not NF4 stay as they are.
WeightFormat FormatOf(const ModelConfig& config, const at::TensorOptions& options, bool nf4,
                      at::ScalarType nf4_rounding) {
  WeightFormat format{.options = options, .nf4_already = config.nf4, .nf4_rounding = nf4_rounding};
  if (nf4) format.nf4_scratch = at::empty({LargestProjection(config)}, options);
  return format;
}

}  // namespace

Model LoadModel(const ModelConfig& config, const ModelWeights& weights, Dtype dtype, bool nf4,
                c10::Device device, const std::function<void(int64_t, int64_t)>& progress) {
  Model model = Frame(config, ScalarTypeOf(dtype), device);
  const at::TensorOptions options = at::TensorOptions(model.dtype).device(device);
  WeightReader reader(weights, FormatOf(config, options, nf4, model.dtype), progress);
  ThrowIfError(VisitParameters(config, [&](const ParameterInfo& info) {
    if (info.layer < 0) {
      ReadInto(model, info, reader);
      return absl::OkStatus();
    }
    // VisitParameters goes layer by layer: the first parameter of a new one makes room for it.
    if (info.layer == static_cast<int64_t>(model.layers.size()))
      model.layers.push_back({.kind = config.KindOf(info.layer)});
    ReadInto(model.layers[info.layer], info, reader);
    return absl::OkStatus();
  }));
  return model;
}

ModelReader::ModelReader(const ModelConfig& config, const ModelWeights& weights,
                         std::optional<Dtype> nf4)
    : config_(config),
      reader_(weights,
              FormatOf(config, at::TensorOptions(at::kFloat), nf4.has_value(),
                       ScalarTypeOf(nf4.value_or(Dtype::kFloat32))),
              no_progress_) {}

Model ModelReader::ReadFrame() {
  Model model = Frame(config_, at::kFloat, at::kCPU);
  model.final_norm = ReadOuter(ParameterRole::kFinalNorm);
  return model;
}

Parameter ModelReader::ReadHead() {
  return ReadOuter(config_.tie_word_embeddings ? ParameterRole::kEmbedding : ParameterRole::kHead);
}

DecoderLayer ModelReader::ReadLayer(int64_t layer) {
  DecoderLayer result{.kind = config_.KindOf(layer)};
  ThrowIfError(VisitLayer(config_, layer, [&](const ParameterInfo& info) {
    ReadInto(result, info, reader_);
    return absl::OkStatus();
  }));
  return result;
}

Parameter ModelReader::ReadOuter(ParameterRole role) {
  Parameter result;
  ThrowIfError(VisitLayer(config_, /*layer=*/-1, [&](const ParameterInfo& info) {
    if (info.role == role) result = reader_.Read(info);
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace ftd::engine
