// The memory that the operators of a step take: a replay of what ops/ allocates and frees, for
// step_memory.h, which has the layers that call them. Functions have the names of what they replay.
#pragma once

#include <cstdint>

#include "lib/plan/step_memory.h"
#include "lib/plan/tally.h"

namespace ftd {

// A linear map's shape.
struct MapShape {
  int64_t in, out, ranks;
  bool bias = false;
};

// What a norm keeps whose input nothing else does: HeadNormSaved, BranchSaved.
struct KeptNorm {
  Held x, rstd;
};

class OperatorReplay {
 public:
  // `shape` and `tally` outlive the replay.
  OperatorReplay(const StepShape& shape, Tally& tally)
      : s_(shape),
        tally_(tally),
        attended_(shape.heads * shape.head_dim),
        keys_(shape.kv_heads * shape.head_dim) {}

  Held Take(int64_t bytes) { return {tally_, bytes}; }
  Held Floats(int64_t numbers) { return Take(numbers * kFloat); }
  Held Numbers(int64_t numbers) { return Take(numbers * s_.element); }
  // A tensor of T rows of the compute dtype.
  Held Rows(int64_t width) { return Numbers(s_.tokens * width); }

  void LinearRecompute(const MapShape& map, Held& t);
  Held LinearForward(const MapShape& map, Held& t);
  Held LinearBackward(const MapShape& map, bool needs_dx);
  // The same for a map that reads a norm's output, which is kept, made again, or folded into the
  // product (linear.cc).
  Held NormedLinearBackward(const MapShape& map, bool input_kept, bool needs_dx);

  Held RmsNormForward(int64_t rows, int64_t width, Held& rstd);
  Held RmsNormBackward(int64_t rows, int64_t width);
  // `columns` of qkv in so many stretches.
  void HeadNormForward(int64_t columns, int64_t norms, KeptNorm& saved);
  void HeadNormBackward(int64_t columns, int64_t norms);

  Held GluBackward();

  // To the output, and to what the backward pass needs of the scores.
  void AttentionForward(Held& out, Held& lse);
  Held AttentionBackward();

  Held LinearCrossEntropy();
  void AccumulateEmbedding();

 private:
  // Returns whether norms, the gated unit and RoPE go by ATen's operators, which make float32
  // copies of 16-bit numbers, instead of by passes of our own.
  bool ByAten() const { return !s_.on_gpu && s_.element != kFloat; }

  // A product in slices, before it is added to a sum.
  void Product(int64_t rows, int64_t width);
  // AddProduct, which needs one where the sum holds something or is of another dtype.
  void AddProduct(int64_t rows, int64_t width);
  void WeightGrad(int64_t rows, int64_t width);
  void ApplyRope();
  void SoftcappedForward();
  void SoftcappedBackward();

  const StepShape& s_;
  Tally& tally_;
  const int64_t attended_, keys_;
};

}  // namespace ftd
