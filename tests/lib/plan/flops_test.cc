// What GPUs do at most, by the names that CUDA gives them. What a step takes is held against
// torch's own counter by tests/parity/mfu_test.py.

#include "lib/plan/flops.h"

#include "gtest/gtest.h"

namespace ftd {
namespace {

double Tflops(std::string_view name, Dtype dtype = Dtype::kBfloat16) {
  return PeakFlops(name, dtype) / 1e12;
}

TEST(PeakFlops, ByTheNamesOfCuda) {
  EXPECT_EQ(Tflops("NVIDIA H100 80GB HBM3"), 989);
  EXPECT_EQ(Tflops("NVIDIA H100 PCIe"), 756);
  EXPECT_EQ(Tflops("NVIDIA H100 NVL"), 835);
  EXPECT_EQ(Tflops("NVIDIA H200"), 989);
  EXPECT_EQ(Tflops("NVIDIA GH200 480GB"), 989);
  EXPECT_EQ(Tflops("NVIDIA A100-SXM4-80GB"), 312);
  EXPECT_EQ(Tflops("NVIDIA A100 80GB PCIe", Dtype::kFloat16), 312);
  EXPECT_EQ(Tflops("NVIDIA A100 80GB PCIe", Dtype::kFloat32), 19.5);
  EXPECT_EQ(Tflops("NVIDIA L4"), 121);
  EXPECT_EQ(Tflops("NVIDIA L40S"), 362);
  EXPECT_EQ(Tflops("NVIDIA L40"), 181);
  EXPECT_EQ(Tflops("NVIDIA GB10"), 125);
  EXPECT_EQ(Tflops("NVIDIA GeForce RTX 4090"), 165.2);
}

TEST(PeakFlops, WhatOnlySoundsAlikeIsNotKnown) {
  for (const char* name :
       {"", "NVIDIA GB200", "NVIDIA A1000", "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "Tesla T4"})
    EXPECT_EQ(Tflops(name), 0) << name;
}

}  // namespace
}  // namespace ftd
