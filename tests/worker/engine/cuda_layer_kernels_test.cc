// The CUDA kernels of a layer against the definitions in float64: norm, rotary embedding, SwiGLU
// and dropout.

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/engine/kernel_checks.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/dropout/dropout.h"
#include "worker/engine/ops/dropout/dropout_cuda.h"
#include "worker/engine/ops/glu/swiglu_cuda.h"
#include "worker/engine/ops/loss/loss_cuda.h"
#include "worker/engine/ops/nf4/nf4_cuda.h"
#include "worker/engine/ops/norm/norm_cuda.h"
#include "worker/engine/ops/rope/rope_cuda.h"

namespace ftd::engine {
namespace {

// Rounded to the dtype, in float64.
at::Tensor Rounded(const at::Tensor& exact, at::ScalarType dtype) {
  return exact.to(dtype).to(at::kDouble);
}

// float32: to within a few roundings of the largest. The others: what float64 rounds to, but for
// one element in a hundred that falls to a neighbour.
void ExpectEqualTo(const at::Tensor& exact, const at::Tensor& actual) {
  const at::ScalarType dtype = actual.scalar_type();
  const at::Tensor expected = Rounded(exact, dtype), value = actual.to(at::kDouble);
  const at::Tensor difference = (value - expected).abs();
  if (dtype == at::kFloat) {
    const double largest = expected.abs().max().item<double>();
    EXPECT_LE(difference.max().item<double>(), 3e-6 * largest);
    return;
  }
  const double step = dtype == at::kHalf ? 1.0 / 512 : 1.0 / 64;
  EXPECT_TRUE(difference.le(expected.abs() * step + 1e-7).all().item<bool>());
  const auto other = difference.gt(0).sum().item<int64_t>();
  EXPECT_LE(other, 1 + actual.numel() / 100) << "of " << actual.numel();
}

// Widths around those of vectors and blocks, and real ones.
const std::pair<int64_t, int64_t> kRows[] = {{1, 1},    {3, 8},    {2, 15},   {7, 16},
                                             {5, 17},   {9, 576},  {4, 1000}, {3, 2047},
                                             {2, 2048}, {3, 4096}, {2, 8200}};

TEST_F(CudaKernelsTest, RmsNormEqualsTheDefinition) {
  constexpr double kEps = 1e-5;
  for (const auto& [T, D] : kRows) {
    for (const double size : {1e-3, 1.0, 300.0}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(T) + "x" + std::to_string(D) + " " + c10::toString(dtype) +
                     " of size " + std::to_string(size));
        const at::Tensor x = (at::randn({T, D}) * size).to(dtype);
        const at::Tensor w = (1 + 0.1 * at::randn({D})).to(dtype), dy = at::randn({T, D}).to(dtype),
                         residual = at::randn({T, D}).to(dtype);
        const at::Tensor x64 = x.to(at::kDouble), w64 = w.to(at::kDouble);
        const at::Tensor rstd64 = (x64.square().mean({-1}, true) + kEps).rsqrt();
        const at::Tensor y64 = Rounded(x64 * rstd64, dtype) * w64;
        const at::Tensor g = dy.to(at::kDouble) * w64, x_hat = x64 * rstd64;
        const at::Tensor dx64 = rstd64 * (g - x_hat * (g * x_hat).mean({-1}, true));

        const std::vector<at::Tensor> results = RunKernel([&] {
          const at::Tensor on_x = OnKernelDevice(x), on_w = OnKernelDevice(w);
          at::Tensor rstd;
          const at::Tensor y = cuda::RmsNormForward(on_x, on_w, kEps, &rstd);
          return std::vector<at::Tensor>{
              y, rstd, cuda::RmsNormRecompute(on_x, on_w, rstd),
              cuda::RmsNormBackward(on_x, on_w, rstd, OnKernelDevice(dy), {}),
              cuda::RmsNormBackward(on_x, on_w, rstd, OnKernelDevice(dy),
                                    OnKernelDevice(residual))};
        });
        ExpectEqualTo(y64, results[0]);
        at::Tensor rstd;
        ExpectEqualTo(y64, cuda::RmsNormForward(Shifted(x), Shifted(w), kEps, &rstd).cpu());
        ExpectEqualTo(rstd64, results[1]);
        EXPECT_TRUE(SameBytes(results[2], results[0]));
        // A row of one element has a gradient of nearly nothing, a difference of equals.
        if (D > 1) ExpectEqualTo(dx64, results[3]);
        // Rounded as ATen's addition of the two.
        EXPECT_TRUE(SameBytes(results[4], results[3] + residual));
      }
    }
  }
}

// Rows around the stretches of the sum, widths around those of vectors, warps and blocks.
TEST_F(CudaKernelsTest, RmsNormWeightGradEqualsTheDefinition) {
  for (const auto& [T, D] : {std::pair<int64_t, int64_t>{1, 1},
                             {2, 15},
                             {63, 8},
                             {64, 33},
                             {65, 576},
                             {130, 257},
                             {700, 40},
                             {3, 2049},
                             {70, 4104}}) {
    for (const at::ScalarType dtype : kDtypes) {
      for (const at::ScalarType grad_dtype : {at::kFloat, dtype}) {
        SCOPED_TRACE(std::to_string(T) + "x" + std::to_string(D) + " " + c10::toString(dtype) +
                     " to " + c10::toString(grad_dtype));
        const at::Tensor x = at::randn({T, D}).to(dtype), dy = at::randn({T, D}).to(dtype);
        const at::Tensor rstd = at::rand({T, 1}) + 0.5, grad = at::randn({D}).to(grad_dtype);
        const at::Tensor sum =
            (dy.to(at::kDouble) * x.to(at::kDouble) * rstd.to(at::kDouble)).sum(0);
        const at::Tensor exact = grad.to(at::kDouble) + sum;
        const auto run = [&](const at::Tensor& on_x, const at::Tensor& on_dy) {
          return RunKernel([&] {
            const at::Tensor there = OnKernelDevice(grad);
            cuda::AddRmsNormWeightGrad(on_x, OnKernelDevice(rstd), on_dy, there);
            return std::vector<at::Tensor>{there};
          })[0];
        };
        const at::Tensor actual = run(OnKernelDevice(x), OnKernelDevice(dy));
        // A float32 sum of as many terms, then one rounding to the gradient's dtype.
        const double scale = sum.abs().max().item<double>() + std::sqrt(static_cast<double>(T));
        const double rounding = grad_dtype == at::kFloat  ? 0
                                : grad_dtype == at::kHalf ? 1e-3
                                                          : 8e-3;
        const at::Tensor distance = (actual.to(at::kDouble) - exact).abs();
        EXPECT_TRUE(distance.le(exact.abs() * rounding + 4e-6 * scale).all().item<bool>());
        EXPECT_TRUE(SameBytes(run(Shifted(x), Shifted(dy)), actual));
      }
    }
  }
}

// dropout_test.cc holds the CPU's against PyTorch's generator.
TEST_F(CudaKernelsTest, DropoutHasTheCpusBits) {
  for (const int64_t count : {1, 3, 4, 8, 1000, 1001, 8192}) {
    for (const at::ScalarType dtype : kDtypes) {
      SCOPED_TRACE(std::to_string(count) + " " + c10::toString(dtype));
      const at::Tensor x = at::randn({count}).to(dtype), sum = at::randn({count}).to(dtype);
      const DropoutMask mask = Dropout{0.3, 0x123456789ABCDEF0, 77}.Mask(2);
      at::Tensor added = sum.clone();
      AddDropped(added, x, mask);
      const std::vector<at::Tensor> results = RunKernel([&] {
        const at::Tensor there = OnKernelDevice(sum), shifted = Shifted(sum);
        cuda::AddDropped(there, OnKernelDevice(x), mask);
        cuda::AddDropped(shifted, Shifted(x), mask);
        return std::vector<at::Tensor>{cuda::Dropped(OnKernelDevice(x), mask),
                                       cuda::Dropped(Shifted(x), mask), there, shifted};
      });
      for (const size_t i : {0, 1}) EXPECT_TRUE(SameBytes(results[i], Dropped(x, mask)));
      for (const size_t i : {2, 3}) EXPECT_TRUE(SameBytes(results[i], added));
    }
  }
}

TEST_F(CudaKernelsTest, RotateBackIsRopeBackwardOfACopy) {
  const int64_t T = 9;
  for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{4, 2}, {3, 3}, {5, 1}}) {
    for (const int64_t half : {1, 7, 8, 12, 32, 64}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(heads) + ":" + std::to_string(kv_heads) + " heads of " +
                     std::to_string(half) + " pairs, " + c10::toString(dtype));
        const at::Tensor dq = at::randn({T, heads, 2 * half}).to(dtype);
        const at::Tensor dk = at::randn({T, kv_heads, 2 * half}).to(dtype);
        const at::Tensor dv = at::randn({T, kv_heads, 2 * half}).to(dtype);
        const at::Tensor angles = at::randn({T, 1, half});
        const at::Tensor cos = angles.cos().to(dtype), sin = angles.sin().to(dtype);
        // The other kernel's bits, which RopeHasTheDefinitionsBits holds against the definition.
        const at::Tensor rotated = OnKernelDevice(at::cat({dq, dk}, 1));
        cuda::ApplyRope(rotated, OnKernelDevice(cos), OnKernelDevice(sin), /*backward=*/true);
        const at::Tensor expected = at::cat({rotated.cpu(), dv}, 1).view({T, -1});
        const at::Tensor actual = RunKernel([&] {
          return std::vector<at::Tensor>{cuda::RotateBack(OnKernelDevice(dq), OnKernelDevice(dk),
                                                          OnKernelDevice(dv), OnKernelDevice(cos),
                                                          OnKernelDevice(sin))};
        })[0];
        EXPECT_TRUE(SameBytes(actual, expected));
        EXPECT_TRUE(SameBytes(
            cuda::RotateBack(Shifted(dq), Shifted(dk), Shifted(dv), Shifted(cos), Shifted(sin))
                .cpu(),
            expected));
      }
    }
  }
}

TEST_F(CudaKernelsTest, RopeHasTheDefinitionsBits) {
  const int64_t T = 9, heads = 5;
  for (const int64_t half : {1, 7, 8, 12, 32, 64}) {
    for (const bool backward : {false, true}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(half) + " pairs, " + c10::toString(dtype));
        // Heads lie among others, as queries and keys do before the values.
        const at::Tensor qkv = at::randn({T, (heads + 2) * 2 * half}).to(dtype);
        const at::Tensor angles = at::randn({T, 1, half});
        const at::Tensor cos = angles.cos().to(dtype), sin = angles.sin().to(dtype);
        at::Tensor expected = qkv.to(at::kDouble);
        const at::Tensor rotated = expected.narrow(1, 0, heads * 2 * half).view({T, heads, -1});
        const at::Tensor first = rotated.narrow(2, 0, half).clone(),
                         second = rotated.narrow(2, half, half).clone();
        const at::Tensor c = cos.to(at::kDouble), s = sin.to(at::kDouble) * (backward ? -1.0 : 1.0);
        rotated.narrow(2, 0, half)
            .copy_(Rounded(Rounded(first * c, dtype) - Rounded(second * s, dtype), dtype));
        rotated.narrow(2, half, half)
            .copy_(Rounded(Rounded(second * c, dtype) + Rounded(first * s, dtype), dtype));
        const at::Tensor actual = RunKernel([&] {
          const at::Tensor there = OnKernelDevice(qkv);
          cuda::ApplyRope(there.narrow(1, 0, heads * 2 * half).view({T, heads, 2 * half}),
                          OnKernelDevice(cos), OnKernelDevice(sin), backward);
          return std::vector<at::Tensor>{there};
        })[0];
        EXPECT_TRUE(at::equal(actual.to(at::kDouble), expected));
        const at::Tensor shifted = Shifted(qkv);
        cuda::ApplyRope(shifted.narrow(1, 0, heads * 2 * half).view({T, heads, 2 * half}),
                        Shifted(cos), Shifted(sin), backward);
        EXPECT_TRUE(at::equal(shifted.cpu().to(at::kDouble), expected));
      }
    }
  }
}

TEST_F(CudaKernelsTest, SwigluEqualsTheDefinition) {
  for (const auto& [T, F] : kRows) {
    for (const double size : {1.0, 40.0}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(T) + "x" + std::to_string(F) + " " + c10::toString(dtype) +
                     " of size " + std::to_string(size));
        const at::Tensor gate_up = (at::randn({T, 2 * F}) * size).to(dtype);
        const at::Tensor da = at::randn({T, F}).to(dtype);
        const at::Tensor gate = gate_up.narrow(1, 0, F).to(at::kDouble),
                         up = gate_up.narrow(1, F, F).to(at::kDouble), d = da.to(at::kDouble);
        const at::Tensor sigmoid = gate.sigmoid();
        const at::Tensor silu = Rounded(gate * sigmoid, dtype);
        const at::Tensor d_silu = Rounded(d * up, dtype);

        const std::vector<at::Tensor> results = RunKernel([&] {
          const at::Tensor there = OnKernelDevice(gate_up);
          return std::vector<at::Tensor>{cuda::SwigluForward(there),
                                         cuda::SwigluBackward(there, OnKernelDevice(da))};
        });
        ExpectEqualTo(silu * up, results[0]);
        EXPECT_TRUE(SameBytes(cuda::SwigluForward(Shifted(gate_up)).cpu(), results[0]));
        EXPECT_TRUE(
            SameBytes(cuda::SwigluBackward(Shifted(gate_up), Shifted(da)).cpu(), results[1]));
        ExpectEqualTo(d_silu * sigmoid * (1 + gate * (1 - sigmoid)), results[1].narrow(1, 0, F));
        ExpectEqualTo(d * silu, results[1].narrow(1, F, F));
      }
    }
  }
}

TEST_F(CudaKernelsTest, NoRowsAreNoError) {
  for (const at::ScalarType dtype : kDtypes) {
    const at::Tensor x = OnKernelDevice(at::empty({0, 16}, dtype));
    const at::Tensor w = OnKernelDevice(at::ones({16}, dtype));
    const at::Tensor angles = OnKernelDevice(at::empty({0, 1, 4}, dtype));
    at::Tensor rstd;
    EXPECT_EQ(cuda::RmsNormForward(x, w, 1e-5, &rstd).numel(), 0);
    EXPECT_EQ(cuda::RmsNormRecompute(x, w, rstd).numel(), 0);
    EXPECT_EQ(cuda::RmsNormBackward(x, w, rstd, x, x).numel(), 0);
    cuda::AddRmsNormWeightGrad(x, rstd, x, w);
    EXPECT_TRUE(w.eq(1).all().item<bool>());
    EXPECT_EQ(cuda::Dropped(x, Dropout{0.5, 1, 1}.Mask(0)).numel(), 0);
    const at::Tensor heads = x.view({0, 2, 8});
    EXPECT_EQ(cuda::RotateBack(heads, heads, heads, angles, angles).numel(), 0);
    EXPECT_EQ(cuda::SwigluForward(x).size(1), 8);
    EXPECT_EQ(cuda::SwigluBackward(x, OnKernelDevice(at::empty({0, 8}, dtype))).numel(), 0);
    cuda::ApplyRope(x.view({0, 2, 8}), angles, angles, /*backward=*/false);
  }
}

}  // namespace
}  // namespace ftd::engine
