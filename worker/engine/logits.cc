#include "worker/engine/logits.h"

#include <ATen/ops/mm.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/model_on_disk.h"
#include "nlohmann/json.hpp"
#include "worker/engine/device/device.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/error.h"
#include "worker/engine/model/adapter.h"
#include "worker/engine/model/model.h"
#include "worker/engine/tensors/tensor_io.h"
#include "worker/engine/training/batches.h"

namespace ftd::engine {
namespace {

// Returns the settings of a PEFT adapter directory that the engine knows.
LoraSpec ReadLoraSpec(const std::filesystem::path& adapter_dir) {
  const auto path = adapter_dir / "adapter_config.json";
  const nlohmann::json json = nlohmann::json::parse(ValueOrThrow(ReadFile(path)), nullptr, false);
  LoraSpec lora;
  try {
    const int64_t rank = IntegerOr(json, "r", 0);
    if (rank < 1 || rank > 4096)
      throw EngineError(EngineError::Kind::kModel,
                        path.string() + ": r is not a rank from 1 to 4096");
    lora.rank = static_cast<int32_t>(rank);
    lora.alpha = json.at("lora_alpha").get<double>();
    lora.target_modules = json.at("target_modules").get<std::vector<std::string>>();
    lora.use_rslora = json.value("use_rslora", false);
    if (json.value("use_dora", false))
      throw EngineError(EngineError::Kind::kModel, path.string() + ": DoRA is not supported");
  } catch (const nlohmann::json::exception& error) {
    throw EngineError(EngineError::Kind::kModel,
                      path.string() + " is not a LoRA configuration: " + error.what());
  }
  lora.init_adapter = adapter_dir.string();
  return lora;
}

// Checks before the device sees the ids: on a GPU an index out of range ends all use of the device.
void CheckIds(const std::vector<int32_t>& ids, int64_t vocab_size) {
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      throw EngineError(EngineError::Kind::kModel, "token id " + std::to_string(id) +
                                                       " is outside the vocabulary of " +
                                                       std::to_string(vocab_size));
    }
  }
}

}  // namespace

void WriteLogits(const std::filesystem::path& model_dir, const std::filesystem::path& adapter_dir,
                 Dtype dtype, bool nf4, const std::vector<std::vector<int32_t>>& sequences,
                 bool single, const std::filesystem::path& output) {
  Guarded([&] {
    const auto [config, weights] = ValueOrThrow(OpenModel(model_dir));
    Model model = LoadModel(config, weights, dtype, nf4 || config.nf4, TrainingDevice(), nullptr);
    // Any seed will do: the adapter's tensors overwrite every number that is drawn.
    if (!adapter_dir.empty()) AddAdapters(model, ReadLoraSpec(adapter_dir), /*seed=*/0);
    std::vector<NamedTensor> outputs;
    for (size_t i = 0; i < sequences.size(); ++i) {
      CheckIds(sequences[i], config.vocab_size);
      const FlatBatch batch =
          ToDevice(Pack({{sequences[i], {}}}, TrainingDevice()), TrainingDevice());
      const at::Tensor hidden = FinalNorm(model, Forward(model, batch, {}, /*tape=*/nullptr));
      // Sequence by sequence, all [T, V] of one at once: this is for checks, with short sequences.
      outputs.push_back({single ? "logits" : "logits." + std::to_string(i),
                         at::mm(hidden, model.head().value.t()).to(at::kFloat)});
    }
    SaveTensors(output, outputs);
  });
}

}  // namespace ftd::engine
