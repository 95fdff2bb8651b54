#include "worker/engine/model/adapter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "lib/model/architecture.h"
#include "worker/engine/tensors/state.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

// Gives the parts of a map that the spec names an adapter. PEFT's kaiming_uniform_(a = √5) has the
// bound √(2/(1+5)) · √(3/in) = 1/√in; with B = 0 the model starts as the base model.
void AddTo(LinearLayer& layer, const LoraSpec& lora, const at::TensorOptions& options,
           const at::Generator& generator) {
  layer.rank = lora.rank;
  layer.scale = lora.Scale();
  const int64_t in = layer.in_features();
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  std::vector<at::Tensor> a_parts;
  for (const NamedRows& part : layer.weight.names) {
    const auto& wanted = lora.target_modules;
    if (std::find(wanted.begin(), wanted.end(), ModuleOf(part.name)) == wanted.end()) continue;
    layer.lora_a.names.push_back({AdapterTensorName(part.name, "lora_A"),
                                  static_cast<int64_t>(a_parts.size()) * lora.rank, lora.rank});
    // Drawn on the CPU in float32: a seed gives the same A on every device and in every dtype.
    a_parts.push_back(at::empty({lora.rank, in}, at::TensorOptions(at::kFloat))
                          .uniform_(-bound, bound, generator));
    Adapter adapter{part.first, part.count, {}};
    adapter.b.names = {{AdapterTensorName(part.name, "lora_B"), 0, part.count}};
    adapter.b.value = at::zeros({part.count, lora.rank}, options);
    adapter.b.MakeTrainable();
    layer.adapters.push_back(std::move(adapter));
  }
  if (!layer.adapted()) return;
  // The parts' A, stacked to [P·R, in]: one product serves all of them (linear.h).
  const at::Tensor a = at::empty({static_cast<int64_t>(a_parts.size()) * lora.rank, in},
                                 at::TensorOptions(at::kFloat));
  for (size_t i = 0; i < a_parts.size(); ++i)
    a.narrow(0, i * lora.rank, lora.rank).copy_(a_parts[i]);
  layer.lora_a.value = a.to(options);
  layer.lora_a.MakeTrainable();
  layer.lora_a.master.copy_(a);  // the draw itself, not its rounding to the compute dtype
}

}  // namespace

void AddAdapters(Model& model, const LoraSpec& lora, int64_t seed) {
  // One generator for all adapters, so the order of layers and maps decides which numbers each
  // gets.
  const at::Generator generator =
      at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));
  for (DecoderLayer& layer : model.layers) {
    ForEachLinear(layer, [&](LinearLayer& linear) {
      AddTo(linear, lora, model.final_norm.value.options(), generator);
    });
  }
  if (!lora.init_adapter.empty()) ReadAdapter(model, lora.init_adapter);
}

void ReadAdapter(Model& model, const std::filesystem::path& adapter_dir) {
  const char* const name = "adapter_model.safetensors";
  ReadMasters(model.TrainableParameters(),
              ValueOrThrow(SafetensorsFile::OpenContained(adapter_dir, name)), adapter_dir / name);
}

}  // namespace ftd::engine
