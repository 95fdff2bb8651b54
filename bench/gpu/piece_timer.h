// Times single pieces of work on one device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "nlohmann/json.hpp"

namespace ftd::engine {

class PieceTimer {
 public:
  // Tensors are bfloat16 on a GPU, float32 on the CPU.
  explicit PieceTimer(c10::Device device);

  // Normally distributed numbers on the device.
  at::Tensor Random(at::IntArrayRef shape, double scale = 0.02) const;

  // Takes the median time of several calls of `f`, after a few that warm up, and from it the rate:
  // of `work` floating-point operations in TFLOP/s, or of `work` bytes in GB/s.
  void Flops(const std::string& name, int64_t rows, double work, const std::function<void()>& f);
  void Bytes(const std::string& name, int64_t rows, double work, const std::function<void()>& f);

  int64_t element_size() const { return static_cast<int64_t>(at::elementSize(dtype_)); }
  c10::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }
  // An array of {name, rows, ms, rate, unit}.
  const nlohmann::json& figures() const { return figures_; }

 private:
  // `work_per_ms`: what the rate would be if a call took a millisecond.
  void Add(const std::string& name, int64_t rows, double work_per_ms, const char* unit,
           const std::function<void()>& f);
  double DeviceMilliseconds(const std::function<void()>& f) const;

  c10::Device device_;
  at::ScalarType dtype_;
  at::Tensor blocker_;
  nlohmann::json figures_ = nlohmann::json::array();
};

}  // namespace ftd::engine
