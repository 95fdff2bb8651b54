// Low-rank adapters of a model: made afresh, or read from a PEFT adapter.
#pragma once

#include <filesystem>

#include "lib/spec/train_spec.h"
#include "worker/engine/model/model.h"

namespace ftd::engine {

// Gives every target module of the spec an adapter, trainable in float32: A uniform in ±1/√in
// (Kaiming with a = √5, as PEFT), B zero, drawn from the seed in the order of layers and modules.
// Then reads `lora.init_adapter` over them when it is set.
void AddAdapters(Model& model, const LoraSpec& lora, int64_t seed);

// Reads a PEFT adapter's tensors by name into the model's adapters. Throws EngineError kModel when
// one is missing or has another shape.
void ReadAdapter(Model& model, const std::filesystem::path& adapter_dir);

}  // namespace ftd::engine
