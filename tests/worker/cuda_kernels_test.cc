// The GPU's kernels against their twins: NF4's bytes against the CPU's, the loss against float64
// and against ATen. Without a GPU all of them are skipped.

#include <ATen/ATen.h>

#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/attention.h"
#include "worker/engine/cuda_kernels.h"
#include "worker/engine/device.h"
#include "worker/engine/loss.h"
#include "worker/engine/nf4.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

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
};

// Ways to fill a matrix.
std::vector<std::pair<std::string, at::Tensor>> Fillings(int64_t rows, int64_t cols) {
  const at::Tensor normal = at::randn({rows, cols});
  at::Tensor outlier = normal * 1e-3;
  outlier.view({-1})[rows * cols / 2] = 6e4;
  const at::Tensor kept = at::rand({rows, 1}).lt(0.3);  // blocks that are all zero beside others
  const at::Tensor sizes = at::exp2(at::randint(-30, 15, {rows, 1}).to(at::kFloat));
  // Values on the codes and half-way between them.
  const at::Tensor grid = at::round(at::rand({rows, cols}) * 15) / 15;
  return {{"normal", normal},
          {"weights", normal * 0.02},
          {"zeros", at::zeros({rows, cols})},
          {"outlier", outlier},
          {"sparse", normal * kept},
          {"spread", normal * sizes},
          {"grid", grid},
          {"denormal", normal * 1e-41},
          {"tiny", normal * 1e-37},
          {"negative", -at::ones({rows, cols})}};
}

double RelativeNorm(const at::Tensor& device, const at::Tensor& host) {
  const at::Tensor difference = device.cpu().to(at::kDouble) - host.to(at::kDouble);
  return (difference.norm() / host.to(at::kDouble).norm()).item<double>();
}

bool SameBytes(const at::Tensor& device, const at::Tensor& host) {
  return at::equal(device.cpu().contiguous().view(at::kByte), host.contiguous().view(at::kByte));
}

const std::pair<int64_t, int64_t> kMatrices[] = {
    {64, 64}, {1, 1},    {1, 2},    {3, 5},    {1, 63},   {1, 65},     {7, 64},
    {33, 66}, {255, 65}, {257, 64}, {100, 96}, {48, 176}, {576, 1536}, {1024, 2048}};

TEST_F(CudaKernelsTest, QuantisedBytesAreTheCpus) {
  for (const auto& [rows, cols] : kMatrices) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      for (const at::ScalarType dtype : kDtypes) {
        for (const at::ScalarType rounding : kDtypes) {
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
  for (const auto& [rows, cols] : kMatrices) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      Nf4Tensor nested = QuantizeNf4(values, at::kFloat);
      Nf4Tensor plain = nested;  // scales that are not quantised again
      plain.absmax = at::rand({nested.absmax.numel()});
      for (const Nf4Tensor& q : {nested, plain}) {
        for (const at::ScalarType dtype : kDtypes) {
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

// The largest difference of the gradient that rounding to `dtype` explains.
double GradientTolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-6 : dtype == at::kHalf ? 6e-4 : 4.5e-3;
}

// logits [S, V] of any dtype, on the CPU, against the definitions and ATen's twin.
void CheckTile(const at::Tensor& logits, const at::Tensor& targets, c10::Device device) {
  const int64_t S = logits.size(0), V = logits.size(1);
  const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 1), p = log_p.exp();
  const double nll = -log_p.gather(1, targets.unsqueeze(1)).sum().item<double>();
  const double entropy = -at::nan_to_num(p * log_p, 0.0).sum().item<double>();
  const at::Tensor gradient = p - at::one_hot(targets, V).to(at::kDouble);
  const at::Tensor tile = logits.to(device);
  const at::Tensor sums = cuda::CrossEntropyInPlace(tile, targets.to(device)).cpu();
  at::Tensor twin = logits.to(at::kFloat);
  const LossSums expected = CrossEntropyByAten(twin, targets);
  EXPECT_NEAR(sums[0].item<double>(), nll, 1e-6 * nll + 2e-6 * static_cast<double>(S));
  EXPECT_NEAR(sums[1].item<double>(), entropy, 1e-5 * static_cast<double>(S));
  EXPECT_EQ(sums[2].item<double>(), static_cast<double>(expected.correct));
  EXPECT_EQ(tile.scalar_type(), logits.scalar_type());
  const at::Tensor difference = tile.cpu().to(at::kDouble) - gradient;
  EXPECT_LE(difference.abs().max().item<double>(), GradientTolerance(logits.scalar_type()));
}

TEST_F(CudaKernelsTest, LossTileEqualsTheDefinitions) {
  // Vocabularies around the widths of packets, warps and blocks, and real ones.
  for (const int64_t V : {1, 2, 3, 7, 8, 9, 33, 4095, 4096, 4097, 32003, 49152, 128256, 151936}) {
    for (const double spread : {0.0, 0.01, 1.0, 10.0, 100.0}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(V) + " entries, spread " + std::to_string(spread) + ", " +
                     c10::toString(dtype));
        const int64_t S = 9;
        const at::Tensor logits = (at::randn({S, V}) * spread).to(dtype);
        at::Tensor targets = at::randint(V, {S}, at::kLong);
        targets.narrow(0, 0, S / 2).copy_(logits.narrow(0, 0, S / 2).to(at::kFloat).argmax(1));
        CheckTile(logits, targets, device_);
      }
    }
  }
}

TEST_F(CudaKernelsTest, OfEquallyLikelyTokensTheFirstCounts) {
  for (const at::ScalarType dtype : kDtypes) {
    at::Tensor logits = at::zeros({4, 5000}, dtype);
    for (const int64_t at : {17, 18, 4321}) logits.select(1, at).fill_(3);
    const at::Tensor targets = at::tensor({17, 18, 4321, 0}, at::kLong).to(device_);
    EXPECT_EQ(cuda::CrossEntropyInPlace(logits.to(device_), targets)[2].item<double>(), 1);
  }
}

TEST_F(CudaKernelsTest, MinusInfinityCountsForNothing) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const at::ScalarType dtype : kDtypes) {
    at::Tensor logits = at::randn({5, 1003}).to(dtype);
    logits.narrow(1, 100, 700).fill_(-infinity);
    logits[0].fill_(-infinity);
    logits[0][3] = 1;
    CheckTile(logits, at::tensor({3, 99, 800, 0, 1002}, at::kLong), device_);
  }
}

TEST_F(CudaKernelsTest, NotANumberIsSeen) {
  for (const at::ScalarType dtype : kDtypes) {
    at::Tensor logits = at::randn({2, 1000}).to(dtype);
    logits[1][777] = std::numeric_limits<double>::quiet_NaN();
    const at::Tensor targets = at::zeros({2}, at::kLong).to(device_);
    EXPECT_TRUE(cuda::CrossEntropyInPlace(logits.to(device_), targets)[0].isnan().item<bool>());
  }
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
       {std::tuple{6, 2, 8}, {9, 3, 64}, {4, 4, 128}, {2, 1, 256}}) {
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
