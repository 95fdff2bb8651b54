#include "lib/plan/step_memory.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/plan/delta_memory.h"
#include "lib/plan/operator_memory.h"
#include "lib/plan/tally.h"
#include "lib/plan/work_sizes.h"

namespace ftd {
namespace {

// DecoderLayerSaved, with the tensors of its members.
struct Saved {
  Held gate;
  DeltaHeld delta;
  Held x, rstd1, qkv, qkv_t, out, lse, o_t, h, rstd2, gate_up, gate_up_t, down_t;
  Held normed1, normed2, product;
  KeptNorm query_norm, key_norm, attention_branch, mlp_branch;
};

// A micro-batch's way through model.cc, objectives/sft.cc and decoder_layer.cc. Functions have the
// names of what they replay.
class Replay : private OperatorReplay {
 public:
  Replay(const StepShape& shape, Tally& tally)
      : OperatorReplay(shape, tally),
        s_(shape),
        tally_(tally),
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
  Held AddBranch(bool norm, Held branch, KeptNorm& saved) {
    if (!norm) return branch;
    saved.x = std::move(branch);
    return RmsNormForward(s_.tokens, s_.hidden, saved.rstd);
  }

  Held BranchBackward(bool norm) {
    Held grad;
    if (s_.scaled_branches) grad = Rows(s_.hidden);
    if (norm) grad = RmsNormBackward(s_.tokens, s_.hidden);
    return grad;
  }

  // Adds in place where there is no norm.
  Held InputBackward(bool norm, Held grad) {
    return norm ? RmsNormBackward(s_.tokens, s_.hidden) : std::move(grad);
  }

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
    AttentionForward(saved.out, saved.lse);
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
      normed = RmsNormForward(s_.tokens, s_.hidden, saved.rstd1);
    }
    if (keep_inputs) saved.normed1 = std::move(normed);
    Held mixed = MixerForward(delta, LinearForward(delta ? delta_in_ : qkv_, saved.qkv_t), saved);
    saved.h = AddBranch(s_.norms.attention_output,
                        LinearForward(delta ? delta_out_ : o_, saved.o_t), saved.attention_branch);
    mixed = {};
    normed = {};
    if (s_.norms.mlp_input) {
      normed = RmsNormForward(s_.tokens, s_.hidden, saved.rstd2);
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
    grad = GluBackward();
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

  Held Sft() {
    const Held final_x = Numbers(s_.labels * s_.hidden);
    Held rstd;
    const Held normed = RmsNormForward(s_.labels, s_.hidden, rstd);
    Held dx = LinearCrossEntropy();
    const Held dfinal = RmsNormBackward(s_.labels, s_.hidden);
    return Rows(s_.hidden);
  }

  const StepShape& s_;
  Tally& tally_;
  const int64_t attended_, keys_;
  const MapShape qkv_, o_, delta_in_, delta_out_, gate_up_, down_;
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
    const int64_t scores = s.heads * std::min(s.longest, kSoftcappedQueries) * s.longest;
    return scores * (5 * s.element + 4 * kFloat) + 4 * s.longest * attended * s.element;
  }
  if (s.element == kFloat) return 4 * s.heads * s.longest * s.longest * kFloat;
  return s.tokens * attended * (kFloat + 2 * s.element) + 2 * s.heads * s.tokens * kFloat;
}

}  // namespace

int64_t StepPeakBytes(const StepShape& shape, int64_t recomputed) {
  Tally tally(/*placed=*/!shape.on_gpu);
  return Replay(shape, tally).ForwardBackward(recomputed);
}

bool StepFits(const StepShape& shape, int64_t recomputed, int64_t available) {
  return StepPeakBytes(shape, recomputed) <= available - WithinOperators(shape);
}

int64_t LayersToRecompute(const StepShape& shape, int64_t available) {
  // From none upwards, so the first number that fits is the smallest.
  int64_t recomputed = 0;
  while (recomputed < shape.layers && !StepFits(shape, recomputed, available)) ++recomputed;
  return recomputed;
}

}  // namespace ftd
