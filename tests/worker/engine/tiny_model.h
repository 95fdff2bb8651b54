// A small random model on disk, and rows for it, for tests of the engine.
#pragma once

#include <filesystem>
#include <vector>

#include "lib/data/row_source.h"
#include "lib/spec/train_spec.h"

namespace ftd::testing {

struct TinyShape {
  int layers = 2, hidden = 32, inner = 48, heads = 4, kv_heads = 2, vocabulary = 64;
  bool qwen3 = false;  // with biases in attention, and norms of queries and keys; else a Llama
};

// Writes config.json and model.safetensors (float32, tied) into `dir`, which it creates. The
// weights are a function of `seed`.
void WriteTinyModel(const std::filesystem::path& dir, uint32_t seed, const TinyShape& shape = {});

// Rows of 1 to `longest` random tokens below 64.
std::vector<TokenizedRow> RandomRows(int count, int longest, uint32_t seed);

// A spec of batch 2 with all adapters, no shuffle.
TrainSpec TinySpec(Mode mode, int max_steps);

}  // namespace ftd::testing
