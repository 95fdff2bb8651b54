// The CPU's single-pass kernels against ATen, and the loss against autograd.
// The layer's operators against autograd: gradients_test.cc.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "tests/worker/engine/gradient_check.h"
#include "worker/engine/ops/glu/glu.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/ops/loss/loss_cpu.h"
#include "worker/engine/ops/rope/rope.h"

namespace ftd::engine {
namespace {

constexpr double kFloatTolerance = 3e-6;
TEST(RopeTest, BackwardUndoesForwardAndTwinAgrees) {
  RopeConfig config;
  config.rotary_dim = 14;
  const at::Tensor frequencies = RopeFrequencies(config, /*longest=*/0);
  const at::Tensor positions = at::arange(9, at::kLong) * 3;
  const RopeTable table = MakeRopeTable(frequencies, positions, at::kFloat);
  const at::Tensor whole = at::randn({9, 84});
  const at::Tensor heads = whole.narrow(1, 0, 56).view({9, 4, 14});  // strided, as in q, k, v
  const at::Tensor original = heads.clone();

  for (const bool interleaved : {false, true}) {
    RopeTable own = table, twins = {table.cos.to(at::kDouble), table.sin.to(at::kDouble)};
    own.interleaved = twins.interleaved = interleaved;
    // ATen's twin serves every dtype but float32.
    at::Tensor twin = original.to(at::kDouble);
    ApplyRope(twin, twins, /*backward=*/false);
    ApplyRope(heads, own, /*backward=*/false);
    EXPECT_LT(Distance(heads, twin), kFloatTolerance);
    EXPECT_GT(Distance(heads, original), 0.1);
    ApplyRope(heads, own, /*backward=*/true);
    EXPECT_LT(Distance(heads, original), kFloatTolerance);
  }
}

TEST(GluTest, FarValuesStayFinite) {
  const at::Tensor gate_up =
      at::tensor({-1e4F, -100.0F, 0.0F, 100.0F, 1e4F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F}).view({1, 10});
  const at::Tensor expected = at::tensor({0.0F, 0.0F, 0.0F, 100.0F, 1e4F}).view({1, 5});
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    EXPECT_TRUE(at::allclose(GluForward(gate_up, activation), expected, 1e-6, 1e-30));
    const at::Tensor gradient = GluBackward(gate_up, at::ones({1, 5}), activation);
    EXPECT_TRUE(at::isfinite(gradient).all().item<bool>()) << gradient;
  }
}

TEST(LossTest, ChunksEqualTheWholeCrossEntropy) {
  const int64_t S = 500, D = 12, V = 300001;  // several chunks
  Parameter head;
  head.value = at::randn({V, D});
  head.MakeTrainable();
  const at::Tensor x = at::randn({S, D}), targets = at::randint(V, {S}, at::kLong);
  at::Tensor x64 = x.to(at::kDouble).requires_grad_(),
             w64 = head.value.to(at::kDouble).requires_grad_();
  const at::Tensor expected = at::cross_entropy_loss(at::mm(x64, w64.t()), targets) * (S / 900.0);
  expected.backward();
  const LossResult result = LinearCrossEntropy(head, x, targets, 900);
  EXPECT_NEAR(OnHost(result.sums, S).loss / 900, expected.item<double>(), 1e-5);
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
  EXPECT_NEAR(OnHost(result.sums, 3).loss, 400.0,
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
        EXPECT_NEAR(sums.loss, nll, 1e-6 * nll + 1e-6);
        EXPECT_EQ(sums.correct, correct);
      }
      EXPECT_LT(Distance(kernel, expected), 1e-5);
      EXPECT_LT(Distance(aten, expected), 1e-5);
    }
  }
}

// Against ATen's own cross-entropy, in float64.
TEST(LossTest, LabelSmoothingEqualsAtens) {
  const int64_t S = 70, D = 24;
  for (const int64_t V : {int64_t{3}, int64_t{1000}, int64_t{300001}}) {  // the last in chunks
    for (const double smoothing : {1e-3, 0.1, 0.9}) {
      SCOPED_TRACE(std::to_string(V) + " tokens, smoothing " + std::to_string(smoothing));
      Parameter head;
      head.value = at::randn({V, D});
      if (V < 300001) head.MakeTrainable();
      const at::Tensor x = at::randn({S, D}), targets = at::randint(V, {S}, at::kLong);
      at::Tensor x64 = x.to(at::kDouble).requires_grad_(),
                 w64 = head.value.to(at::kDouble).requires_grad_();
      const at::Tensor expected = at::cross_entropy_loss(at::mm(x64, w64.t()), targets, {},
                                                         at::Reduction::Sum, -100, smoothing);
      expected.backward();
      const LossResult result = LinearCrossEntropy(head, x, targets, 1, smoothing);
      EXPECT_NEAR(OnHost(result.sums, S).loss / expected.item<double>(), 1, 1e-6);
      EXPECT_LT(Distance(result.dx, x64.grad()), 1e-5);
      if (head.trainable()) {
        EXPECT_LT(Distance(head.grad, w64.grad()), 1e-5);
      }
      EXPECT_EQ(OnHost(CrossEntropySums(head, x, targets, smoothing), S).loss,
                OnHost(result.sums, S).loss);
      if (V == 300001) continue;
      at::Tensor kernel = at::mm(x, head.value.t()), aten = kernel.clone();
      cpu::CrossEntropyInPlace(kernel, targets, smoothing);
      CrossEntropyByAten(aten, targets, smoothing);
      EXPECT_LT(Distance(kernel, aten), 1e-5);
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
  EXPECT_TRUE(std::isnan(OnHost(result.sums, 1).loss));
}

}  // namespace
}  // namespace ftd::engine
