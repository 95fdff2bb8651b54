// The CPU's single-pass kernels against ATen, over odd sizes; attention and the layer's pieces
// against autograd.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/dropout/dropout.h"
#include "worker/engine/ops/glu/swiglu.h"
#include "worker/engine/ops/glu/swiglu_cpu.h"
#include "worker/engine/ops/linear/linear.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/ops/loss/loss_cpu.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/ops/norm/norm_cpu.h"
#include "worker/engine/ops/rope/rope.h"
#include "worker/engine/ops/rope/rope_cpu.h"

namespace ftd::engine {
namespace {

// Largest difference relative to the largest value.
double Distance(const at::Tensor& a, const at::Tensor& b) {
  const double scale = b.abs().max().item<double>();
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() /
         (scale > 0 ? scale : 1);
}

constexpr double kFloatTolerance = 3e-6;

const std::pair<int64_t, int64_t> kSizes[] = {{1, 2},  {3, 15},   {7, 16},
                                              {5, 17}, {64, 576}, {33, 1000}};

TEST(RmsNormTest, ForwardAndBackwardEqualAutograd) {
  for (const auto& [T, D] : kSizes) {
    SCOPED_TRACE(D);
    at::manual_seed(static_cast<uint64_t>(D));
    const at::Tensor x = at::randn({T, D}), w = at::randn({D}), dy = at::randn({T, D});
    at::Tensor x64 = x.to(at::kDouble).requires_grad_(), w64 = w.to(at::kDouble).requires_grad_();
    const at::Tensor y64 = w64 * x64 * (x64.square().mean({-1}, true) + 1e-5).rsqrt();
    y64.backward(dy.to(at::kDouble));

    NormSaved saved;
    at::Tensor w_grad = at::ones({D});
    EXPECT_LT(Distance(RmsNormForward(x, w, 1e-5, &saved), y64.detach()), kFloatTolerance);
    EXPECT_LT(Distance(RmsNormRecompute(x, w, saved), y64.detach()), kFloatTolerance);
    EXPECT_LT(Distance(RmsNormBackward(x, w, saved, dy, {}, w_grad), x64.grad()),
              10 * kFloatTolerance);
    EXPECT_LT(Distance(w_grad - 1, w64.grad()), 10 * kFloatTolerance) << "adds to what is there";
    const at::Tensor residual = at::randn({T, D});
    EXPECT_LT(Distance(RmsNormBackward(x, w, saved, dy, residual, {}), x64.grad() + residual),
              10 * kFloatTolerance);
  }
}

TEST(RopeTest, BackwardUndoesForwardAndTwinAgrees) {
  ModelConfig config;
  config.head_dim = 14;
  const at::Tensor frequencies = RopeFrequencies(config);
  const at::Tensor positions = at::arange(9, at::kLong) * 3;
  const RopeTable table = MakeRopeTable(frequencies, positions, at::kFloat);
  const at::Tensor whole = at::randn({9, 84});
  const at::Tensor heads = whole.narrow(1, 0, 56).view({9, 4, 14});  // strided, as in q, k, v
  const at::Tensor original = heads.clone();

  // ATen's twin serves every dtype but float32.
  at::Tensor twin = original.to(at::kDouble);
  ApplyRope(twin, {table.cos.to(at::kDouble), table.sin.to(at::kDouble)}, /*backward=*/false);
  ApplyRope(heads, table, /*backward=*/false);
  EXPECT_LT(Distance(heads, twin), kFloatTolerance);
  EXPECT_GT(Distance(heads, original), 0.1);
  ApplyRope(heads, table, /*backward=*/true);
  EXPECT_LT(Distance(heads, original), kFloatTolerance);
}

TEST(SwigluTest, BackwardEqualsAutograd) {
  for (const auto& [T, F] : kSizes) {
    const at::Tensor gate_up = at::randn({T, 2 * F}), da = at::randn({T, F});
    at::Tensor leaf = gate_up.to(at::kDouble).requires_grad_();
    const at::Tensor a64 = at::silu(leaf.narrow(1, 0, F)) * leaf.narrow(1, F, F);
    a64.backward(da.to(at::kDouble));
    EXPECT_LT(Distance(SwigluForward(gate_up), a64.detach()), kFloatTolerance);
    EXPECT_LT(Distance(SwigluBackward(gate_up, da), leaf.grad()), kFloatTolerance);
    const at::Tensor twin = gate_up.to(at::kDouble);  // ATen's
    EXPECT_LT(Distance(SwigluForward(twin), a64.detach()), 1e-12);
    EXPECT_LT(Distance(SwigluBackward(twin, da.to(at::kDouble)), leaf.grad()), 1e-12);
  }
}

TEST(SwigluTest, FarValuesStayFinite) {
  const at::Tensor gate_up =
      at::tensor({-1e4F, -100.0F, 0.0F, 100.0F, 1e4F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F}).view({1, 10});
  const at::Tensor expected = at::tensor({0.0F, 0.0F, 0.0F, 100.0F, 1e4F}).view({1, 5});
  EXPECT_TRUE(at::allclose(SwigluForward(gate_up), expected, 1e-6, 1e-30));
  EXPECT_TRUE(at::isfinite(SwigluBackward(gate_up, at::ones({1, 5}))).all().item<bool>());
}

// Heads [.., 2·half] rotated as transformers' apply_rotary_pos_emb does: x·cos +
// rotate_half(x)·sin.
at::Tensor RotatedAsHuggingFace(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor turned = at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
  return x * at::cat({cos, cos}, -1) + turned * at::cat({sin, sin}, -1);
}

TEST(AttentionTest, WithRopeEqualsPlainSoftmaxPerDocument) {
  const AttentionShape shape{6, 2, 8};
  const std::vector<int64_t> offsets = {0, 5, 6, 43};
  const at::Tensor plain = at::randn({43, 80}), dout = at::randn({43, 48});
  const at::Tensor angles = at::randn({43, 1, 4});
  const RopeTable rope{angles.cos(), angles.sin()};
  at::Tensor leaf = plain.to(at::kDouble).requires_grad_();
  const at::Tensor cos = rope.cos.to(at::kDouble), sin = rope.sin.to(at::kDouble);
  std::vector<at::Tensor> outs;
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    const int64_t begin = offsets[d], t = offsets[d + 1] - begin;
    const auto heads = [&](int64_t first, int64_t count, bool rotated) {
      const at::Tensor x =
          leaf.narrow(0, begin, t).narrow(1, first * 8, count * 8).view({t, count, 8});
      return (rotated ? RotatedAsHuggingFace(x, cos.narrow(0, begin, t), sin.narrow(0, begin, t))
                      : x)
          .transpose(0, 1)
          .repeat_interleave(6 / count, 0);
    };
    const at::Tensor q = heads(0, 6, true), k = heads(6, 2, true), v = heads(8, 2, false);
    const at::Tensor mask = at::full({t, t}, -1e300, at::kDouble).triu(1);
    const at::Tensor p = at::softmax(at::matmul(q, k.transpose(1, 2)) / std::sqrt(8.0) + mask, -1);
    outs.push_back(at::matmul(p, v).transpose(0, 1).reshape({t, 48}));
  }
  const at::Tensor expected = at::cat(outs);
  expected.backward(dout.to(at::kDouble));

  const Documents documents = MakeDocuments(offsets);
  EXPECT_EQ(documents.longest, 37);
  const at::Tensor qkv = plain.clone();
  RotateQueriesAndKeys(qkv, shape, rope);
  AttentionSaved saved;
  EXPECT_LT(Distance(AttentionForward(qkv, documents, shape, &saved), expected.detach()),
            kFloatTolerance);
  EXPECT_LT(Distance(AttentionBackward(qkv, documents, shape, rope, saved, dout), leaf.grad()),
            10 * kFloatTolerance);
}

// A map of three parts, two of them adapted, with a trained weight or a frozen one, against
// autograd over y_part = x Wᵀ + s · (x ∘ m_part) Aᵀ Bᵀ, where m_part is what Dropped makes of ones.
TEST(LinearTest, WithAndWithoutDropoutEqualsAutograd) {
  const int64_t T = 13, I = 20, R = 3, P = 2;
  for (const double p : {0.0, 0.3}) {
    for (const bool trained : {false, true}) {
      SCOPED_TRACE(std::to_string(p) + (trained ? " trained" : " frozen"));
      LinearLayer layer;
      layer.weight.value = at::randn({17, I});
      if (trained) layer.weight.MakeTrainable(true);
      layer.lora_a.value = at::randn({P * R, I});
      layer.lora_a.MakeTrainable(true);
      layer.scale = 1.7;
      layer.rank = R;
      layer.adapters = {{0, 8, {}}, {11, 6, {}}};
      for (Adapter& adapter : layer.adapters) {
        adapter.b.value = at::randn({adapter.count, R});
        adapter.b.MakeTrainable(true);
      }
      const Dropout dropout{p, 99, 5};
      const at::Tensor x = at::randn({T, I}), dy = at::randn({T, 17});

      const auto leaf = [](const at::Tensor& t) { return t.to(at::kDouble).requires_grad_(); };
      at::Tensor x64 = leaf(x), w64 = leaf(layer.weight.value), a64 = leaf(layer.lora_a.value);
      std::vector<at::Tensor> b64, columns = x64.mm(w64.t()).split({8, 3, 6}, 1);
      for (size_t i = 0; i < P; ++i) {
        b64.push_back(leaf(layer.adapters[i].b.value));
        const at::Tensor mask = Dropped(at::ones({T, I}), dropout.Mask(i)).to(at::kDouble);
        const at::Tensor a = a64.narrow(0, static_cast<int64_t>(i) * R, R);
        columns[2 * i] = columns[2 * i] + 1.7 * (x64 * mask).mm(a.t()).mm(b64[i].t());
      }
      const at::Tensor y64 = at::cat(columns, 1);
      y64.backward(dy.to(at::kDouble));

      LinearSaved saved, again;
      EXPECT_LT(Distance(LinearForward(layer, x, dropout, &saved), y64.detach()), kFloatTolerance);
      LinearRecompute(layer, x, dropout, &again);
      EXPECT_TRUE(at::equal(again.t, saved.t));
      const at::Tensor dx = LinearBackward(layer, {x}, saved, dropout, dy, /*needs_dx=*/true);
      EXPECT_LT(Distance(dx, x64.grad()), kFloatTolerance);
      EXPECT_LT(Distance(layer.lora_a.grad, a64.grad()), kFloatTolerance);
      for (size_t i = 0; i < P; ++i)
        EXPECT_LT(Distance(layer.adapters[i].b.grad, b64[i].grad()), kFloatTolerance);
      if (trained) {
        EXPECT_LT(Distance(layer.weight.grad, w64.grad()), kFloatTolerance);
      }
    }
  }
}

TEST(LossTest, ChunksEqualTheWholeCrossEntropy) {
  const int64_t S = 500, D = 12, V = 300001;  // several chunks
  Parameter head;
  head.value = at::randn({V, D});
  head.MakeTrainable(true);
  const at::Tensor x = at::randn({S, D}), targets = at::randint(V, {S}, at::kLong);
  at::Tensor x64 = x.to(at::kDouble).requires_grad_(),
             w64 = head.value.to(at::kDouble).requires_grad_();
  const at::Tensor expected = at::cross_entropy_loss(at::mm(x64, w64.t()), targets) * (S / 900.0);
  expected.backward();
  const LossResult result = LinearCrossEntropy(head, x, targets, 900);
  EXPECT_NEAR(OnHost(result.sums, S).nll / 900, expected.item<double>(), 1e-5);
  // A library may add the 300,001 products of an element up one after another, and is off by 1e-4
  // then, as MKL is with MKL_CBWR=COMPATIBLE. So: no farther than twice what plain ATen is.
  at::Tensor dlogits = at::softmax(at::mm(x, head.value.t()), 1);
  dlogits.scatter_add_(1, targets.unsqueeze(1), at::full({S, 1}, -1.0)).div_(900);
  const double plain = Distance(at::mm(dlogits, head.value), x64.grad());
  EXPECT_LT(Distance(result.dx, x64.grad()), std::max(1e-5, 2 * plain)) << plain;
  EXPECT_LT(Distance(head.grad, w64.grad()), 1e-5);
}

TEST(LossTest, UnlikelyTargetsAndLargeLogitsStayExact) {
  Parameter head;
  head.value = at::eye(3) * 200.0;
  const at::Tensor x = at::eye(3), targets = at::tensor({1, 1, 0}, at::kLong);
  const LossResult result = LinearCrossEntropy(head, x, targets, 3);
  EXPECT_NEAR(OnHost(result.sums, 3).nll, 400.0,
              1e-3);  // two rows that are surely wrong by 200 nats, one that is right
  EXPECT_TRUE(at::isfinite(result.dx).all().item<bool>());
}

// Both implementations on float32 against the definitions in float64.
TEST(LossTest, EntropyAndAccuracyOfBothImplementations) {
  for (const auto& [S, V] : {std::pair<int64_t, int64_t>{9, 5}, {40, 1000}, {7, 9001}}) {
    for (const double spread : {0.01, 1.0, 10.0, 300.0}) {
      SCOPED_TRACE(std::to_string(V) + " entries, spread " + std::to_string(spread));
      const at::Tensor logits = at::randn({S, V}) * spread;
      at::Tensor targets = at::randint(V, {S}, at::kLong);
      targets.narrow(0, 0, S / 2).copy_(logits.narrow(0, 0, S / 2).argmax(1));
      const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 1);
      const double entropy = -(log_p.exp() * log_p).sum().item<double>();
      const double nll = -log_p.gather(1, targets.unsqueeze(1)).sum().item<double>();
      const int64_t correct = log_p.argmax(1).eq(targets).sum().item<int64_t>();
      const at::Tensor expected = log_p.exp() - at::one_hot(targets, V).to(at::kDouble);
      at::Tensor kernel = logits.clone(), aten = logits.clone();
      const LossSums by_kernel = OnHost(cpu::CrossEntropyInPlace(kernel, targets), S);
      const LossSums by_aten = OnHost(CrossEntropyByAten(aten, targets), S);
      for (const LossSums& sums : {by_kernel, by_aten}) {
        EXPECT_NEAR(sums.entropy, entropy, 1e-5 * static_cast<double>(S));
        EXPECT_NEAR(sums.nll, nll, 1e-6 * nll + 1e-6);
        EXPECT_EQ(sums.correct, correct);
      }
      EXPECT_LT(Distance(kernel, expected), 1e-5);
      EXPECT_LT(Distance(aten, expected), 1e-5);
    }
  }
}

TEST(LossTest, OfEquallyLikelyTokensTheFirstCounts) {
  const at::Tensor logits = at::tensor({1.0F, 3.0F, 3.0F}).repeat({3, 1});
  const at::Tensor targets = at::arange(3, at::kLong);
  at::Tensor kernel = logits.clone(), aten = logits.clone();
  EXPECT_EQ(OnHost(cpu::CrossEntropyInPlace(kernel, targets), 3).correct, 1);
  EXPECT_EQ(OnHost(CrossEntropyByAten(aten, targets), 3).correct, 1);
}

TEST(LossTest, NotANumberIsSeen) {
  Parameter head;
  head.value = at::full({4, 2}, std::nan(""));
  const LossResult result =
      LinearCrossEntropy(head, at::ones({1, 2}), at::zeros({1}, at::kLong), 1);
  EXPECT_TRUE(std::isnan(OnHost(result.sums, 1).nll));
}

}  // namespace
}  // namespace ftd::engine
