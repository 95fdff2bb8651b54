#include "bench/gpu/piece_timer.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/Event.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

namespace ftd::engine {
namespace {

constexpr int kWarmUps = 3, kRepeats = 15, kBlockers = 4;

double Median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<int64_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

double HostMilliseconds(const std::function<void()>& f) {
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    times.push_back(time.count());
  }
  return Median(std::move(times));
}

}  // namespace

PieceTimer::PieceTimer(c10::Device device)
    : device_(device), dtype_(device.is_cuda() ? at::kBFloat16 : at::kFloat) {
  if (device.is_cuda()) blocker_ = Random({8192, 8192});
}

at::Tensor PieceTimer::Random(at::IntArrayRef shape, double scale) const {
  return at::randn(shape, at::TensorOptions(device_).dtype(dtype_)).mul_(scale);
}

void PieceTimer::Flops(const std::string& name, int64_t rows, double work,
                       const std::function<void()>& f) {
  Add(name, rows, work * 1e-9, "TFLOP/s", f);
}

void PieceTimer::Bytes(const std::string& name, int64_t rows, double work,
                       const std::function<void()>& f) {
  Add(name, rows, work * 1e-6, "GB/s", f);
}

void PieceTimer::Add(const std::string& name, int64_t rows, double work_per_ms, const char* unit,
                     const std::function<void()>& f) {
  for (int i = 0; i < kWarmUps; ++i) f();
  const double ms = std::max(device_.is_cuda() ? DeviceMilliseconds(f) : HostMilliseconds(f), 1e-9);
  const double rate = work_per_ms / ms;
  figures_.push_back({{"name", name}, {"rows", rows}, {"ms", ms}, {"rate", rate}, {"unit", unit}});
  std::fprintf(stderr, "%-34s %6lld rows %10.4f ms %10.1f %s\n", name.c_str(),
               static_cast<long long>(rows), ms, rate, unit);
}

// Between events of the device. Products queued first keep it busy while the calls are made, so
// that none of them waits for its launch.
double PieceTimer::DeviceMilliseconds(const std::function<void()>& f) const {
  const c10::impl::VirtualGuardImpl guard(device_.type());
  const c10::Stream stream = guard.getStream(device_);
  std::vector<std::pair<c10::Event, c10::Event>> events;
  events.reserve(kRepeats);
  for (int i = 0; i < kBlockers; ++i) at::mm(blocker_, blocker_);
  for (int i = 0; i < kRepeats; ++i) {
    auto& [begin, end] =
        events.emplace_back(c10::Event(device_.type(), c10::EventFlag::BACKEND_DEFAULT),
                            c10::Event(device_.type(), c10::EventFlag::BACKEND_DEFAULT));
    begin.record(stream);
    f();
    end.record(stream);
  }
  events.back().second.synchronize();
  std::vector<double> times;
  times.reserve(events.size());
  for (const auto& [begin, end] : events) times.push_back(begin.elapsedTime(end));
  return Median(std::move(times));
}

}  // namespace ftd::engine
