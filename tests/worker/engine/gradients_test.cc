// Operators and a whole layer against autograd in float64 over their definitions.

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"
#include "tests/worker/engine/gradient_check.h"
#include "worker/engine/model/decoder_layer.h"
#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/dropout/dropout.h"
#include "worker/engine/ops/glu/glu.h"
#include "worker/engine/ops/linear/linear.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/ops/softcap/softcap.h"

namespace ftd::engine {
namespace {

constexpr double kEps = 1e-5;

// The definitions, in plain operators that autograd follows. Heads [.., 2·half] are rotated as
// transformers' apply_rotary_pos_emb does: x·cos + rotate_half(x)·sin.
at::Tensor PlainNorm(const at::Tensor& x, const at::Tensor& w, double offset = 0) {
  return (w + offset) * x * (x.square().mean({-1}, true) + kEps).rsqrt();
}

at::Tensor PlainSwiglu(const at::Tensor& gate_up) {
  const int64_t F = gate_up.size(1) / 2;
  return at::silu(gate_up.narrow(1, 0, F)) * gate_up.narrow(1, F, F);
}

at::Tensor PlainRotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor turned = at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
  return x * at::cat({cos, cos}, -1) + turned * at::cat({sin, sin}, -1);
}

// The same of neighbours, as in modeling_glm4.py: repeat_interleave and stack.
at::Tensor PlainRotatedInterleaved(const at::Tensor& x, const at::Tensor& cos,
                                   const at::Tensor& sin) {
  const int64_t R = x.size(-1);
  const at::Tensor turned =
      at::stack({-x.slice(-1, 1, R, 2), x.slice(-1, 0, R, 2)}, -1).flatten(-2);
  return x * cos.repeat_interleave(2, -1) + turned * sin.repeat_interleave(2, -1);
}

constexpr int64_t kHeads = 6, kKvHeads = 2, kHeadDim = 8;
const double kScale = 1 / std::sqrt(8.0);
const AttentionShape kShape{kHeads, kKvHeads, kHeadDim, kScale};
const std::vector<int64_t> kOffsets = {0, 5, 6, 43};

// The first features of heads [t, count, H] rotated, the others as they are.
at::Tensor PlainPartlyRotated(const at::Tensor& x, const RopeTable& rope) {
  if (!rope.cos.defined()) return x;
  const int64_t R = 2 * rope.cos.size(-1);
  const at::Tensor rotating = x.narrow(-1, 0, R);
  const at::Tensor rotated = rope.interleaved
                                 ? PlainRotatedInterleaved(rotating, rope.cos, rope.sin)
                                 : PlainRotated(rotating, rope.cos, rope.sin);
  return at::cat({rotated, x.narrow(-1, R, x.size(-1) - R)}, -1);
}

// Causal softmax(cap(scale · q kᵀ)) v of each document within the window, of qkv [43, 80] before
// its rotation.
at::Tensor PlainAttention(const at::Tensor& qkv, const AttentionShape& shape,
                          const Rotation& rotation) {
  std::vector<at::Tensor> outs;
  for (size_t d = 0; d + 1 < kOffsets.size(); ++d) {
    const int64_t begin = kOffsets[d], t = kOffsets[d + 1] - begin;
    const auto of_document = [&](const at::Tensor& x) {
      return x.defined() ? x.narrow(0, begin, t) : x;
    };
    const RopeTable rope{of_document(rotation.rope.cos), of_document(rotation.rope.sin),
                         rotation.rope.interleaved};
    const auto heads = [&](int64_t first, int64_t count, bool rotated) {
      const at::Tensor x = qkv.narrow(0, begin, t)
                               .narrow(1, first * kHeadDim, count * kHeadDim)
                               .view({t, count, kHeadDim});
      return rotated ? PlainPartlyRotated(x, rope) : x;
    };
    const auto by_head = [](const at::Tensor& x) {
      return x.transpose(0, 1).repeat_interleave(kHeads / x.size(1), 0);
    };
    at::Tensor q = heads(0, kHeads, true);
    if (rotation.query_scale.defined()) q = q * of_document(rotation.query_scale);
    const at::Tensor k = heads(kHeads, kKvHeads, true);
    const at::Tensor v = heads(kHeads + kKvHeads, kKvHeads, false);
    at::Tensor scores = at::matmul(by_head(q), by_head(k).transpose(1, 2)) * shape.scale;
    if (shape.softcap > 0) scores = (scores / shape.softcap).tanh() * shape.softcap;
    at::Tensor mask = at::full({t, t}, -1e300, at::kDouble).triu(1);
    if (shape.window > 0) mask = mask + at::full({t, t}, -1e300, at::kDouble).tril(-shape.window);
    const at::Tensor p = at::softmax(scores + mask, -1);
    outs.push_back(at::matmul(p, by_head(v)).transpose(0, 1).reshape({t, kHeads * kHeadDim}));
  }
  return at::cat(outs);
}

// With `residual`, x also goes past the norm, as in a layer: its second gradient is added to dx.
GradientCheck NormCheck(NormKind kind, bool residual) {
  GradientCheck check;
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 4, 4}, {at::kHalf, 4, 4}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    return {at::randn({size.first, size.second}), at::randn({size.second})};
  };
  check.reference = [kind, residual](const std::vector<at::Tensor>& in) {
    const at::Tensor y = PlainNorm(in[0], in[1], kind == NormKind::kOffset ? 1 : 0);
    return residual ? at::stack({y, in[0]}) : y;
  };
  check.op = [kind, residual](const std::vector<at::Tensor>& in,
                              const at::Tensor& dy) -> OutputAndGradients {
    NormSaved saved;
    const NormWeight weight(in[1], kind);
    const at::Tensor y = RmsNormForward(in[0], weight, kEps, &saved);
    EXPECT_TRUE(at::equal(RmsNormRecompute(in[0], weight, saved), y));
    const at::Tensor w_grad = at::ones_like(in[1], at::kFloat);  // adds to what is there
    const at::Tensor dx = RmsNormBackward(in[0], weight, saved, residual ? dy[0] : dy,
                                          residual ? dy[1] : at::Tensor(), w_grad);
    return {residual ? at::stack({y, in[0]}) : y, {dx, w_grad - 1}};
  };
  return check;
}

TEST(RmsNormTest, EqualsAutograd) {
  for (const NormKind kind : {NormKind::kRounded, NormKind::kFloat32, NormKind::kOffset}) {
    for (const bool residual : {false, true}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(kind)) + (residual ? " with residual" : ""));
      CheckGradients(NormCheck(kind, residual));
    }
  }
}

// GELU's tanh approximation as Hendrycks & Gimpel 2016 write it.
at::Tensor PlainGeglu(const at::Tensor& gate_up) {
  const auto halves = gate_up.chunk(2, 1);
  const at::Tensor& g = halves[0];
  const at::Tensor inner = std::sqrt(2 / M_PI) * (g + 0.044715 * g.pow(3));
  return 0.5 * g * (1 + inner.tanh()) * halves[1];
}

// float64 goes through ATen's twin.
TEST(GluTest, EqualsAutograd) {
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    SCOPED_TRACE(activation == Activation::kSilu ? "SiLU" : "GELU");
    GradientCheck check;
    check.dtypes = {
        {at::kFloat, 50, 50}, {at::kBFloat16, 4, 4}, {at::kHalf, 4, 4}, {at::kDouble, 9000, 9000}};
    check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
      return {at::randn({size.first, 2 * size.second})};
    };
    check.reference = [=](const std::vector<at::Tensor>& in) {
      return activation == Activation::kSilu ? PlainSwiglu(in[0]) : PlainGeglu(in[0]);
    };
    check.op = [=](const std::vector<at::Tensor>& in, const at::Tensor& da) -> OutputAndGradients {
      return {GluForward(in[0], activation), {GluBackward(in[0], da, activation)}};
    };
    CheckGradients(check);
  }
}

TEST(SoftcapTest, EqualsAutograd) {
  constexpr double kCap = 3;
  GradientCheck check;
  check.dtypes = {{at::kFloat, 50, 50}, {at::kBFloat16, 4, 6}, {at::kHalf, 4, 6}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    return {at::randn({size.first, size.second}) * kCap};
  };
  check.reference = [](const std::vector<at::Tensor>& in) { return (in[0] / kCap).tanh() * kCap; };
  check.op = [](const std::vector<at::Tensor>& in, const at::Tensor& dy) -> OutputAndGradients {
    at::Tensor y = in[0].clone(), grad = dy.clone();
    SoftcapForward(y, kCap);
    SoftcapBackward(grad, y, kCap);
    return {y, {grad}};
  };
  CheckGradients(check);
}

// Angles of `half` pairs, and factors of queries.
std::vector<at::Tensor> CosSinAndScale(int64_t half = 4) {
  const at::Tensor angles = at::randn({43, 1, half});
  return {angles.cos(), angles.sin(), at::rand({43, 1, 1}) + 0.5};
}

struct AttentionCase {
  const char* name;
  double softcap = 0;
  int64_t window = 0, half = 4;
  bool interleaved = false, scaled = false;
};

GradientCheck AttentionCheck(const AttentionCase& one) {
  AttentionShape shape = kShape;
  shape.softcap = one.softcap;
  shape.window = one.window;
  const auto rotation_of = [one](const std::vector<at::Tensor>& in) {
    return Rotation{{in[1], in[2], one.interleaved}, one.scaled ? in[3] : at::Tensor()};
  };
  GradientCheck check;
  check.sizes = {{43, 80}};
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 6, 12}, {at::kHalf, 6, 12}};
  check.inputs = [one](const Size& size) -> std::vector<at::Tensor> {
    std::vector<at::Tensor> inputs = {at::randn({size.first, size.second})};
    for (const at::Tensor& tensor : CosSinAndScale(one.half)) inputs.push_back(tensor);
    return inputs;
  };
  check.reference = [shape, rotation_of](const std::vector<at::Tensor>& in) {
    return PlainAttention(in[0], shape, rotation_of(in));
  };
  check.op = [shape, rotation_of](const std::vector<at::Tensor>& in,
                                  const at::Tensor& dout) -> OutputAndGradients {
    const Documents documents = MakeDocuments(kOffsets);
    EXPECT_EQ(documents.longest, 37);
    const at::Tensor qkv = in[0].clone();
    RotateQueriesAndKeys(qkv, shape, rotation_of(in));
    AttentionSaved saved;
    const at::Tensor out = AttentionForward(qkv, documents, shape, &saved);
    return {out,
            {AttentionBackward(qkv, documents, shape, rotation_of(in), saved, dout), {}, {}, {}}};
  };
  return check;
}

TEST(AttentionTest, WithRopeEqualsAutogradPerDocument) {
  for (const AttentionCase& one : {AttentionCase{"plain"},
                                   {"window of one", 0, 1},
                                   {"window", 0, 9},
                                   {"window of all but one", 0, 36},
                                   {"window that bites nowhere", 0, 37},
                                   {"capped", 1.5},
                                   {"capped, window", 1.5, 9},
                                   {"part of a head", 0, 0, 3},
                                   {"neighbours", 0, 0, 4, true},
                                   {"neighbours of a part", 0, 0, 2, true},
                                   {"scaled queries", 0, 9, 3, false, true}}) {
    SCOPED_TRACE(one.name);
    CheckGradients(AttentionCheck(one));
  }
}

// Blocks of queries are as long as a block of the CPU's, or one longer.
TEST(AttentionTest, BlocksOfQueriesMakeTheWholeDocument) {
  for (const int64_t t : {1, 255, 256, 257, 600}) {
    for (const int64_t window : {1, 2, 200, 256, 300}) {
      for (const double softcap : {0.0, 2.0}) {
        SCOPED_TRACE(std::to_string(t) + " tokens, window " + std::to_string(window));
        AttentionShape shape{2, 1, 4, 0.5, softcap, window};
        const at::Tensor qkv = at::randn({t, 16}), dout = at::randn({t, 8});
        AttentionSaved saved;
        const Documents documents = MakeDocuments({0, t});
        const at::Tensor out = AttentionForward(qkv, documents, shape, &saved);
        const at::Tensor dqkv = AttentionBackward(qkv, documents, shape, {}, saved, dout);
        const at::Tensor leaf = qkv.to(at::kDouble).requires_grad_();
        const auto heads = [&](int64_t first, int64_t count) {
          return leaf.narrow(1, first * 4, count * 4).view({t, count, 4}).transpose(0, 1);
        };
        at::Tensor scores = at::matmul(heads(0, 2), heads(2, 1).transpose(1, 2)) * 0.5;
        if (softcap > 0) scores = (scores / softcap).tanh() * softcap;
        const at::Tensor seen = at::ones({t, t}, at::kBool).tril(0).triu(1 - window);
        const at::Tensor p = at::softmax(scores.masked_fill(seen.logical_not(), -1e300), -1);
        const at::Tensor expected = at::matmul(p, heads(3, 1)).transpose(0, 1).reshape({t, 8});
        expected.backward(dout.to(at::kDouble));
        EXPECT_LE(Distance(out, expected), 50 * Rounding(at::kFloat));
        EXPECT_LE(Distance(dqkv, leaf.grad()), 500 * Rounding(at::kFloat));
      }
    }
  }
}

// A map of three parts, two of them adapted, with a trained weight or a frozen one:
//   y_part = x Wᵀ + s · (x ∘ m_part) Aᵀ Bᵀ,  where m_part is what Dropped makes of ones.
GradientCheck LinearCheck(const Dropout& dropout, bool trained) {
  constexpr int64_t T = 13, I = 20, R = 3, P = 2;
  GradientCheck check;
  check.sizes = {{T, I}};
  check.dtypes = {{at::kFloat, 50, 50}, {at::kBFloat16, 4, 8}, {at::kHalf, 4, 8}};
  check.inputs = [](const Size&) -> std::vector<at::Tensor> {
    return {at::randn({T, I}), at::randn({17, I}), at::randn({P * R, I}),
            at::randn({8, R}), at::randn({6, R}),  at::randn({17})};
  };
  check.reference = [dropout](const std::vector<at::Tensor>& in) {
    std::vector<at::Tensor> columns = (in[0].mm(in[1].t()) + in[5]).split({8, 3, 6}, 1);
    for (size_t i = 0; i < P; ++i) {
      const at::Tensor mask = Dropped(at::ones({T, I}), dropout.Mask(i)).to(at::kDouble);
      const at::Tensor a = in[2].narrow(0, static_cast<int64_t>(i) * R, R);
      columns[2 * i] = columns[2 * i] + 1.7 * (in[0] * mask).mm(a.t()).mm(in[3 + i].t());
    }
    return at::cat(columns, 1);
  };
  check.op = [dropout, trained](const std::vector<at::Tensor>& in,
                                const at::Tensor& dy) -> OutputAndGradients {
    LinearLayer layer;
    layer.weight.value = in[1];
    layer.bias.value = in[5];
    for (Parameter* parameter : {&layer.weight, &layer.bias})
      if (trained) parameter->MakeTrainable();
    layer.lora_a.value = in[2];
    layer.lora_a.MakeTrainable();
    layer.scale = 1.7;
    layer.rank = R;
    layer.adapters = {{0, 8, {}}, {11, 6, {}}};
    for (size_t i = 0; i < P; ++i) {
      layer.adapters[i].b.value = in[3 + i];
      layer.adapters[i].b.MakeTrainable();
    }
    LinearSaved saved, again;
    const at::Tensor y = LinearForward(layer, in[0], dropout, &saved);
    LinearRecompute(layer, in[0], dropout, &again);
    EXPECT_TRUE(at::equal(again.t, saved.t));
    const at::Tensor dx = LinearBackward(layer, {in[0]}, saved, dropout, dy, /*needs_dx=*/true);
    return {y,
            {dx, layer.weight.grad, layer.lora_a.grad, layer.adapters[0].b.grad,
             layer.adapters[1].b.grad, layer.bias.grad}};
  };
  return check;
}

TEST(LinearTest, WithAndWithoutDropoutEqualsAutograd) {
  for (const double p : {0.0, 0.3}) {
    for (const bool trained : {false, true}) {
      SCOPED_TRACE(std::to_string(p) + (trained ? " trained" : " frozen"));
      CheckGradients(LinearCheck({p, 99, 5}, trained));
    }
  }
}

// Queries and keys of qkv [T, 80] normed in stretches as wide as the weights: head by head as Qwen3
// has them, or all as one as OLMo 2 has.
at::Tensor PlainHeadNorms(const at::Tensor& qkv, const at::Tensor& query_norm,
                          const at::Tensor& key_norm, double offset = 0) {
  const auto normed = [&](int64_t first, int64_t columns, const at::Tensor& w) {
    const at::Tensor x = qkv.narrow(1, first, columns);
    return PlainNorm(x.reshape({-1, w.size(0)}), w, offset).view(x.sizes());
  };
  return at::cat({normed(0, 48, query_norm), normed(48, 16, key_norm), qkv.narrow(1, 64, 16)}, 1);
}

// In place, and of one token too, whose heads lie side by side as they are.
TEST(HeadNormTest, EqualsAutograd) {
  for (const auto& [query_width, key_width] : {std::pair<int64_t, int64_t>{8, 8}, {48, 16}}) {
    const int64_t queries = query_width, key_columns = key_width;
    GradientCheck check;
    check.sizes = {{1, 80}, {43, 80}};
    check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 4, 8}, {at::kHalf, 4, 8}};
    check.inputs = [=](const Size& size) -> std::vector<at::Tensor> {
      return {at::randn({size.first, size.second}), at::randn({queries}), at::randn({key_columns})};
    };
    check.reference = [](const std::vector<at::Tensor>& in) {
      return PlainHeadNorms(in[0], in[1], in[2]);
    };
    check.op = [](const std::vector<at::Tensor>& in, const at::Tensor& dy) -> OutputAndGradients {
      const at::Tensor qkv = in[0].clone(), dqkv = dy.clone();
      HeadNormSaved query_saved, key_saved;
      HeadNormForward(qkv, 0, 48, in[1], kEps, &query_saved);
      HeadNormForward(qkv, 48, 16, in[2], kEps, &key_saved);
      const at::Tensor query_grad = at::zeros_like(in[1], at::kFloat);
      const at::Tensor key_grad = at::zeros_like(in[2], at::kFloat);
      HeadNormBackward(dqkv, 0, 48, in[1], query_saved, query_grad);
      HeadNormBackward(dqkv, 48, 16, in[2], key_saved, key_grad);
      return {qkv, {dqkv, query_grad, key_grad}};
    };
    CheckGradients(check);
  }
}

// What a layer has besides or instead of Llama's.
struct LayerCase {
  const char* name;
  bool biases = false, head_norms = false, input_norms = true, output_norms = false;
  NormKind norm = NormKind::kRounded;
  Activation activation = Activation::kSilu;
  double residual_multiplier = 1;
  LayerKind kind;
};

// A whole layer whose weights train. Inputs: x, its parameters in the order of the list below, cos
// and sin of full and of windowed layers. What a case lacks is an input all the same.
enum Input : size_t {
  kX,
  kInputNorm,
  kQkv,
  kQkvBias,
  kQueryNorm,
  kKeyNorm,
  kO,
  kOBias,
  kOutputNorm,
  kMlpInputNorm,
  kGateUp,
  kGateUpBias,
  kDown,
  kDownBias,
  kMlpOutputNorm,
  kCos,
  kSin,
  kLocalCos,
  kLocalSin
};

std::vector<at::Tensor> LayerInputs(const Size& size) {
  const auto [D, F] = size;
  const auto map = [](int64_t out, int64_t in) {
    return at::randn({out, in}) / std::sqrt(static_cast<double>(in));
  };
  const auto full = CosSinAndScale(), local = CosSinAndScale();
  return {at::randn({43, D}),
          at::randn({D}),
          map(80, D),
          at::randn({80}),
          at::randn({8}),
          at::randn({8}),
          map(D, 48),
          at::randn({D}),
          at::randn({D}),
          at::randn({D}),
          map(2 * F, D),
          at::randn({2 * F}),
          map(D, F),
          at::randn({D}),
          at::randn({D}),
          full[0],
          full[1],
          local[0],
          local[1]};
}

at::Tensor PlainLayer(const LayerCase& one, const std::vector<at::Tensor>& in) {
  const double offset = one.norm == NormKind::kOffset ? 1 : 0, m = one.residual_multiplier;
  const auto norm = [&](const at::Tensor& x, Input weight, bool has) {
    return has ? PlainNorm(x, in[weight], offset) : x;
  };
  const auto map = [&](const at::Tensor& x, Input weight, Input bias) {
    const at::Tensor y = x.mm(in[weight].t());
    return one.biases ? y + in[bias] : y;
  };
  AttentionShape shape = kShape;
  shape.window = one.kind.window;
  Rotation rotation;
  if (one.kind.rotates) {
    rotation.rope = one.kind.local_rope ? RopeTable{in[kLocalCos], in[kLocalSin]}
                                        : RopeTable{in[kCos], in[kSin]};
  }
  at::Tensor qkv = map(norm(in[kX], kInputNorm, one.input_norms), kQkv, kQkvBias);
  if (one.head_norms) qkv = PlainHeadNorms(qkv, in[kQueryNorm], in[kKeyNorm], offset);
  const at::Tensor attended = map(PlainAttention(qkv, shape, rotation), kO, kOBias);
  const at::Tensor h = in[kX] + m * norm(attended, kOutputNorm, one.output_norms);
  const at::Tensor gate_up = map(norm(h, kMlpInputNorm, one.input_norms), kGateUp, kGateUpBias);
  const at::Tensor product =
      one.activation == Activation::kSilu ? PlainSwiglu(gate_up) : PlainGeglu(gate_up);
  return h + m * norm(map(product, kDown, kDownBias), kMlpOutputNorm, one.output_norms);
}

// The parameters that the case has, by their inputs.
std::vector<std::pair<Input, Parameter*>> ParametersOf(const LayerCase& one, DecoderLayer& layer) {
  std::vector<std::pair<Input, Parameter*>> parameters = {{kQkv, &layer.qkv.weight},
                                                          {kO, &layer.o.weight},
                                                          {kGateUp, &layer.gate_up.weight},
                                                          {kDown, &layer.down.weight}};
  const auto add = [&](bool has, std::vector<std::pair<Input, Parameter*>> more) {
    if (has) parameters.insert(parameters.end(), more.begin(), more.end());
  };
  add(one.biases, {{kQkvBias, &layer.qkv.bias},
                   {kOBias, &layer.o.bias},
                   {kGateUpBias, &layer.gate_up.bias},
                   {kDownBias, &layer.down.bias}});
  add(one.head_norms, {{kQueryNorm, &layer.query_norm}, {kKeyNorm, &layer.key_norm}});
  add(one.input_norms,
      {{kInputNorm, &layer.attention_input_norm}, {kMlpInputNorm, &layer.mlp_input_norm}});
  add(one.output_norms,
      {{kOutputNorm, &layer.attention_output_norm}, {kMlpOutputNorm, &layer.mlp_output_norm}});
  return parameters;
}

BatchContext ContextOf(const LayerCase& one, const std::vector<at::Tensor>& in) {
  BatchContext context;
  context.documents = MakeDocuments(kOffsets);
  context.rotation.rope = {in[kCos], in[kSin]};
  context.local_rotation.rope = {in[kLocalCos], in[kLocalSin]};
  context.attention = kShape;
  context.norm = one.norm;
  context.eps = kEps;
  context.activation = one.activation;
  context.residual_multiplier = one.residual_multiplier;
  return context;
}

OutputAndGradients LayerAndGradients(const LayerCase& one, const std::vector<at::Tensor>& in,
                                     const at::Tensor& dy) {
  DecoderLayer layer;
  layer.kind = one.kind;
  const std::vector<std::pair<Input, Parameter*>> parameters = ParametersOf(one, layer);
  for (const auto& [input, parameter] : parameters) {
    parameter->value = in[input];
    parameter->MakeTrainable();
  }
  const BatchContext context = ContextOf(one, in);
  DecoderLayerSaved saved;
  OutputAndGradients result{DecoderLayerForward(layer, 0, context, in[kX], &saved), {}};
  result.gradients.resize(in.size());
  // From the input alone, the backward pass finds the same.
  DecoderLayerSaved again{.x = saved.x};
  DecoderLayerRecompute(layer, 0, context, &again);
  result.gradients[kX] = DecoderLayerBackward(layer, 0, context, saved, dy, true);
  for (const auto& [input, parameter] : parameters) {
    result.gradients[input] = parameter->grad;
    parameter->grad = parameter->grad.clone();
    parameter->grad_is_stale = true;
  }
  const at::Tensor dx = DecoderLayerBackward(layer, 0, context, again, dy, true);
  EXPECT_TRUE(at::equal(dx, result.gradients[kX]));
  for (const auto& [input, parameter] : parameters)
    EXPECT_TRUE(at::equal(parameter->FreshGrad(), result.gradients[input])) << input;
  return result;
}

GradientCheck LayerCheck(const LayerCase& one) {
  GradientCheck check;
  check.sizes = {{20, 12}, {33, 40}};
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 16, 32}, {at::kHalf, 16, 32}};
  check.inputs = LayerInputs;
  check.reference = [one](const std::vector<at::Tensor>& in) { return PlainLayer(one, in); };
  check.op = [one](const std::vector<at::Tensor>& in, const at::Tensor& dy) {
    return LayerAndGradients(one, in, dy);
  };
  return check;
}

TEST(DecoderLayerTest, EqualsAutograd) {
  const LayerCase kCases[] = {
      {.name = "Llama"},
      {.name = "Qwen3", .biases = true, .head_norms = true},
      {.name = "Gemma",
       .head_norms = true,
       .output_norms = true,
       .norm = NormKind::kOffset,
       .activation = Activation::kGelu,
       .kind = {.window = 7, .local_rope = true}},
      {.name = "OLMo", .input_norms = false, .output_norms = true, .norm = NormKind::kFloat32},
      {.name = "Granite", .biases = true, .residual_multiplier = 0.3},
      {.name = "without rotation", .kind = {.window = 9, .rotates = false}},
      {.name = "all",
       .biases = true,
       .head_norms = true,
       .output_norms = true,
       .residual_multiplier = 2},
  };
  for (const LayerCase& one : kCases) {
    SCOPED_TRACE(one.name);
    CheckGradients(LayerCheck(one));
  }
}

}  // namespace
}  // namespace ftd::engine
