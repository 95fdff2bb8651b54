// The gated delta rule and attention's output gate against autograd in float64 over their
// definitions: the rule token by token, as its recurrence is written, where the engine takes
// chunks.

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"
#include "tests/worker/engine/gradient_check.h"
#include "worker/engine/ops/attention/gate.h"
#include "worker/engine/ops/delta/delta.h"

namespace ftd::engine {
namespace {

constexpr double kDeltaEps = 1e-5;

// Documents shorter than a chunk, of a chunk, of one token more, and of several, in this order.
const std::vector<int64_t> kDeltaOffsets = {0, 5, 6, 70, 135, 285};

at::Tensor Positions() {
  std::vector<at::Tensor> parts;
  for (size_t d = 0; d + 1 < kDeltaOffsets.size(); ++d)
    parts.push_back(at::arange(kDeltaOffsets[d + 1] - kDeltaOffsets[d]));
  return at::cat(parts);
}

enum DeltaInput : size_t { kProjected, kConv, kDecay, kStepBias, kNorm };

std::vector<at::Tensor> InputsOf(const DeltaShape& s) {
  const int64_t features = s.channels() + s.values() + 2 * s.value_heads;
  return {at::randn({kDeltaOffsets.back(), features}), at::randn({s.channels(), 1, s.taps}) * 0.5,
          at::randn({s.value_heads}), at::randn({s.value_heads}), at::randn({s.value_dim})};
}

// Σ_s w_{taps−1−s} x_{t−s} of one document [t, channels], then the activation.
at::Tensor PlainConv(const at::Tensor& x, const at::Tensor& w, Activation activation) {
  const int64_t taps = w.size(2), t = x.size(0);
  const at::Tensor padded = at::cat({at::zeros({taps - 1, x.size(1)}, x.options()), x});
  at::Tensor y = at::zeros_like(x);
  for (int64_t tap = 0; tap < taps; ++tap)
    y = y + padded.narrow(0, tap, t) * w.select(2, tap).select(1, 0);
  return activation == Activation::kSilu ? at::silu(y) : at::gelu(y, "tanh");
}

// o_t = S_tᵀ q_t with S_t = e^g_t S_{t−1} + k_t (β_t (v_t − e^g_t S_{t−1}ᵀ k_t))ᵀ, of one document:
// q, k [t, N, Hk], v [t, N, Hv], g, β [t, N].
at::Tensor PlainRule(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& g, const at::Tensor& beta) {
  at::Tensor S = at::zeros({q.size(1), q.size(2), v.size(2)}, q.options());
  std::vector<at::Tensor> outs;
  for (int64_t t = 0; t < q.size(0); ++t) {
    S = S * g[t].exp().view({-1, 1, 1});
    const at::Tensor read = (S * k[t].unsqueeze(-1)).sum(1);
    const at::Tensor written = (v[t] - read) * beta[t].unsqueeze(-1);
    S = S + k[t].unsqueeze(-1) * written.unsqueeze(1);
    outs.push_back((S * q[t].unsqueeze(-1)).sum(1));
  }
  return at::stack(outs);
}

at::Tensor OfLengthOne(const at::Tensor& x) {
  return x * (x.square().sum({-1}, true) + 1e-6).rsqrt();
}

at::Tensor PlainDelta(const std::vector<at::Tensor>& in, const DeltaShape& s,
                      Activation activation) {
  std::vector<at::Tensor> outs;
  for (size_t d = 0; d + 1 < kDeltaOffsets.size(); ++d) {
    const at::Tensor x =
        in[kProjected].narrow(0, kDeltaOffsets[d], kDeltaOffsets[d + 1] - kDeltaOffsets[d]);
    const auto parts =
        x.split_with_sizes({s.channels(), s.values(), s.value_heads, s.value_heads}, 1);
    const auto qkv = PlainConv(parts[0], in[kConv], activation)
                         .split_with_sizes({s.keys(), s.keys(), s.values()}, 1);
    const int64_t sharers = s.value_heads / s.key_heads;
    const auto keys = [&](const at::Tensor& of) {
      return OfLengthOne(of.view({-1, s.key_heads, s.key_dim})).repeat_interleave(sharers, 1);
    };
    const at::Tensor g = -in[kDecay].exp() * at::softplus(parts[3] + in[kStepBias]);
    const at::Tensor o =
        PlainRule(keys(qkv[0]) / std::sqrt(s.key_dim), keys(qkv[1]),
                  qkv[2].view({-1, s.value_heads, s.value_dim}), g, at::sigmoid(parts[2]));
    const at::Tensor normed = o * (o.square().mean({-1}, true) + kDeltaEps).rsqrt() * in[kNorm];
    outs.push_back(normed.flatten(1) * at::silu(parts[1]));
  }
  return at::cat(outs);
}

OutputAndGradients DeltaAndGradients(const std::vector<at::Tensor>& in, const DeltaShape& shape,
                                     Activation activation, const at::Tensor& dy) {
  DeltaWeights weights;
  Parameter* parameters[] = {&weights.conv, &weights.decay, &weights.step_bias, &weights.norm};
  for (size_t i = 0; i < 4; ++i) {
    parameters[i]->value = in[kConv + i];
    parameters[i]->MakeTrainable();
  }
  const DeltaContext context{shape, MakeChunks(MakeDocuments(kDeltaOffsets), Positions()),
                             kDeltaEps, activation};
  DeltaSaved saved;
  OutputAndGradients result{DeltaForward(in[kProjected], weights, context, &saved), {}};
  EXPECT_TRUE(at::equal(DeltaOutput(in[kProjected], weights, context, saved), result.y));
  result.gradients.push_back(DeltaBackward(in[kProjected], weights, context, saved, dy));
  for (const Parameter* parameter : parameters) result.gradients.push_back(parameter->grad);
  return result;
}

TEST(DeltaTest, EqualsAutogradOverTheRecurrence) {
  struct {
    const char* name;
    DeltaShape shape;
    Activation activation = Activation::kSilu;
  } const kCases[] = {
      {"shared keys", {2, 6, 8, 12, 4}},
      {"a key head to each value head", {3, 3, 12, 8, 3}},
      {"one tap, GELU", {1, 2, 6, 4, 1}, Activation::kGelu},
      {"more taps than tokens", {1, 1, 8, 8, 9}},
  };
  for (const auto& one : kCases) {
    SCOPED_TRACE(one.name);
    GradientCheck check;
    check.sizes = {{1, 1}};
    check.dtypes = {{at::kFloat, 100, 1000}, {at::kBFloat16, 8, 24}, {at::kHalf, 8, 24}};
    check.inputs = [&](const Size&) { return InputsOf(one.shape); };
    check.reference = [&](const std::vector<at::Tensor>& in) {
      return PlainDelta(in, one.shape, one.activation);
    };
    check.op = [&](const std::vector<at::Tensor>& in, const at::Tensor& dy) {
      return DeltaAndGradients(in, one.shape, one.activation, dy);
    };
    CheckGradients(check);
  }
}

// What a document makes does not depend on the documents beside it, nor on their order.
TEST(DeltaTest, DocumentsDoNotSeeEachOther) {
  const DeltaShape shape{2, 4, 8, 8, 4};
  const std::vector<at::Tensor> in = InputsOf(shape);
  DeltaWeights weights;
  weights.conv.value = in[kConv];
  weights.decay.value = in[kDecay];
  weights.step_bias.value = in[kStepBias];
  weights.norm.value = in[kNorm];
  const auto of = [&](const at::Tensor& projected, const std::vector<int64_t>& offsets,
                      const at::Tensor& positions) {
    DeltaSaved saved;
    const DeltaContext context{shape, MakeChunks(MakeDocuments(offsets), positions), kDeltaEps};
    return DeltaForward(projected, weights, context, &saved);
  };
  const at::Tensor together = of(in[kProjected], kDeltaOffsets, Positions());
  for (size_t d = 0; d + 1 < kDeltaOffsets.size(); ++d) {
    const int64_t t = kDeltaOffsets[d + 1] - kDeltaOffsets[d];
    const at::Tensor alone =
        of(in[kProjected].narrow(0, kDeltaOffsets[d], t).contiguous(), {0, t}, at::arange(t));
    EXPECT_LE(Distance(together.narrow(0, kDeltaOffsets[d], t), alone), 1e-6) << d;
  }
}

// out ∘ σ(gate), and the way of a projected tensor to its parts and back.
TEST(GateTest, EqualsAutograd) {
  const AttentionShape shape{4, 2, 8, 1};
  GradientCheck check;
  check.sizes = {{7, 1}};
  check.dtypes = {{at::kFloat, 10, 10}, {at::kBFloat16, 4, 6}, {at::kHalf, 4, 6}};
  check.inputs = [](const Size& size) -> std::vector<at::Tensor> {
    return {at::randn({size.first, 96})};
  };
  // Queries take the place of attention's output; keys and values stand beside them.
  check.reference = [](const std::vector<at::Tensor>& in) {
    const auto parts = in[0].split_with_sizes({64, 32}, 1);
    const auto heads = parts[0].unflatten(1, {4, 2, 8});
    return at::cat({(heads.select(2, 0) * at::sigmoid(heads.select(2, 1))).flatten(1), parts[1]},
                   1);
  };
  check.op = [&](const std::vector<at::Tensor>& in, const at::Tensor& dy) -> OutputAndGradients {
    const QkvAndGate parts = SplitGate(in[0], shape);
    const at::Tensor out = parts.qkv.narrow(1, 0, 32);
    const at::Tensor y = at::cat({GateForward(out, parts.gate), parts.qkv.narrow(1, 32, 32)}, 1);
    QkvAndGate grads{dy.clone(), {}};
    grads.qkv.narrow(1, 0, 32).copy_(
        GateBackward(out, parts.gate, dy.narrow(1, 0, 32), &grads.gate));
    return {y, {SplitGateBackward(grads, shape)}};
  };
  CheckGradients(check);
}

}  // namespace
}  // namespace ftd::engine
