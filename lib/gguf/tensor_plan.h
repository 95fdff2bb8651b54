// Which tensors a GGUF file has, and how each is made of the model's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/gguf/gguf_family.h"
#include "lib/model/model_config.h"

namespace ftd::gguf {

struct PlannedTensor {
  std::string name;    // "blk.0.attn_q.weight"
  std::string source;  // the model's tensor; empty: `values` are the tensor
  int64_t layer = -1;  // -1: outside the layers
  int64_t rows = 1, columns = 0;
  bool is_vector = false;  // one extent; its numbers are the columns of one row
  // Which of the source's rows, or columns, stands at each place; empty: as they are.
  std::vector<int32_t> row_order, column_order;
  Mapping mapping = Mapping::kAsIs;
  std::vector<float> values;

  std::vector<int64_t> shape() const;  // outermost first
};

// In the order of the file. Requires: FindGgufFamily's family of this model. MODEL_UNSUPPORTED when
// a tensor of the model has no name in llama.cpp.
absl::StatusOr<std::vector<PlannedTensor>> PlanTensors(const GgufFamily& family,
                                                       const ModelConfig& config);

}  // namespace ftd::gguf
