// The engine's parts on the GPU against the same on the CPU; and kernel_checks.h's device.
// Without a GPU all of them are skipped.

#include <ATen/ATen.h>

#include <array>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/engine/kernel_device.h"
#include "worker/engine/device/device.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/dropout/dropout_cuda.h"
#include "worker/engine/ops/glu/glu_cuda.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/ops/loss/loss_cuda.h"
#include "worker/engine/ops/nf4/nf4.h"
#include "worker/engine/ops/nf4/nf4_cuda.h"
#include "worker/engine/ops/norm/norm_cuda.h"
#include "worker/engine/ops/rope/rope_cuda.h"
#include "worker/engine/train.h"

namespace ftd::engine {

bool HasKernelDevice(const char** why) {
  InitializeProcess();
  const c10::Device device = TrainingDevice();
  *why = device.is_cuda() ? "none of the kernels' images runs on this GPU" : "no GPU";
  return cuda::Serves(device);
}

at::Tensor OnKernelDevice(const at::Tensor& tensor) {
  return tensor.to(TrainingDevice(), /*non_blocking=*/false, /*copy=*/true).contiguous();
}

namespace {

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    InitializeProcess();
    device_ = TrainingDevice();
    if (!device_.is_cuda()) GTEST_SKIP() << "no GPU";
    // Else all that is said here would be said of ATen's twins.
    ASSERT_TRUE(cuda::Serves(device_)) << "none of the kernels' images runs on this GPU";
    at::manual_seed(1);
  }

  c10::Device device_ = c10::kCPU;
};

bool Same(const at::Tensor& device, const at::Tensor& host) {
  return at::equal(device.cpu(), host);
}

double RelativeNorm(const at::Tensor& device, const at::Tensor& host) {
  const at::Tensor difference = device.cpu().to(at::kDouble) - host.to(at::kDouble);
  return (difference.norm() / host.to(at::kDouble).norm()).item<double>();
}

TEST_F(GpuTest, QuantisedMatrixIsTheCpus) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor weight = (at::randn({1023, 2049}) * 0.02).to(dtype);
    const Nf4Tensor host = QuantizeNf4(weight, dtype);
    const Nf4Tensor device = QuantizeNf4(weight, dtype, device_);
    ASSERT_TRUE(device.codes.is_cuda() && device.absmax.is_cuda());
    EXPECT_TRUE(Same(device.codes, host.codes));
    EXPECT_TRUE(Same(device.absmax, host.absmax));
    EXPECT_TRUE(Same(device.nested_absmax, host.nested_absmax));
    EXPECT_EQ(device.nested_offset, host.nested_offset);
    const at::Tensor values = at::empty({1023, 2049}, dtype);
    const at::Tensor on_device = at::empty_like(values, device_), twin = at::empty_like(on_device);
    DequantizeNf4(host, values);
    DequantizeNf4(device, on_device);
    DequantizeNf4ByAten(device, twin);
    EXPECT_TRUE(Same(on_device, values));
    EXPECT_TRUE(Same(twin, values)) << "ATen's";
  }
}

TEST_F(GpuTest, TheSameTileGivesTheSameBits) {
  const at::Tensor logits = at::randn({64, 128256}).to(at::kBFloat16).to(device_);
  const at::Tensor targets = at::randint(128256, {64}, at::kLong).to(device_);
  const at::Tensor first = logits.clone(), second = logits.clone();
  const at::Tensor sums = cuda::CrossEntropyInPlace(first, targets);
  EXPECT_TRUE(at::equal(cuda::CrossEntropyInPlace(second, targets), sums));
  EXPECT_TRUE(at::equal(first, second));
}

// The head's loss as the engine computes it, in chunks, on both devices.
TEST_F(GpuTest, LinearCrossEntropyEqualsTheCpus) {
  const int64_t S = 500, D = 12, V = 300001;  // several chunks
  Parameter head, device_head;
  head.value = at::randn({V, D});
  device_head.value = head.value.to(device_);
  head.MakeTrainable();
  device_head.MakeTrainable();
  const at::Tensor x = at::randn({S, D}), targets = at::randint(V, {S}, at::kLong);
  const LossResult host = LinearCrossEntropy(head, x, targets, 900);
  const LossResult device =
      LinearCrossEntropy(device_head, x.to(device_), targets.to(device_), 900);
  const LossSums expected = OnHost(host.sums, S), actual = OnHost(device.sums.cpu(), S);
  EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_NEAR(actual.entropy, expected.entropy, 1e-5 * expected.entropy);
  EXPECT_TRUE(at::allclose(device.dx.cpu(), host.dx, 1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(device_head.grad.cpu(), head.grad, 1e-4, 1e-6));
}

// Documents of many lengths, grouped-query heads, every head size in use.
TEST_F(GpuTest, AttentionEqualsTheCpus) {
  const std::vector<int64_t> offsets = {0, 1, 130, 131, 196, 700};
  const Documents on_host = MakeDocuments(offsets);
  const Documents on_device =
      MakeDocuments(offsets, at::tensor(offsets, at::kLong).to(at::kInt).to(device_));
  const double scale = 0.3;
  for (const AttentionShape& shape : {AttentionShape{6, 2, 8, scale},
                                      {9, 3, 64, scale},
                                      {4, 4, 128, scale},
                                      {2, 1, 256, scale},
                                      {4, 2, 64, scale, /*softcap=*/0, /*window=*/100},
                                      {4, 2, 64, scale, /*softcap=*/5, /*window=*/0},
                                      {4, 2, 256, scale, /*softcap=*/5, /*window=*/100}}) {
    const auto [heads, kv_heads, head_dim, unused_scale, softcap, window] = shape;
    for (const auto& [dtype, tolerance] :
         {std::pair{at::kFloat, 1e-4}, {at::kBFloat16, 2e-2}, {at::kHalf, 3e-3}}) {
      SCOPED_TRACE(std::to_string(head_dim) + " " + at::toString(dtype) + ", cap " +
                   std::to_string(softcap) + ", window " + std::to_string(window));
      const at::Tensor qkv = at::randn({700, (heads + 2 * kv_heads) * head_dim}).to(dtype);
      const at::Tensor dout = at::randn({700, heads * head_dim}).to(dtype);
      const at::Tensor angles = at::randn({700, 1, head_dim / 2});
      const RopeTable host_rope{angles.cos().to(dtype).to(at::kFloat),
                                angles.sin().to(dtype).to(at::kFloat)};
      const Rotation host_rotation{host_rope, {}};
      const Rotation device_rotation{
          {host_rope.cos.to(device_, dtype), host_rope.sin.to(device_, dtype)}, {}};
      AttentionSaved host_saved, device_saved;
      const at::Tensor host_qkv = qkv.to(at::kFloat);
      const at::Tensor host = AttentionForward(host_qkv, on_host, shape, &host_saved);
      const at::Tensor dhost = AttentionBackward(host_qkv, on_host, shape, host_rotation,
                                                 host_saved, dout.to(at::kFloat));
      const at::Tensor device = AttentionForward(qkv.to(device_), on_device, shape, &device_saved);
      const at::Tensor ddevice = AttentionBackward(qkv.to(device_), on_device, shape,
                                                   device_rotation, device_saved, dout.to(device_));
      EXPECT_LT(RelativeNorm(device, host), tolerance);
      EXPECT_LT(RelativeNorm(ddevice, dhost), tolerance);
      const at::Tensor again = AttentionBackward(qkv.to(device_), on_device, shape, device_rotation,
                                                 device_saved, dout.to(device_));
      EXPECT_TRUE(at::equal(again, ddevice)) << "not deterministic";
    }
  }
}

}  // namespace
}  // namespace ftd::engine
