// Reads a model's weights: all of them, or a layer at a time where there is no room for more.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "lib/model/model_config.h"
#include "lib/model/safetensors.h"
#include "lib/spec/train_spec.h"
#include "worker/engine/model/model.h"
#include "worker/engine/model/weight_reader.h"

namespace ftd::engine {

// Reads the weights in the compute dtype onto the device; with `nf4`, which a model that is
// quantised already needs, the layers' projections in NF4. progress(done, total): bytes.
Model LoadModel(const ModelConfig& config, const ModelWeights& weights, Dtype dtype, bool nf4,
                c10::Device device, const std::function<void(int64_t, int64_t)>& progress);

// Reads a model's parts one by one, in float32 on the CPU. `config` and `weights` must outlive it.
class ModelReader {
 public:
  // `nf4`: projections are held in NF4, those that the files do not have so rounded to that dtype
  // before they are quantised. Without it the files must not have NF4.
  ModelReader(const ModelConfig& config, const ModelWeights& weights, std::optional<Dtype> nf4);

  // Returns the model with its final norm, but without layers, embedding and head.
  Model ReadFrame();
  // Returns the embedding or the head, which may be the same.
  Parameter ReadEmbedding() { return ReadOuter(ParameterRole::kEmbedding); }
  Parameter ReadHead();
  DecoderLayer ReadLayer(int64_t layer);

 private:
  Parameter ReadOuter(ParameterRole role);

  const ModelConfig& config_;
  std::function<void(int64_t, int64_t)> no_progress_;
  WeightReader reader_;
};

}  // namespace ftd::engine
