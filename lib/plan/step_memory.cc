#include "lib/plan/step_memory.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/plan/delta_memory.h"
#include "lib/plan/tally.h"
#include "lib/plan/work_sizes.h"

namespace ftd {
namespace {

// A linear map's shape.
struct Map {
  int64_t in, out, ranks;
  bool bias = false;
};

// What a norm keeps whose input nothing else does: HeadNormSaved, BranchSaved.
struct KeptNorm {
  Held x, rstd;
};

// DecoderLayerSaved, with the tensors of its members.
struct Saved {
  Held gate;
  DeltaHeld delta;
  Held x, rstd1, qkv, qkv_t, out, lse, random, o_t, h, rstd2, gate_up, gate_up_t, down_t;
  Held normed1, normed2, product;
  KeptNorm query_norm, key_norm, attention_branch, mlp_branch;
};

// A micro-batch's way through model.cc, objectives/sft.cc, decoder_layer.cc and what they call.
// Functions have the names of what they replay.
class Replay {
 public:
  explicit Replay(const StepShape& shape)
      : s_(shape),
        attended_(s_.heads * s_.head_dim),
        keys_(s_.kv_heads * s_.head_dim),
        qkv_{s_.hidden, (s_.attention_gate ? 2 : 1) * attended_ + 2 * keys_, s_.ranks.qkv,
             s_.qkv_bias},
        o_{attended_, s_.hidden, s_.ranks.o, s_.o_bias},
        delta_in_{s_.hidden, s_.delta.features(), s_.delta.qkv_ranks},
        delta_out_{s_.delta.sizes.values(), s_.hidden, s_.delta.o_ranks},
        gate_up_{s_.hidden, 2 * s_.inner, s_.ranks.gate_up, s_.gate_up_bias},
        down_{s_.inner, s_.hidden, s_.ranks.down, s_.down_bias},
        delta_(s_.delta, {s_.tokens, s_.element, s_.full}, tally_) {}

  int64_t ForwardBackward(int64_t recomputed) {
    const Held numbers = Take(
        8 * (3 * s_.tokens + 2 * s_.labels + CeilDiv(s_.documents + 1, int64_t{2}) + s_.distinct));
    const Held sums = Take(24);  // the loss's
    std::vector<Held> tables;
    for (int64_t i = 0; i < 2 * s_.rope_tables; ++i)
      tables.push_back(Take(s_.tokens * (s_.rotary_dim / 2) * s_.rope_element));
    Held query_scale;
    if (s_.queries_scaled) query_scale = Rows(1);
    Held slots;
    if (s_.delta.any()) slots = Take(8 * s_.tokens);
    std::vector<Saved> saved(static_cast<size_t>(s_.layers));
    Held x = Rows(s_.hidden);
    for (int64_t i = 0; i < s_.layers; ++i) {
      Saved& layer = saved[static_cast<size_t>(i)];
      layer.x = std::move(x);
      x = DecoderLayerForward(s_.delta.is(i), layer);
      // As Forward does: of a recomputed layer all but its input is freed at once.
      if (i < recomputed) {
        Held input = std::move(layer.x);
        layer = {};
        layer.x = std::move(input);
      }
    }
    Held dx = Sft();
    x = {};
    for (int64_t i = s_.layers - 1; i >= 0; --i) {
      Saved& layer = saved[static_cast<size_t>(i)];
      if (i < recomputed) DecoderLayerRecompute(s_.delta.is(i), layer);
      dx = DecoderLayerBackward(s_.delta.is(i), i<recomputed, i> 0 || s_.full);
      layer = {};
    }
    if (s_.full) AccumulateEmbedding();
    return tally_.peak();
  }

 private:
  Held Take(int64_t bytes) { return {tally_, bytes}; }
  // A tensor of T rows of the compute dtype.
  Held Rows(int64_t width) { return Take(s_.tokens * width * s_.element); }
  Held Rstd() { return Take(s_.tokens * kFloat); }

  void LinearRecompute(const Map& map, Held& t) {
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

  Held LinearForward(const Map& map, Held& t) {
    Held y = Rows(map.out);
    LinearRecompute(map, t);
    return y;
  }

  // AccumulateProduct of a weight whose gradients are of 16 bits and there already.
  void AddProduct(int64_t rows, int64_t width) {
    if (s_.grad_element == kFloat || !s_.accumulated) return;
    const Held product = Take(std::min(rows, kProductRows) * width * s_.element);
  }

  Held LinearBackward(const Map& map, bool needs_dx) {
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

  // The same for a map that reads a norm's output, which is kept, made again, or folded into the
  // product (linear.cc).
  Held NormedLinearBackward(const Map& map, bool input_kept, bool needs_dx) {
    if (input_kept) return LinearBackward(map, needs_dx);
    const bool folds = s_.norm_folds && !s_.full && !s_.dropout;
    Held x;
    if (!folds) x = Rows(s_.hidden);
    Held dx = LinearBackward(map, needs_dx);
    if (folds && map.ranks > 0) {
      const Held dt = Rows(map.ranks), scaled = Rows(map.ranks);
      Take(map.ranks * s_.hidden * kFloat);
    }
    return dx;
  }

  void WeightGrad(int64_t rows, int64_t width) {
    if (s_.full) Take(CeilDiv(rows, kWeightGradRows) * width * kFloat);
  }

  Held RmsNormBackward() {
    WeightGrad(s_.tokens, s_.hidden);
    return Rows(s_.hidden);
  }

  // `columns` of qkv in so many stretches.
  void HeadNormForward(int64_t columns, int64_t norms, KeptNorm& saved) {
    if (norms == 0) return;
    saved.x = Rows(columns);
    saved.rstd = Take(s_.tokens * norms * kFloat);
    Rows(columns);  // what is copied back
  }

  void HeadNormBackward(int64_t columns, int64_t norms) {
    if (norms == 0) return;
    const Held dy = Rows(columns);
    WeightGrad(s_.tokens * norms, columns / norms);
    Rows(columns);
  }

  Held AddBranch(bool norm, Held branch, KeptNorm& saved) {
    if (!norm) return branch;
    saved.x = std::move(branch);
    Held y = Rows(s_.hidden);
    saved.rstd = Rstd();
    return y;
  }

  Held BranchBackward(bool norm) {
    Held grad;
    if (s_.scaled_branches) grad = Rows(s_.hidden);
    if (norm) grad = RmsNormBackward();
    return grad;
  }

  // Adds in place where there is no norm.
  Held InputBackward(bool norm, Held grad) { return norm ? RmsNormBackward() : std::move(grad); }

  Held MixerForward(bool delta, Held projected, Saved& saved) {
    saved.qkv = std::move(projected);
    if (delta) return delta_.Forward(saved.delta);
    if (s_.attention_gate) {
      Held qkv = Rows(attended_ + 2 * keys_);
      saved.gate = Rows(attended_);
      saved.qkv = std::move(qkv);
    }
    HeadNormForward(attended_, s_.query_norms, saved.query_norm);
    HeadNormForward(keys_, s_.key_norms, saved.key_norm);
    saved.out = Rows(attended_);
    saved.lse = Take(s_.heads * s_.tokens * kFloat);
    saved.random = Take(16);
    return MixerOutput(false);
  }

  // Without a gate it is attention's output itself.
  Held MixerOutput(bool delta) {
    if (delta) return delta_.Output();
    return s_.attention_gate ? Rows(attended_) : Held();
  }

  Held MixerBackward(bool delta) {
    if (delta) return delta_.Backward();
    Held dout, d_gate;
    if (s_.attention_gate) {
      dout = Rows(attended_);
      const Held product = Rows(attended_);
      d_gate = Rows(attended_);
    }
    dout = AttentionBackward();
    HeadNormBackward(attended_, s_.query_norms);
    HeadNormBackward(keys_, s_.key_norms);
    return s_.attention_gate ? Rows(qkv_.out) : std::move(dout);
  }

  Held ForwardToProduct(bool delta, bool keep_inputs, Saved& saved) {
    Held normed;
    if (s_.norms.attention_input) {
      normed = Rows(s_.hidden);
      saved.rstd1 = Rstd();
    }
    if (keep_inputs) saved.normed1 = std::move(normed);
    Held mixed = MixerForward(delta, LinearForward(delta ? delta_in_ : qkv_, saved.qkv_t), saved);
    saved.h = AddBranch(s_.norms.attention_output,
                        LinearForward(delta ? delta_out_ : o_, saved.o_t), saved.attention_branch);
    mixed = {};
    normed = {};
    if (s_.norms.mlp_input) {
      normed = Rows(s_.hidden);
      saved.rstd2 = Rstd();
    }
    saved.gate_up = LinearForward(gate_up_, saved.gate_up_t);
    if (keep_inputs) saved.normed2 = std::move(normed);
    return Rows(s_.inner);
  }

  Held DecoderLayerForward(bool delta, Saved& saved) {
    const Held product = ForwardToProduct(delta, /*keep_inputs=*/false, saved);
    return AddBranch(s_.norms.mlp_output, LinearForward(down_, saved.down_t), saved.mlp_branch);
  }

  void DecoderLayerRecompute(bool delta, Saved& saved) {
    saved.product = ForwardToProduct(delta, /*keep_inputs=*/true, saved);
    if (!s_.norms.mlp_output) return LinearRecompute(down_, saved.down_t);
    AddBranch(true, LinearForward(down_, saved.down_t), saved.mlp_branch);
  }

  Held DecoderLayerBackward(bool delta, bool inputs_kept, bool needs_dx) {
    Held grad = BranchBackward(s_.norms.mlp_output);
    Held input;
    if (!inputs_kept) input = Rows(s_.inner);
    grad = LinearBackward(down_, true);
    grad = Rows(gate_up_.out);
    input = {};
    grad = NormedLinearBackward(gate_up_, inputs_kept || !s_.norms.mlp_input, true);
    const Held dh = InputBackward(s_.norms.mlp_input, std::move(grad));
    grad = BranchBackward(s_.norms.attention_output);
    input = MixerOutput(delta);
    grad = LinearBackward(delta ? delta_out_ : o_, true);
    input = {};
    grad = MixerBackward(delta);
    grad = NormedLinearBackward(delta ? delta_in_ : qkv_, inputs_kept || !s_.norms.attention_input,
                                needs_dx);
    return needs_dx ? InputBackward(s_.norms.attention_input, std::move(grad)) : Held();
  }

  Held AttentionBackward() {
    const Held dq = Rows(attended_), dk = Rows(keys_), dv = Rows(keys_);
    return Rows(attended_ + 2 * keys_);
  }

  Held Sft() {
    const int64_t row = s_.hidden * s_.element;
    const Held final_x = Take(s_.labels * row), normed = Take(s_.labels * row),
               rstd = Take(s_.labels * kFloat);
    Held dx = LinearCrossEntropy();
    WeightGrad(s_.labels, s_.hidden);
    const Held dfinal = Take(s_.labels * row);
    return Rows(s_.hidden);
  }

  Held LinearCrossEntropy() {
    Held dx = Take(s_.labels * s_.hidden * s_.element);
    const int64_t chunk = LossChunk(s_.vocabulary, s_.full, /*on_gpu=*/true);
    Held head_sum;
    const bool chunks = s_.labels > chunk;
    if (s_.full && chunks && s_.grad_element != kFloat)
      head_sum = Take(s_.vocabulary * s_.hidden * kFloat);
    const int64_t rows = std::min(chunk, s_.labels);
    const Held logits = Take(rows * s_.vocabulary * s_.element);
    {
      Held capped;
      if (s_.logits_softcapped) capped = Take(rows * s_.vocabulary * s_.element);
      Take(rows * kRowSums * kFloat);
    }
    if (s_.full && !chunks) AddProduct(s_.vocabulary, s_.hidden);
    return dx;
  }

  void AccumulateEmbedding() {
    if (s_.grad_element != kFloat) {
      Take(s_.distinct * s_.hidden * s_.element);
    } else if (s_.element != kFloat) {
      Take(s_.tokens * s_.hidden * kFloat);
    }
  }

  const StepShape& s_;
  const int64_t attended_, keys_;
  const Map qkv_, o_, delta_in_, delta_out_, gate_up_, down_;
  Tally tally_;
  DeltaReplay delta_;
};

// Returns the most that operators of ATen's take within themselves and give back: flash attention's
// backward pass adds up dQ in float32 and makes dK and dV of every query head; in float32,
// attention goes document by document over all of its scores, and with capped scores
// (softcapped.cc) over those of a block of queries, which five tensors of the dtype and four of
// float32 hold.
int64_t WithinOperators(const StepShape& s) {
  const int64_t attended = s.heads * s.head_dim;
  if (s.softcapped) {
    const int64_t scores = s.heads * std::min<int64_t>(s.longest, 256) * s.longest;
    return scores * (5 * s.element + 4 * kFloat) + 4 * s.longest * attended * s.element;
  }
  if (s.element == kFloat) return 4 * s.heads * s.longest * s.longest * kFloat;
  return s.tokens * attended * (kFloat + 2 * s.element) + 2 * s.heads * s.tokens * kFloat;
}

}  // namespace

int64_t StepPeakBytes(const StepShape& shape, int64_t recomputed) {
  return Replay(shape).ForwardBackward(recomputed);
}

int64_t LayersToRecompute(const StepShape& shape, int64_t available) {
  // From none upwards, so the first number that fits is the smallest.
  const int64_t for_tensors = available - WithinOperators(shape);
  int64_t recomputed = 0;
  while (recomputed < shape.layers && StepPeakBytes(shape, recomputed) > for_tensors) ++recomputed;
  return recomputed;
}

}  // namespace ftd
