// The CUDA kernels of a layer against the definitions in float64: norm, rotary embedding, gated
// units, soft caps and dropout.

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
#include "worker/engine/ops/glu/glu_cuda.h"
#include "worker/engine/ops/loss/loss_cuda.h"
#include "worker/engine/ops/nf4/nf4_cuda.h"
#include "worker/engine/ops/norm/norm_cuda.h"
#include "worker/engine/ops/rope/rope_cuda.h"
#include "worker/engine/ops/softcap/softcap_cuda.h"

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

// Each kind of norm, and Llama's of small and large inputs.
const std::pair<NormKind, double> kNorms[] = {{NormKind::kRounded, 1e-3},
                                              {NormKind::kRounded, 1.0},
                                              {NormKind::kRounded, 300.0},
                                              {NormKind::kFloat32, 1.0},
                                              {NormKind::kOffset, 1.0}};

TEST_F(CudaKernelsTest, RmsNormEqualsTheDefinition) {
  constexpr double kEps = 1e-5;
  for (const auto& [T, D] : kRows) {
    for (const auto& [kind, size] : kNorms) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(T) + "x" + std::to_string(D) + " " + c10::toString(dtype) +
                     " of size " + std::to_string(size) + ", kind " +
                     std::to_string(static_cast<int>(kind)));
        const at::Tensor x = (at::randn({T, D}) * size).to(dtype);
        const at::Tensor w = (1 + 0.1 * at::randn({D})).to(dtype), dy = at::randn({T, D}).to(dtype),
                         residual = at::randn({T, D}).to(dtype);
        const NormKind of_kind = kind;  // a lambda takes no structured binding
        const at::Tensor x64 = x.to(at::kDouble);
        const at::Tensor w64 = w.to(at::kDouble) + (kind == NormKind::kOffset ? 1 : 0);
        const at::Tensor rstd64 = (x64.square().mean({-1}, true) + kEps).rsqrt();
        const at::Tensor y64 =
            (kind == NormKind::kRounded ? Rounded(x64 * rstd64, dtype) : x64 * rstd64) * w64;
        const at::Tensor g = dy.to(at::kDouble) * w64, x_hat = x64 * rstd64;
        const at::Tensor dx64 = rstd64 * (g - x_hat * (g * x_hat).mean({-1}, true));

        const std::vector<at::Tensor> results = RunKernel([&] {
          const at::Tensor on_x = OnKernelDevice(x);
          const NormWeight on_w(OnKernelDevice(w), of_kind);
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
        ExpectEqualTo(y64, cuda::RmsNormForward(Shifted(x), {Shifted(w), kind}, kEps, &rstd).cpu());
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

// Which features of a head rotate, and how.
struct RopeCase {
  int64_t half, rest;  // pairs; features beyond them, which stay
  bool interleaved, float32_table;
};

std::vector<RopeCase> RopeCases() {
  std::vector<RopeCase> cases;
  for (const int64_t half : {1, 7, 8, 12, 32, 64}) cases.push_back({half, 0, false, false});
  for (const bool interleaved : {false, true}) {
    for (const int64_t half : {1, 5, 8, 32}) {
      for (const int64_t rest : {2, 16, 30}) cases.push_back({half, rest, interleaved, false});
    }
  }
  for (const int64_t half : {3, 16}) {
    for (const bool interleaved : {false, true}) cases.push_back({half, 0, interleaved, true});
  }
  return cases;
}

void Trace(const RopeCase& c, at::ScalarType dtype, std::string* trace) {
  *trace = std::to_string(c.half) + " pairs" + (c.interleaved ? " side by side" : "") + ", " +
           std::to_string(c.rest) + " features more, " + c10::toString(dtype) +
           (c.float32_table ? " by a float32 table" : "");
}

RopeTable RandomTable(const RopeCase& c, int64_t T, at::ScalarType dtype) {
  const at::Tensor angles = at::randn({T, 1, c.half});
  const at::ScalarType table_type = c.float32_table ? at::kFloat : dtype;
  return {angles.cos().to(table_type), angles.sin().to(table_type), c.interleaved};
}

RopeTable OnDevice(const RopeTable& table) {
  return {OnKernelDevice(table.cos), OnKernelDevice(table.sin), table.interleaved};
}

RopeTable ShiftedTable(const RopeTable& table) {
  return {Shifted(table.cos), Shifted(table.sin), table.interleaved};
}

TEST_F(CudaKernelsTest, RotateBackIsRopeBackwardOfACopy) {
  const int64_t T = 9;
  for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{4, 2}, {3, 3}, {5, 1}}) {
    for (const RopeCase& c : RopeCases()) {
      for (const at::ScalarType dtype : kDtypes) {
        std::string trace;
        Trace(c, dtype, &trace);
        SCOPED_TRACE(std::to_string(heads) + ":" + std::to_string(kv_heads) + " heads of " + trace);
        const int64_t H = 2 * c.half + c.rest;
        const at::Tensor dq = at::randn({T, heads, H}).to(dtype);
        const at::Tensor dk = at::randn({T, kv_heads, H}).to(dtype);
        const at::Tensor dv = at::randn({T, kv_heads, H}).to(dtype);
        const RopeTable table = RandomTable(c, T, dtype);
        // The other kernel's bits, which RopeHasTheDefinitionsBits holds against the definition.
        const at::Tensor rotated = OnKernelDevice(at::cat({dq, dk}, 1));
        cuda::ApplyRope(rotated, OnDevice(table), /*backward=*/true);
        const at::Tensor expected = at::cat({rotated.cpu(), dv}, 1).view({T, -1});
        const at::Tensor actual = RunKernel([&] {
          return std::vector<at::Tensor>{cuda::RotateBack(OnKernelDevice(dq), OnKernelDevice(dk),
                                                          OnKernelDevice(dv), OnDevice(table))};
        })[0];
        EXPECT_TRUE(SameBytes(actual, expected));
        EXPECT_TRUE(SameBytes(
            cuda::RotateBack(Shifted(dq), Shifted(dk), Shifted(dv), ShiftedTable(table)).cpu(),
            expected));
      }
    }
  }
}

TEST_F(CudaKernelsTest, RopeHasTheDefinitionsBits) {
  const int64_t T = 9, heads = 5;
  for (const RopeCase& one : RopeCases()) {
    for (const bool backward : {false, true}) {
      for (const at::ScalarType dtype : kDtypes) {
        std::string trace;
        Trace(one, dtype, &trace);
        SCOPED_TRACE(trace);
        const int64_t half = one.half, H = 2 * half + one.rest;
        // Heads lie among others, as queries and keys do before the values.
        const at::Tensor qkv = at::randn({T, (heads + 2) * H}).to(dtype);
        const RopeTable table = RandomTable(one, T, dtype);
        const at::ScalarType products = table.cos.scalar_type();
        at::Tensor expected = qkv.to(at::kDouble);
        const at::Tensor rotated =
            expected.narrow(1, 0, heads * H).view({T, heads, H}).narrow(2, 0, 2 * half);
        const at::Tensor to_first =
            one.interleaved ? rotated.slice(2, 0, 2 * half, 2) : rotated.narrow(2, 0, half);
        const at::Tensor to_second =
            one.interleaved ? rotated.slice(2, 1, 2 * half, 2) : rotated.narrow(2, half, half);
        const at::Tensor first = to_first.clone(), second = to_second.clone();
        const at::Tensor c = table.cos.to(at::kDouble),
                         s = table.sin.to(at::kDouble) * (backward ? -1.0 : 1.0);
        const auto sum = [&](const at::Tensor& a, const at::Tensor& b) {
          const at::Tensor in_table_type =
              Rounded(Rounded(a, products) + Rounded(b, products), products);
          return Rounded(in_table_type, dtype);
        };
        to_first.copy_(sum(first * c, -(second * s)));
        to_second.copy_(sum(second * c, first * s));
        const at::Tensor actual = RunKernel([&] {
          const at::Tensor there = OnKernelDevice(qkv);
          cuda::ApplyRope(there.narrow(1, 0, heads * H).view({T, heads, H}), OnDevice(table),
                          backward);
          return std::vector<at::Tensor>{there};
        })[0];
        EXPECT_TRUE(at::equal(actual.to(at::kDouble), expected));
        const at::Tensor shifted = Shifted(qkv);
        cuda::ApplyRope(shifted.narrow(1, 0, heads * H).view({T, heads, H}), ShiftedTable(table),
                        backward);
        EXPECT_TRUE(at::equal(shifted.cpu().to(at::kDouble), expected));
      }
    }
  }
}

// act(g) and act'(g) in float64: SiLU, and GELU as Hendrycks & Gimpel 2016 approximate it, with
// 2 · σ(2z) for 1 + tanh(z), which would cancel.
std::pair<at::Tensor, at::Tensor> PlainActivation(Activation activation, const at::Tensor& g) {
  const bool silu = activation == Activation::kSilu;
  const double a = 2 * std::sqrt(2 / M_PI);
  const at::Tensor sigmoid = (silu ? g : a * (g + 0.044715 * g.pow(3))).sigmoid();
  const at::Tensor slope = silu ? at::ones_like(g) : a * (1 + 3 * 0.044715 * g.square());
  return {g * sigmoid, sigmoid * (1 + g * (1 - sigmoid) * slope)};
}

TEST_F(CudaKernelsTest, GluEqualsTheDefinition) {
  for (const auto& [T, F] : kRows) {
    for (const auto& [activation, size] : {std::pair{Activation::kSilu, 1.0},
                                           {Activation::kSilu, 40.0},
                                           {Activation::kGelu, 1.0},
                                           {Activation::kGelu, 3.0}}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(T) + "x" + std::to_string(F) + " " + c10::toString(dtype) +
                     " of size " + std::to_string(size) +
                     (activation == Activation::kSilu ? ", SiLU" : ", GELU"));
        const at::Tensor gate_up = (at::randn({T, 2 * F}) * size).to(dtype);
        const at::Tensor da = at::randn({T, F}).to(dtype);
        const at::Tensor gate = gate_up.narrow(1, 0, F).to(at::kDouble),
                         up = gate_up.narrow(1, F, F).to(at::kDouble), d = da.to(at::kDouble);
        const auto [exact, slope] = PlainActivation(activation, gate);
        const at::Tensor act = Rounded(exact, dtype), d_act = Rounded(d * up, dtype);

        const Activation kind = activation;
        const std::vector<at::Tensor> results = RunKernel([&] {
          const at::Tensor there = OnKernelDevice(gate_up);
          return std::vector<at::Tensor>{cuda::GluForward(there, kind),
                                         cuda::GluBackward(there, OnKernelDevice(da), kind)};
        });
        ExpectEqualTo(act * up, results[0]);
        EXPECT_TRUE(SameBytes(cuda::GluForward(Shifted(gate_up), kind).cpu(), results[0]));
        EXPECT_TRUE(
            SameBytes(cuda::GluBackward(Shifted(gate_up), Shifted(da), kind).cpu(), results[1]));
        ExpectEqualTo(d_act * slope, results[1].narrow(1, 0, F));
        ExpectEqualTo(d * act, results[1].narrow(1, F, F));
      }
    }
  }
}

TEST_F(CudaKernelsTest, SoftcapEqualsTheDefinition) {
  for (const int64_t count : {1, 3, 8, 17, 4096, 5003}) {
    for (const double cap : {2.0, 30.0}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(count) + " " + c10::toString(dtype) + " capped at " +
                     std::to_string(cap));
        const at::Tensor z = (at::randn({count}) * cap).to(dtype), d = at::randn({count}).to(dtype);
        const at::Tensor tanh = Rounded(Rounded(z.to(at::kDouble) / cap, dtype).tanh(), dtype);
        const at::Tensor capped = (tanh * cap).to(dtype);
        const std::vector<at::Tensor> results = RunKernel([&] {
          const at::Tensor there = OnKernelDevice(z), grad = OnKernelDevice(d);
          cuda::SoftcapForward(there, cap);
          cuda::SoftcapBackward(grad, OnKernelDevice(capped), cap);
          return std::vector<at::Tensor>{there, grad};
        });
        ExpectEqualTo(tanh * cap, results[0]);
        const at::Tensor again = Rounded(capped.to(at::kDouble) / cap, dtype);
        ExpectEqualTo(d.to(at::kDouble) * (1 - again.square()), results[1]);
        const at::Tensor shifted = Shifted(z);
        cuda::SoftcapForward(shifted, cap);
        EXPECT_TRUE(SameBytes(shifted.cpu(), results[0]));
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
    EXPECT_EQ(cuda::RotateBack(heads, heads, heads, {angles, angles}).numel(), 0);
    const at::Tensor da = OnKernelDevice(at::empty({0, 8}, dtype));
    EXPECT_EQ(cuda::GluForward(x, Activation::kSilu).size(1), 8);
    EXPECT_EQ(cuda::GluBackward(x, da, Activation::kSilu).numel(), 0);
    cuda::SoftcapForward(x, 30);
    cuda::SoftcapBackward(x, x, 30);
    cuda::ApplyRope(x.view({0, 2, 8}), {angles, angles}, /*backward=*/false);
  }
}

}  // namespace
}  // namespace ftd::engine
