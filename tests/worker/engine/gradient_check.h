// Checks an operator or a layer, forward and backward, against autograd in float64: over sizes,
// dtypes and devices, in one call.
//
// The reference is the operator's definition, written with ATen's plain operators. It reads the
// very numbers that the operator reads, rounded to the dtype already, so what differs is the
// operator's own rounding. Nothing of the engine is in it.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace ftd::engine {

using Size = std::pair<int64_t, int64_t>;  // rows and columns, or what the operator takes them for

// What an operator makes: its output, and the gradients of its inputs, one for each. A gradient
// that is undefined is not compared: that of an input which is frozen.
struct OutputAndGradients {
  at::Tensor y;
  std::vector<at::Tensor> gradients;
};

// What a dtype may differ by, in roundings (half its epsilon) of the largest value.
struct Tolerance {
  at::ScalarType dtype;
  double output, gradient;
};

struct GradientCheck {
  // Random inputs of a size, in float32 on the CPU.
  std::function<std::vector<at::Tensor>(const Size&)> inputs;
  // y of float64 inputs that record their history.
  std::function<at::Tensor(const std::vector<at::Tensor>&)> reference;
  // The operator under test: y of the inputs, and the gradients that follow from dy.
  std::function<OutputAndGradients(const std::vector<at::Tensor>&, const at::Tensor& dy)> op;

  std::vector<Size> sizes = {{1, 2}, {3, 15}, {7, 16}, {5, 17}, {64, 576}, {33, 1000}};
  std::vector<Tolerance> dtypes;
  std::vector<c10::Device> devices = {c10::Device(at::kCPU)};
};

// Half the distance from 1 to the next number: the relative error of rounding once.
inline double Rounding(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return std::ldexp(1.0, -24);
    case at::kBFloat16:
      return std::ldexp(1.0, -8);
    case at::kHalf:
      return std::ldexp(1.0, -11);
    default:
      return std::ldexp(1.0, -53);
  }
}

// Largest difference relative to the largest value of `expected`; infinite where one of `actual` is
// not a number, or where the shapes differ.
inline double Distance(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return INFINITY;
  const at::Tensor a = actual.detach().cpu().to(at::kDouble);
  const at::Tensor b = expected.detach().cpu().to(at::kDouble);
  const double difference = (a - b).abs().max().item<double>(),
               scale = b.abs().max().item<double>();
  if (std::isnan(difference)) return INFINITY;
  return difference / (scale > 0 ? scale : 1);
}

inline void CheckGradientsOf(const GradientCheck& check, const Size& size,
                             const Tolerance& tolerance, c10::Device device) {
  const at::ScalarType dtype = tolerance.dtype;
  SCOPED_TRACE(std::to_string(size.first) + " x " + std::to_string(size.second) + ", " +
               c10::toString(dtype) + ", " + device.str());
  std::vector<at::Tensor> inputs = check.inputs(size), leaves;
  for (at::Tensor& input : inputs) {
    input = input.to(dtype);
    // A copy even in float64: the operator reads tensors that record nothing.
    leaves.push_back(input.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true).requires_grad_());
  }
  const at::Tensor expected = check.reference(leaves);
  const at::Tensor dy = at::randn(expected.sizes()).to(dtype);
  expected.backward(dy.to(at::kDouble));

  for (at::Tensor& input : inputs) input = input.to(device);
  const OutputAndGradients actual = check.op(inputs, dy.to(device));
  EXPECT_LE(Distance(actual.y, expected), tolerance.output * Rounding(dtype)) << "output";
  ASSERT_EQ(actual.gradients.size(), leaves.size());
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!actual.gradients[i].defined()) continue;
    ASSERT_TRUE(leaves[i].grad().defined()) << "the reference does not depend on input " << i;
    EXPECT_LE(Distance(actual.gradients[i], leaves[i].grad()), tolerance.gradient * Rounding(dtype))
        << "gradient of input " << i;
  }
}

// Compares every size in every dtype on every device. Seeds ATen's generator by size, so that each
// case has the same numbers whatever ran before it.
inline void CheckGradients(const GradientCheck& check) {
  for (const c10::Device device : check.devices) {
    for (const Tolerance& tolerance : check.dtypes) {
      for (const Size& size : check.sizes) {
        at::manual_seed(static_cast<uint64_t>(size.first * 100003 + size.second));
        CheckGradientsOf(check, size, tolerance, device);
      }
    }
  }
}

}  // namespace ftd::engine
