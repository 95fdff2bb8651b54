#include "lib/plan/operator_memory.h"

#include <algorithm>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/plan/work_sizes.h"

namespace ftd {

void OperatorReplay::LinearRecompute(const MapShape& map, Held& t) {
  if (map.ranks == 0) return;
  if (!s_.dropout) {
    t = Rows(map.ranks);
    return;
  }
  std::vector<Held> parts;
  for (int64_t i = 0; i < map.ranks / s_.rank; ++i) {
    const Held dropped = Rows(map.in);
    parts.push_back(Rows(s_.rank));
  }
  t = Rows(map.ranks);
}

Held OperatorReplay::LinearForward(const MapShape& map, Held& t) {
  Held y = Rows(map.out);
  LinearRecompute(map, t);
  return y;
}

void OperatorReplay::Product(int64_t rows, int64_t width) {
  Numbers(std::min(rows, kProductRows) * width);
}

void OperatorReplay::AddProduct(int64_t rows, int64_t width) {
  if (s_.element == kFloat || (s_.on_gpu && s_.grad_element == kFloat)) return;
  if (s_.grad_element != kFloat && !s_.accumulated) return;
  Product(rows, width);
}

Held OperatorReplay::LinearBackward(const MapShape& map, bool needs_dx) {
  if (s_.full) AddProduct(map.out, map.in);
  if (s_.full && map.bias) Take(map.out * s_.grad_element);
  Held dx;
  if (needs_dx) dx = Rows(map.in);
  if (map.ranks == 0) return dx;
  const Held dt = Rows(map.ranks);
  if (s_.dropout) {
    Rows(map.in);                // x with elements dropped,
    if (needs_dx) Rows(map.in);  // then what dx gets
  }
  return dx;
}

Held OperatorReplay::NormedLinearBackward(const MapShape& map, bool input_kept, bool needs_dx) {
  if (input_kept) return LinearBackward(map, needs_dx);
  const bool folds = s_.norm_folds && !s_.full && !s_.dropout;
  Held x;
  if (!folds) x = Rows(s_.hidden);
  Held dx = LinearBackward(map, needs_dx);
  if (folds && map.ranks > 0) {
    const Held dt = Rows(map.ranks), scaled = Rows(map.ranks);
    Floats(map.ranks * s_.hidden);
  }
  return dx;
}

void OperatorReplay::WeightGrad(int64_t rows, int64_t width) {
  if (!s_.full) return;
  if (s_.on_gpu) {
    Floats(CeilDiv(rows, kWeightGradRows) * width);
    return;
  }
  const Held x_hat = Floats(rows * width), product = Floats(rows * width);
  if (ByAten()) Floats(rows * width);
}

// By ATen x² in float32 is made first, of a copy of x; then a norm in float32, of another.
Held OperatorReplay::RmsNormForward(int64_t rows, int64_t width, Held& rstd) {
  if (ByAten()) {
    const Held wide = Floats(rows * width);
    Floats(rows * width);
  }
  Held y = Numbers(rows * width);
  rstd = Floats(rows);
  return y;
}

Held OperatorReplay::RmsNormBackward(int64_t rows, int64_t width) {
  WeightGrad(rows, width);
  const int64_t numbers = rows * width;
  if (!ByAten()) return Numbers(numbers);
  const Held x_hat = Floats(numbers), g = Floats(numbers), along_x = Floats(numbers);
  return Numbers(numbers);
}

void OperatorReplay::HeadNormForward(int64_t columns, int64_t norms, KeptNorm& saved) {
  if (norms == 0) return;
  saved.x = Rows(columns);
  RmsNormForward(s_.tokens * norms, columns / norms, saved.rstd);  // copied back
}

void OperatorReplay::HeadNormBackward(int64_t columns, int64_t norms) {
  if (norms == 0) return;
  const Held dy = Rows(columns);
  RmsNormBackward(s_.tokens * norms, columns / norms);
}

Held OperatorReplay::GluBackward() {
  Held d_gate_up = Rows(2 * s_.inner);
  if (ByAten()) Rows(s_.inner);
  return d_gate_up;
}

// Without a pass of our own: halves of all heads, thrice or four times.
void OperatorReplay::ApplyRope() {
  if (!ByAten()) return;
  const int64_t half = s_.tokens * (s_.heads + s_.kv_heads) * (s_.rotary_dim / 2);
  Take(4 * half * s_.rope_element);
}

// On a CPU document by document.
void OperatorReplay::AttentionForward(Held& out, Held& lse) {
  ApplyRope();
  out = Rows(attended_);
  if (s_.on_gpu || !s_.softcapped) lse = Floats(s_.heads * s_.tokens);
  if (s_.on_gpu) return;
  if (s_.softcapped) return SoftcappedForward();
  Numbers(s_.longest * attended_);
}

Held OperatorReplay::AttentionBackward() {
  if (s_.on_gpu) {
    const Held dq = Rows(attended_), dk = Rows(keys_), dv = Rows(keys_);
    return Rows(attended_ + 2 * keys_);
  }
  Held dqkv = Rows(attended_ + 2 * keys_);
  {
    const Held d_document = Numbers(s_.longest * (attended_ + 2 * keys_));
    if (s_.softcapped) SoftcappedBackward();
  }
  ApplyRope();
  return dqkv;
}

// A block of queries' scores with all keys of the longest document.
void OperatorReplay::SoftcappedForward() {
  const int64_t scores = s_.heads * std::min(s_.longest, kSoftcappedQueries) * s_.longest;
  const Held out = Numbers(s_.longest * attended_), capped = Numbers(scores),
             masked = Numbers(scores);
  Held wide;
  if (s_.element != kFloat) wide = Floats(scores);
  Floats(scores);
}

void OperatorReplay::SoftcappedBackward() {
  const int64_t scores = s_.heads * std::min(s_.longest, kSoftcappedQueries) * s_.longest;
  const Held capped = Numbers(scores), probabilities = Floats(scores);
  if (s_.element == kFloat) {
    const Held dp = Floats(scores), ds = Floats(scores);
    Floats(scores);  // the tanh again
    return;
  }
  const Held p = Numbers(scores), dp = Numbers(scores), wide = Floats(scores), ds = Floats(scores);
  Numbers(scores);
}

Held OperatorReplay::LinearCrossEntropy() {
  Held dx = Numbers(s_.labels * s_.hidden);
  const int64_t chunk = LossChunk(s_.vocabulary, s_.full, s_.on_gpu);
  Held head_sum;
  const bool sums_apart = s_.labels > chunk && s_.grad_element != kFloat;
  if (s_.full && sums_apart) head_sum = Floats(s_.vocabulary * s_.hidden);
  const int64_t rows = std::min(chunk, s_.labels);
  Held logits = Numbers(rows * s_.vocabulary);
  {
    Held capped;
    if (s_.logits_softcapped) capped = Numbers(rows * s_.vocabulary);
    if (ByAten()) {
      Held wide = Floats(rows * s_.vocabulary);
      logits = {};
      logits = Numbers(rows * s_.vocabulary);
    }
    Floats(rows * kRowSums);
    if (s_.logits_softcapped && !s_.on_gpu) Numbers(rows * s_.vocabulary);
  }
  if (s_.full && !sums_apart) AddProduct(s_.vocabulary, s_.hidden);
  if (s_.full && sums_apart && !s_.on_gpu) Product(s_.vocabulary, s_.hidden);
  return dx;
}

void OperatorReplay::AccumulateEmbedding() {
  if (s_.grad_element != kFloat) {
    Numbers(s_.distinct * s_.hidden);
  } else if (s_.element != kFloat) {
    Floats(s_.tokens * s_.hidden);
  }
}

}  // namespace ftd
