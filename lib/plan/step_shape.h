// The shape of a step (step_memory.h) as a job's model and spec make it.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/data/row_source.h"
#include "lib/model/model_config.h"
#include "lib/plan/step_memory.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// A micro-batch: documents end to end.
struct BatchShape {
  int64_t tokens = 0;
  int64_t labels = 0;
  int64_t documents = 0;  // rows
  int64_t distinct = 0;   // different tokens
  int64_t longest = 0;    // tokens of the longest document
  int64_t chunks = 0;     // of kChunkTokens, of all documents
};

// Adds a row to a micro-batch, but for its different tokens, which its length does not say.
void AddRow(const RowLength& row, BatchShape& batch);

// Returns of each number the larger one.
BatchShape MostOf(const BatchShape& a, const BatchShape& b);

// Returns the shape of a step whose micro-batch is not known yet. `on_gpu`: by our kernels, else on
// a CPU.
StepShape StepShapeOf(const ModelConfig& config, const TrainSpec& spec, bool on_gpu);

// Puts a micro-batch into it. `accumulated`: gradients of other micro-batches of the step are there
// already.
void SetBatch(const BatchShape& batch, bool accumulated, StepShape& shape);

// Returns how many rows all adapters together have that a map of these tensors gets.
int64_t RanksOf(const ParameterInfo& map, const TrainSpec& spec);

// Returns the numbers of the adapters' factors that a map of these tensors gets: one A for all of
// them, if there is one, then a B for each.
std::vector<int64_t> AdapterSizes(const ParameterInfo& map, const TrainSpec& spec);

// Returns the numbers of a tensor.
int64_t NumbersOf(const TensorInfo& tensor);

// Returns the bytes of a number of the dtype.
int64_t BytesOf(Dtype dtype);

}  // namespace ftd
