// A model and rows that several tests of plans use.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "lib/data/row_source.h"
#include "lib/model/model_config.h"

namespace ftd {

inline ModelConfig Llama8B() {
  return *ParseModelConfig(R"({"model_type": "llama", "hidden_size": 4096,
      "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
      "num_hidden_layers": 32, "vocab_size": 128256, "max_position_embeddings": 131072,
      "rope_theta": 500000.0, "tie_word_embeddings": false})");
}

// Rows of these lengths, each token a label.
inline RowsInMemory RowsOf(const std::vector<int64_t>& lengths) {
  std::vector<TokenizedRow> rows;
  rows.reserve(lengths.size());
  for (const int64_t length : lengths) {
    const std::vector<int32_t> ids(static_cast<size_t>(length), 7);
    rows.push_back({ids, ids});
  }
  return RowsInMemory(std::move(rows));
}

}  // namespace ftd
