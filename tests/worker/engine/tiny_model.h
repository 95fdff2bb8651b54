// A small random model on disk, and rows for it, for tests of the engine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lib/data/row_source.h"
#include "lib/spec/train_spec.h"
#include "nlohmann/json.hpp"

namespace ftd::testing {

struct TinyShape {
  int layers = 2, hidden = 32, inner = 48, heads = 4, kv_heads = 2, vocabulary = 64;
  std::string family = "llama";  // model_type
  bool biases = false;           // in attention and in the feed-forward block, where it has them
  nlohmann::json options;        // other fields of config.json
};

// A shape with layers of the gated delta rule, whose heads share keys, and one with gated
// attention.
TinyShape DeltaShapeOf(int layers);

// Writes config.json and model.safetensors (float32, tied) into `dir`, which it creates. The
// weights are a function of `seed`.
void WriteTinyModel(const std::filesystem::path& dir, uint32_t seed, const TinyShape& shape = {});

// Rows of 1 to `longest` random tokens below 64.
std::vector<TokenizedRow> RandomRows(int count, int longest, uint32_t seed);

// A spec of batch 2 with all adapters, no shuffle.
TrainSpec TinySpec(Mode mode, int max_steps);

}  // namespace ftd::testing
