#include "worker/engine/logits.h"

#include <ATen/ops/mm.h>

#include "lib/model/model_on_disk.h"
#include "lib/spec/adapter_config.h"
#include "lib/spec/judge.h"
#include "worker/engine/device/device.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/error.h"
#include "worker/engine/model/adapter.h"
#include "worker/engine/model/load_model.h"
#include "worker/engine/model/model.h"
#include "worker/engine/tensors/tensor_io.h"
#include "worker/engine/training/batches.h"

namespace ftd::engine {
namespace {

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
    if (!adapter_dir.empty()) {
      const LoraSpec lora = ValueOrThrow(ReadAdapterConfig(adapter_dir));
      ThrowIfError(JudgeAdapter(adapter_dir, config, lora));
      AddAdapters(model, lora, /*seed=*/0);
    }
    std::vector<NamedTensor> outputs;
    for (size_t i = 0; i < sequences.size(); ++i) {
      CheckIds(sequences[i], config.vocab_size);
      const FlatBatch batch =
          ToDevice(Pack({{sequences[i], {}}}, TrainingDevice()), TrainingDevice());
      const at::Tensor hidden = FinalNorm(model, Forward(model, batch, {}, /*tape=*/nullptr));
      // Sequence by sequence, all [T, V] of one at once: this is for checks, with short sequences.
      at::Tensor logits = at::mm(hidden, model.head().value.t());
      ShapeLogits(logits, LogitsOf(config));
      outputs.push_back({single ? "logits" : "logits." + std::to_string(i), logits.to(at::kFloat)});
    }
    SaveTensors(output, outputs);
  });
}

}  // namespace ftd::engine
