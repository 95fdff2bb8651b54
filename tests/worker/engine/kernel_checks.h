// What the tests of the CUDA kernels share. Each kernel runs several times and must give the same
// bits: it must not matter in which order threads run.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/engine/kernel_device.h"

namespace ftd::engine {

inline constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

class CudaKernelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* why = nullptr;
    if (!HasKernelDevice(&why)) GTEST_SKIP() << why;
    at::manual_seed(1);
  }
};

inline bool SameBytes(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a.contiguous().view(at::kByte), b.contiguous().view(at::kByte));
}

// A copy on the device that begins one element later than an allocation would: no vector fits.
inline at::Tensor Shifted(const at::Tensor& tensor) {
  at::Tensor room = at::zeros({tensor.numel() + 1}, tensor.options());
  room.narrow(0, 1, tensor.numel()).copy_(tensor.flatten());
  return OnKernelDevice(room).narrow(0, 1, tensor.numel()).view(tensor.sizes());
}

// What `kernel` makes, on the CPU.
inline std::vector<at::Tensor> RunKernel(const std::function<std::vector<at::Tensor>()>& kernel) {
  std::vector<at::Tensor> first;
  for (int run = 0; run < 3; ++run) {
    std::vector<at::Tensor> results = kernel();
    for (at::Tensor& result : results) result = result.cpu();
    if (run == 0) first = results;
    for (size_t i = 0; i < results.size(); ++i)
      EXPECT_TRUE(SameBytes(results[i], first[i])) << "another run, other bits";
  }
  return first;
}

}  // namespace ftd::engine
