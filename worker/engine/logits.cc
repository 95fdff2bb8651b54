#include "worker/engine/logits.h"

#include <ATen/ops/mm.h>

#include "worker/engine/device/device.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/model/inference.h"
#include "worker/engine/tensors/tensor_io.h"
#include "worker/engine/training/batches.h"

namespace ftd::engine {

void WriteLogits(const std::filesystem::path& model_dir, const std::filesystem::path& adapter_dir,
                 Dtype dtype, bool nf4, const std::vector<std::vector<int32_t>>& sequences,
                 bool single, const std::filesystem::path& output) {
  Guarded([&] {
    Model model = LoadForInference(model_dir, adapter_dir, dtype, nf4, TrainingDevice());
    const ModelConfig& config = model.config;
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
