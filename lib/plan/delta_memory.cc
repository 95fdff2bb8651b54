#include "lib/plan/delta_memory.h"

#include <algorithm>
#include <utility>

#include "lib/plan/work_sizes.h"

namespace ftd {

DeltaReplay::DeltaReplay(const DeltaLayers& layers, const Step& step, Tally& tally)
    : tally_(tally),
      step_(step),
      s_(layers.sizes),
      element_(step.element),
      heads_(step.tokens * s_.value_heads),
      channels_(step.tokens * s_.channels()),
      values_(step.tokens * s_.values()),
      padded_(layers.chunks * kChunkTokens),
      features_(step.tokens * layers.features()) {
  if (!layers.any()) return;
  const int64_t sharers = s_.value_heads / s_.key_heads;
  b_.heads = KeyHeadsAtATime(s_, layers.chunks);
  b_.key_rows = padded_ * b_.heads;
  b_.rows = b_.key_rows * sharers;
  b_.keys = b_.key_rows * s_.key_dim;
  b_.shared = b_.rows * s_.key_dim;
  b_.values = b_.rows * s_.value_dim;
  b_.key_pairs = b_.key_rows * kChunkTokens;
  b_.pairs = b_.rows * kChunkTokens;
  const int64_t state = b_.heads * sharers * s_.key_dim * s_.value_dim;
  b_.states = layers.chunks * state;
  b_.first_states = layers.documents * state;
  b_.first_values = layers.documents * kChunkTokens * b_.heads * sharers * s_.value_dim;
}

Held DeltaReplay::Gated(const Held& /*normed*/) {
  const Held wide = AsFloats(values_);
  Held gated = Floats(values_);
  if (element_ == kFloat) return gated;
  return Numbers(values_);
}

Held DeltaReplay::Forward(DeltaHeld& saved) {
  {
    const Held channels = ConvForward();
    const Gates gates = GatesOf();
    saved.out = Numbers(values_);
    Ruled();
  }
  const Held normed = Numbers(values_);
  saved.rstd = Floats(heads_);
  return Gated(normed);
}

Held DeltaReplay::Output() { return Gated(Numbers(values_)); }

Held DeltaReplay::Backward() {
  Held d_projected = Numbers(features_);
  Held d_o;
  {
    const Held normed = Numbers(values_);
    OutputGateBackward();
    d_o = Numbers(values_);
  }
  d_o = Numbers(values_);
  const Gates gates = GatesOf();
  const Held d_g = Floats(heads_), d_beta = Numbers(heads_);
  const Held d_channels = Numbers(channels_);
  {
    const Held channels = ConvForward();
    RuledBackward();
  }
  { const Held wide = Floats(heads_), da = Floats(heads_); }
  ConvBackward();
  return d_projected;
}

void DeltaReplay::OutputGateBackward() {
  const Held wide_z = Floats(values_), wide_dy = AsFloats(values_);
  { const Held product = Floats(values_), dz = Floats(values_); }
  const Held d_normed = Floats(values_);
  if (element_ != kFloat) Numbers(values_);
}

Held DeltaReplay::Convolved() {
  const Held wide = AsFloats(channels_);
  Held y = Floats(channels_);
  if (s_.taps > 1) Floats(channels_);  // a tap's part
  if (element_ == kFloat) return y;
  return Numbers(channels_);
}

Held DeltaReplay::ConvForward() {
  const Held y = Convolved();
  return Numbers(channels_);
}

Held DeltaReplay::ConvBackward() {
  const Held z = Convolved();
  Held dz = Numbers(channels_);
  if (element_ != kFloat) dz = Floats(channels_);
  const Held wide = AsFloats(channels_);
  Held dx = Floats(channels_);
  {
    const Held reaching = Floats(channels_);
    if (step_.full) Floats(channels_);
  }
  if (element_ == kFloat) return dx;
  return Numbers(channels_);
}

DeltaReplay::Gates DeltaReplay::GatesOf() {
  Gates gates;
  {
    const Held wide = AsFloats(heads_), steps = Floats(heads_);
    gates.g = Floats(heads_);
  }
  gates.beta = Numbers(heads_);
  return gates;
}

Held DeltaReplay::Chunked(int64_t numbers, int64_t of_tokens, bool is_float) {
  const Held chunks = Floats(numbers);
  if (!is_float) AsFloats(of_tokens);
  return Floats(numbers);
}

void DeltaReplay::Unchunked(int64_t numbers) {
  const Held rows = Floats(numbers);
  Floats(numbers / padded_ * step_.tokens);
}

DeltaReplay::Input DeltaReplay::MakeRuleBlock() {
  const auto chunked = [&](int64_t numbers, bool is_float) {
    return Chunked(numbers, numbers / padded_ * step_.tokens, is_float);
  };
  Input in;
  in.q = chunked(b_.keys, false);
  in.k = chunked(b_.keys, false);
  in.v = chunked(b_.values, false);
  in.g = chunked(b_.rows, true);
  in.beta = chunked(b_.rows, false);
  for (Held* scale : {&in.q_scale, &in.k_scale}) {
    const Held squares = Floats(b_.keys);
    *scale = Floats(b_.key_rows);
  }
  return in;
}

// Blocks of heads are alike but for the last, which may be smaller.
void DeltaReplay::Ruled() {
  const Input in = MakeRuleBlock();
  DeltaRuleForward();
}

void DeltaReplay::RuledBackward() {
  const Input in = MakeRuleBlock();
  const Held d_block = Chunked(b_.values, b_.values / padded_ * step_.tokens, /*is_float=*/false);
  const Input d = DeltaRuleBackward();
  { const Held product = Floats(b_.keys), difference = Floats(b_.keys); }
  Unchunked(std::max(b_.keys, b_.values));
}

DeltaReplay::Within DeltaReplay::MakeWithin() {
  Within w;
  const Held sums = Floats(b_.rows);
  w.growth = Floats(b_.rows);
  w.to_end = Floats(b_.rows);
  w.between = Floats(b_.pairs);
  {
    const Held products = Floats(b_.key_pairs);
    w.similarity = Floats(b_.pairs);
  }
  w.system = Floats(b_.pairs);
  {
    const Held products = Floats(b_.key_pairs);
    w.attention = Floats(b_.pairs);
  }
  {
    const Held v = Floats(b_.values), strength = Floats(b_.rows), k = Floats(b_.shared),
               right = Floats(b_.values + b_.shared);
    w.solved = Floats(b_.values + b_.shared);
  }
  w.query = Floats(b_.shared);
  w.key = Floats(b_.shared);
  return w;
}

DeltaReplay::Across DeltaReplay::MakeAcross() {
  Across a;
  a.states = Floats(b_.states);
  a.written = Floats(b_.values);
  const Held S = Floats(b_.first_states), V = Floats(b_.first_values);
  const Held decayed = Floats(b_.first_states), added = Floats(b_.first_states),
             next = Floats(b_.first_states);
  return a;
}

DeltaReplay::Across DeltaReplay::GoBack() {
  Across d;
  d.states = Floats(b_.states);
  d.written = Floats(b_.values);
  const Held all = Floats(b_.first_states);
  Floats(std::max(b_.first_values, b_.first_states));
  return d;
}

void DeltaReplay::DeltaRuleForward() {
  Held out;
  {
    const Within w = MakeWithin();
    const Across a = MakeAcross();
    out = Floats(b_.values);
    Floats(b_.values);
  }
  Unchunked(b_.values);
}

DeltaReplay::Input DeltaReplay::DeltaRuleBackward() {
  const Within w = MakeWithin();
  const Across across = MakeAcross(), d = GoBack();
  Input sum = ThroughStates();
  Held d_system = ThroughSystem(sum);
  ThroughPairs(std::move(d_system));
  return sum;
}

DeltaReplay::Input DeltaReplay::ThroughStates() {
  Input sum;
  {
    const Held d_query = Floats(b_.shared);
    {
      const Held product = Floats(b_.shared);
      sum.g = Floats(b_.rows);
    }
    const Held grown = Floats(b_.shared);
    sum.q = Floats(b_.keys);
  }
  const Held d_key = Floats(b_.shared);
  {
    const Held product = Floats(b_.shared);
    sum.k = Floats(b_.keys);
  }
  Floats(b_.states);
  return sum;
}

Held DeltaReplay::OfRightSide() {
  Held d_solved;
  {
    const Held read = Floats(b_.shared);
    d_solved = Floats(b_.values + b_.shared);
  }
  return Floats(b_.values + b_.shared);
}

Held DeltaReplay::ThroughSystem(Input& sum) {
  const Held d_right = OfRightSide();
  Held d_system = Floats(b_.pairs);
  const Held strength = Floats(b_.rows);
  sum.v = Floats(b_.values);
  {
    const Held product = Floats(b_.values);
    sum.beta = Floats(b_.rows);
  }
  { const Held product = Floats(b_.shared), shared = Floats(b_.keys); }
  Floats(b_.pairs);
  return d_system;
}

void DeltaReplay::ThroughPairs(Held d_system) {
  Floats(b_.pairs);
  {
    const Held of_keys = Floats(b_.key_pairs), both = Floats(b_.key_pairs);
    Floats(b_.keys);
  }
  d_system = {};
  const Held d_attention = Floats(b_.pairs);
  Floats(b_.pairs);
  const Held of_queries = Floats(b_.key_pairs);
  Floats(b_.keys);
}

}  // namespace ftd
