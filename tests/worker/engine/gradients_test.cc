// Operators and a whole layer against autograd in float64 over their definitions.

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"
#include "tests/worker/engine/gradient_check.h"
#include "worker/engine/model/decoder_layer.h"
#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/dropout/dropout.h"
#include "worker/engine/ops/glu/geglu.h"
#include "worker/engine/ops/glu/swiglu.h"
#include "worker/engine/ops/linear/linear.h"
#include "worker/engine/ops/norm/norm.h"

namespace ftd::engine {
namespace {

constexpr double kEps = 1e-5;

// The definitions, in plain operators that autograd follows. Heads [.., 2·half] are rotated as
// transformers' apply_rotary_pos_emb does: x·cos + rotate_half(x)·sin.
at::Tensor PlainNorm(const at::Tensor& x, const at::Tensor& w) {
  return w * x * (x.square().mean({-1}, true) + kEps).rsqrt();
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

const AttentionShape kShape{6, 2, 8};
const std::vector<int64_t> kOffsets = {0, 5, 6, 43};

// Causal softmax(q kᵀ / √H) v of each document, of qkv [43, 80] before its rotation.
at::Tensor PlainAttention(const at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin) {
  std::vector<at::Tensor> outs;
  for (size_t d = 0; d + 1 < kOffsets.size(); ++d) {
    const int64_t begin = kOffsets[d], t = kOffsets[d + 1] - begin;
    const auto heads = [&](int64_t first, int64_t count, bool rotated) {
      const at::Tensor x =
          qkv.narrow(0, begin, t).narrow(1, first * 8, count * 8).view({t, count, 8});
      return (rotated ? PlainRotated(x, cos.narrow(0, begin, t), sin.narrow(0, begin, t)) : x)
          .transpose(0, 1)
          .repeat_interleave(6 / count, 0);
    };
    const at::Tensor q = heads(0, 6, true), k = heads(6, 2, true), v = heads(8, 2, false);
    const at::Tensor mask = at::full({t, t}, -1e300, at::kDouble).triu(1);
    const at::Tensor p = at::softmax(at::matmul(q, k.transpose(1, 2)) / std::sqrt(8.0) + mask, -1);
    outs.push_back(at::matmul(p, v).transpose(0, 1).reshape({t, 48}));
  }
  return at::cat(outs);
}

// With `residual`, x also goes past the norm, as in a layer: its second gradient is added to dx.
GradientCheck NormCheck(bool residual) {
  GradientCheck check;
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 4, 4}, {at::kHalf, 4, 4}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    return {at::randn({size.first, size.second}), at::randn({size.second})};
  };
  check.reference = [residual](const std::vector<at::Tensor>& in) {
    const at::Tensor y = PlainNorm(in[0], in[1]);
    return residual ? at::stack({y, in[0]}) : y;
  };
  check.op = [residual](const std::vector<at::Tensor>& in,
                        const at::Tensor& dy) -> OutputAndGradients {
    NormSaved saved;
    const at::Tensor y = RmsNormForward(in[0], in[1], kEps, &saved);
    EXPECT_TRUE(at::equal(RmsNormRecompute(in[0], in[1], saved), y));
    const at::Tensor w_grad = at::ones_like(in[1], at::kFloat);  // adds to what is there
    const at::Tensor dx = RmsNormBackward(in[0], in[1], saved, residual ? dy[0] : dy,
                                          residual ? dy[1] : at::Tensor(), w_grad);
    return {residual ? at::stack({y, in[0]}) : y, {dx, w_grad - 1}};
  };
  return check;
}

TEST(RmsNormTest, EqualsAutograd) {
  CheckGradients(NormCheck(/*residual=*/false));
  CheckGradients(NormCheck(/*residual=*/true));
}

// float64 goes through ATen's twin.
void CheckGlu(at::Tensor (*reference)(const at::Tensor&), at::Tensor (*forward)(const at::Tensor&),
              at::Tensor (*backward)(const at::Tensor&, const at::Tensor&)) {
  GradientCheck check;
  check.dtypes = {
      {at::kFloat, 50, 50}, {at::kBFloat16, 4, 4}, {at::kHalf, 4, 4}, {at::kDouble, 9000, 9000}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    return {at::randn({size.first, 2 * size.second})};
  };
  check.reference = [=](const std::vector<at::Tensor>& in) { return reference(in[0]); };
  check.op = [=](const std::vector<at::Tensor>& in, const at::Tensor& da) -> OutputAndGradients {
    return {forward(in[0]), {backward(in[0], da)}};
  };
  CheckGradients(check);
}

TEST(SwigluTest, EqualsAutograd) { CheckGlu(PlainSwiglu, SwigluForward, SwigluBackward); }

// GELU's tanh approximation as Hendrycks & Gimpel 2016 write it.
at::Tensor PlainGeglu(const at::Tensor& gate_up) {
  const auto halves = gate_up.chunk(2, 1);
  const at::Tensor& g = halves[0];
  const at::Tensor inner = std::sqrt(2 / M_PI) * (g + 0.044715 * g.pow(3));
  return 0.5 * g * (1 + inner.tanh()) * halves[1];
}

TEST(GegluTest, EqualsAutograd) { CheckGlu(PlainGeglu, GegluForward, GegluBackward); }

std::vector<at::Tensor> CosAndSin() {
  const at::Tensor angles = at::randn({43, 1, 4});
  return {angles.cos(), angles.sin()};
}

TEST(AttentionTest, WithRopeEqualsAutogradPerDocument) {
  GradientCheck check;
  check.sizes = {{43, 80}};
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 4, 8}, {at::kHalf, 4, 8}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    const auto table = CosAndSin();
    return {at::randn({size.first, size.second}), table[0], table[1]};
  };
  check.reference = [](const std::vector<at::Tensor>& in) {
    return PlainAttention(in[0], in[1], in[2]);
  };
  check.op = [](const std::vector<at::Tensor>& in, const at::Tensor& dout) -> OutputAndGradients {
    const Documents documents = MakeDocuments(kOffsets);
    EXPECT_EQ(documents.longest, 37);
    const at::Tensor qkv = in[0].clone();
    const RopeTable rope{in[1], in[2]};
    RotateQueriesAndKeys(qkv, kShape, rope);
    AttentionSaved saved;
    const at::Tensor out = AttentionForward(qkv, documents, kShape, &saved);
    return {out, {AttentionBackward(qkv, documents, kShape, rope, saved, dout), {}, {}}};
  };
  CheckGradients(check);
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

// Queries and keys of qkv [T, 80] normed head by head, as Qwen3 has them.
at::Tensor PlainHeadNorms(const at::Tensor& qkv, const at::Tensor& query_norm,
                          const at::Tensor& key_norm) {
  const auto normed = [&](int64_t first, int64_t heads, const at::Tensor& w) {
    const at::Tensor columns = qkv.narrow(1, 8 * first, 8 * heads);
    return PlainNorm(columns.reshape({-1, 8}), w).view(columns.sizes());
  };
  return at::cat({normed(0, 6, query_norm), normed(6, 2, key_norm), qkv.narrow(1, 64, 16)}, 1);
}

// In place, and of one token too, whose heads lie side by side as they are.
TEST(HeadNormTest, EqualsAutograd) {
  GradientCheck check;
  check.sizes = {{1, 80}, {43, 80}};
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 4, 8}, {at::kHalf, 4, 8}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    return {at::randn({size.first, size.second}), at::randn({8}), at::randn({8})};
  };
  check.reference = [](const std::vector<at::Tensor>& in) {
    return PlainHeadNorms(in[0], in[1], in[2]);
  };
  check.op = [](const std::vector<at::Tensor>& in, const at::Tensor& dy) -> OutputAndGradients {
    const at::Tensor qkv = in[0].clone(), dqkv = dy.clone();
    HeadNormSaved queries, keys;
    HeadNormForward(qkv, 0, 6, in[1], kEps, &queries);
    HeadNormForward(qkv, 6, 2, in[2], kEps, &keys);
    const at::Tensor query_grad = at::zeros_like(in[1], at::kFloat);
    const at::Tensor key_grad = at::zeros_like(in[2], at::kFloat);
    HeadNormBackward(dqkv, 0, 6, in[1], queries, query_grad);
    HeadNormBackward(dqkv, 6, 2, in[2], keys, key_grad);
    return {qkv, {dqkv, query_grad, key_grad}};
  };
  CheckGradients(check);
}

// A whole layer whose weights train: inputs x, two norms, four maps, cos and sin; of Qwen3's kind
// also the biases of two maps, and the norms of queries and keys.
GradientCheck LayerCheck(bool qwen3) {
  GradientCheck check;
  check.sizes = {{20, 12}, {33, 40}};
  check.dtypes = {{at::kFloat, 50, 500}, {at::kBFloat16, 16, 32}, {at::kHalf, 16, 32}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    const auto [D, F] = size;
    const auto map = [](int64_t out, int64_t in) {
      return at::randn({out, in}) / std::sqrt(static_cast<double>(in));
    };
    const auto table = CosAndSin();
    return {at::randn({43, D}), at::randn({D}), map(80, D),      map(D, 48),     at::randn({D}),
            map(2 * F, D),      map(D, F),      at::randn({80}), at::randn({D}), at::randn({8}),
            at::randn({8}),     table[0],       table[1]};
  };
  check.reference = [qwen3](const std::vector<at::Tensor>& in) {
    at::Tensor qkv = PlainNorm(in[0], in[1]).mm(in[2].t());
    if (qwen3) qkv = PlainHeadNorms(qkv + in[7], in[9], in[10]);
    at::Tensor h = in[0] + PlainAttention(qkv, in[11], in[12]).mm(in[3].t());
    if (qwen3) h = h + in[8];
    return h + PlainSwiglu(PlainNorm(h, in[4]).mm(in[5].t())).mm(in[6].t());
  };
  check.op = [qwen3](const std::vector<at::Tensor>& in,
                     const at::Tensor& dy) -> OutputAndGradients {
    DecoderLayer layer;
    Parameter* const parameters[] = {
        &layer.input_norm,     &layer.qkv.weight,  &layer.o.weight, &layer.post_attention_norm,
        &layer.gate_up.weight, &layer.down.weight, &layer.qkv.bias, &layer.o.bias,
        &layer.query_norm,     &layer.key_norm};
    for (size_t i = 0; i < (qwen3 ? 10 : 6); ++i) {
      parameters[i]->value = in[i + 1];
      parameters[i]->MakeTrainable();
    }
    const BatchContext context{MakeDocuments(kOffsets), {in[11], in[12]}, kShape, kEps};
    DecoderLayerSaved saved;
    OutputAndGradients result{DecoderLayerForward(layer, 0, context, in[0], &saved), {}};
    result.gradients.push_back(DecoderLayerBackward(layer, 0, context, saved, dy, true));
    for (const Parameter* parameter : parameters) result.gradients.push_back(parameter->grad);
    result.gradients.resize(in.size());  // none of cos and sin
    return result;
  };
  return check;
}

TEST(DecoderLayerTest, EqualsAutograd) {
  for (const bool qwen3 : {false, true}) {
    SCOPED_TRACE(qwen3 ? "Qwen3" : "Llama");
    CheckGradients(LayerCheck(qwen3));
  }
}

}  // namespace
}  // namespace ftd::engine
