// The GPU's kernels against their twins: NF4's bytes against the CPU's, the loss against float64
// and against ATen. Without a GPU all of them are skipped; cuda_on_cpu_test.cc runs the same source
// anywhere.

#include <ATen/ATen.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernel_cases.h"
#include "worker/engine/attention.h"
#include "worker/engine/cuda_kernels.h"
#include "worker/engine/device.h"
#include "worker/engine/loss.h"
#include "worker/engine/nf4.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

class CudaKernelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    InitializeProcess();
    device_ = TrainingDevice();
    if (!device_.is_cuda()) GTEST_SKIP() << "no GPU";
    ASSERT_TRUE(cuda::Serves(device_)) << "none of the kernels' images runs on this GPU";
    at::manual_seed(1);
  }

  c10::Device device_ = c10::kCPU;
  const TileKernel tile_ = [this](const at::Tensor& logits, const at::Tensor& targets) {
    const at::Tensor tile = logits.clone().to(device_);
    const at::Tensor sums = cuda::CrossEntropyInPlace(tile, targets.to(device_));
    return Tile{tile.cpu(), sums.cpu()};
  };
};

double RelativeNorm(const at::Tensor& device, const at::Tensor& host) {
  const at::Tensor difference = device.cpu().to(at::kDouble) - host.to(at::kDouble);
  return (difference.norm() / host.to(at::kDouble).norm()).item<double>();
}

std::vector<std::pair<int64_t, int64_t>> Matrices() {
  auto matrices = kSmallMatrices;
  matrices.insert(matrices.end(), {{576, 1536}, {1024, 2048}});
  return matrices;
}

TEST_F(CudaKernelsTest, QuantisedBytesAreTheCpus) {
  for (const auto& [rows, cols] : Matrices()) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      for (const at::ScalarType dtype : kKernelDtypes) {
        for (const at::ScalarType rounding : kKernelDtypes) {
          SCOPED_TRACE(name + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " +
                       c10::toString(dtype) + " as " + c10::toString(rounding));
          const at::Tensor weight = values.to(dtype);
          const Nf4Tensor host = QuantizeNf4(weight, rounding);
          const Nf4Tensor device = QuantizeNf4(weight, rounding, device_);
          ASSERT_TRUE(device.codes.is_cuda() && device.absmax.is_cuda());
          EXPECT_TRUE(SameBytes(device.codes, host.codes));
          EXPECT_TRUE(SameBytes(device.absmax, host.absmax));
          EXPECT_TRUE(SameBytes(device.nested_absmax, host.nested_absmax));
          EXPECT_EQ(device.nested_offset, host.nested_offset);
        }
      }
    }
  }
}

Nf4Tensor OnDevice(Nf4Tensor q, c10::Device device) {
  for (at::Tensor* tensor : {&q.codes, &q.absmax, &q.nested_absmax, &q.nested_map})
    if (tensor->defined()) *tensor = tensor->to(device);
  return q;
}

TEST_F(CudaKernelsTest, DequantisedValuesAreTheCpus) {
  for (const auto& [rows, cols] : Matrices()) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      Nf4Tensor nested = QuantizeNf4(values, at::kFloat);
      Nf4Tensor plain = nested;  // scales that are not quantised again
      plain.absmax = at::rand({nested.absmax.numel()});
      for (const Nf4Tensor& q : {nested, plain}) {
        for (const at::ScalarType dtype : kKernelDtypes) {
          // An offset of one element takes the vectors' alignment away.
          for (const int64_t offset : {0, 1}) {
            SCOPED_TRACE(name + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " +
                         c10::toString(dtype) + " at " + std::to_string(offset));
            const at::Tensor host = at::empty({rows, cols}, dtype);
            DequantizeNf4(q, host);
            const at::Tensor room = at::full({rows * cols + 2}, 7, host.options().device(device_));
            const at::Tensor device = room.narrow(0, offset, rows * cols).view({rows, cols});
            DequantizeNf4(OnDevice(q, device_), device);
            EXPECT_TRUE(SameBytes(device, host));
            EXPECT_EQ(room[rows * cols + offset].item<float>(), 7) << "written past the end";
            const at::Tensor twin = at::empty_like(device);
            DequantizeNf4ByAten(OnDevice(q, device_), twin);
            EXPECT_TRUE(SameBytes(twin, host)) << "ATen's";
          }
        }
      }
    }
  }
}

TEST_F(CudaKernelsTest, LossTileEqualsTheDefinitions) {
  for (const int64_t vocabulary : kVocabularies) TileEqualsTheDefinitions(tile_, vocabulary);
}

TEST_F(CudaKernelsTest, LossTileOfOddRows) {
  OfEquallyLikelyTokensTheFirstCounts(tile_);
  MinusInfinityCountsForNothing(tile_);
  NotANumberIsSeen(tile_);
}

TEST_F(CudaKernelsTest, TheSameTileGivesTheSameBits) {
  const at::Tensor logits = at::randn({64, 128256}).to(at::kBFloat16).to(device_);
  const at::Tensor targets = at::randint(128256, {64}, at::kLong).to(device_);
  const at::Tensor first = logits.clone(), second = logits.clone();
  const at::Tensor sums = cuda::CrossEntropyInPlace(first, targets);
  EXPECT_TRUE(at::equal(cuda::CrossEntropyInPlace(second, targets), sums));
  EXPECT_TRUE(at::equal(first, second));
}

// The head's loss as the engine computes it, in chunks, on both devices.
TEST_F(CudaKernelsTest, LinearCrossEntropyEqualsTheCpus) {
  const int64_t S = 500, D = 12, V = 300001;  // several chunks
  Parameter head, device_head;
  head.value = at::randn({V, D});
  device_head.value = head.value.to(device_);
  head.MakeTrainable(true);
  device_head.MakeTrainable(true);
  const at::Tensor x = at::randn({S, D}), targets = at::randint(V, {S}, at::kLong);
  const LossResult host = LinearCrossEntropy(head, x, targets, 900);
  const LossResult device =
      LinearCrossEntropy(device_head, x.to(device_), targets.to(device_), 900);
  EXPECT_NEAR(device.sums.nll, host.sums.nll, 1e-5 * host.sums.nll);
  EXPECT_NEAR(device.sums.entropy, host.sums.entropy, 1e-5 * host.sums.entropy);
  EXPECT_EQ(device.sums.positions, S);
  EXPECT_TRUE(at::allclose(device.dx.cpu(), host.dx, 1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(device_head.grad.cpu(), head.grad, 1e-4, 1e-6));
}

// Documents of many lengths, grouped-query heads, every head size in use.
TEST_F(CudaKernelsTest, AttentionEqualsTheCpus) {
  const std::vector<int64_t> offsets = {0, 1, 130, 131, 196, 700};
  const Documents on_host = MakeDocuments(offsets, at::kCPU);
  const Documents on_device = MakeDocuments(offsets, device_);
  for (const auto& [heads, kv_heads, head_dim] :
       {std::array<int64_t, 3>{6, 2, 8}, {9, 3, 64}, {4, 4, 128}, {2, 1, 256}}) {
    const AttentionShape shape{heads, kv_heads, head_dim};
    for (const auto& [dtype, tolerance] :
         {std::pair{at::kFloat, 1e-4}, {at::kBFloat16, 2e-2}, {at::kHalf, 3e-3}}) {
      SCOPED_TRACE(std::to_string(head_dim) + " " + at::toString(dtype));
      const at::Tensor qkv = at::randn({700, (heads + 2 * kv_heads) * head_dim}).to(dtype);
      const at::Tensor dout = at::randn({700, heads * head_dim}).to(dtype);
      AttentionSaved host_saved, device_saved;
      const at::Tensor host_qkv = qkv.to(at::kFloat);
      const at::Tensor host = AttentionForward(host_qkv, on_host, shape, &host_saved);
      const at::Tensor dhost =
          AttentionBackward(host_qkv, on_host, shape, host_saved, dout.to(at::kFloat));
      const at::Tensor device = AttentionForward(qkv.to(device_), on_device, shape, &device_saved);
      const at::Tensor ddevice =
          AttentionBackward(qkv.to(device_), on_device, shape, device_saved, dout.to(device_));
      EXPECT_LT(RelativeNorm(device, host), tolerance);
      EXPECT_LT(RelativeNorm(ddevice, dhost), tolerance);
      const at::Tensor again =
          AttentionBackward(qkv.to(device_), on_device, shape, device_saved, dout.to(device_));
      EXPECT_TRUE(at::equal(again, ddevice)) << "not deterministic";
    }
  }
}

}  // namespace
}  // namespace ftd::engine
