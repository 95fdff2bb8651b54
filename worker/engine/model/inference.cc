#include "worker/engine/model/inference.h"

#include <string>

#include "lib/model/model_on_disk.h"
#include "lib/spec/adapter_config.h"
#include "lib/spec/judge.h"
#include "worker/engine/error.h"
#include "worker/engine/model/adapter.h"
#include "worker/engine/model/load_model.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

// A token's numbers are not to depend on the sequences beside it.
void ComputeByRows(Model& model) {
  for (DecoderLayer& layer : model.layers)
    ForEachLinear(layer, [](LinearLayer& linear) { linear.by_rows = true; });
}

}  // namespace

Model LoadForInference(const std::filesystem::path& model_dir,
                       const std::filesystem::path& adapter_dir, Dtype dtype, bool nf4,
                       c10::Device device) {
  const auto [config, weights] = ValueOrThrow(OpenModel(model_dir));
  Model model = LoadModel(config, weights, dtype, nf4 || config.nf4, device, nullptr);
  ComputeByRows(model);
  if (adapter_dir.empty()) return model;
  const LoraSpec lora = ValueOrThrow(ReadAdapterConfig(adapter_dir));
  ThrowIfError(JudgeAdapter(adapter_dir, config, lora));
  ThrowIfError(JudgeBaseWeights(adapter_dir, model_dir));
  // Any seed will do: the adapter's tensors overwrite every number that is drawn.
  AddAdapters(model, lora, /*seed=*/0);
  return model;
}

Model SharedForInference(const Model& trained) {
  Model model = trained;
  ComputeByRows(model);
  return model;
}

void CheckIds(const std::vector<int32_t>& ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      throw EngineError(EngineError::Kind::kModel, "token id " + std::to_string(id) +
                                                       " is outside the vocabulary of " +
                                                       std::to_string(vocab_size));
    }
  }
}

}  // namespace ftd::engine
