// Memory as it is allocated and freed, without any: what the functions that replay the engine's
// tensors count with (step_memory.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "lib/base/ceil_div.h"
#include "lib/plan/heap.h"

namespace ftd {

constexpr int64_t kAllocatedBlock = 512;  // bytes that a GPU's caching allocator and ours round to
constexpr int64_t kFloat = 4;             // bytes of a number

// Bytes that are held now, and the most that ever were: with `placed` as far as blocks reached that
// were placed as the engine places them on a CPU, gaps between them included.
class Tally {
 public:
  explicit Tally(bool placed) : placed_(placed) {}

  // Returns where the bytes are.
  int64_t Add(int64_t bytes) {
    if (placed_) return heap_.Place(bytes);
    peak_ = std::max(peak_, now_ += bytes);
    return 0;
  }
  void Remove(int64_t begin, int64_t bytes) {
    if (placed_) return heap_.Free(begin, bytes);
    now_ -= bytes;
  }
  int64_t peak() const { return placed_ ? heap_.furthest() : peak_; }

 private:
  const bool placed_;
  int64_t now_ = 0, peak_ = 0;
  Heap heap_;
};

// Stands for a tensor: counts as long as it lives. Assignment frees the old one after the new one
// exists, as with `x = f(x)` of tensors; a Held that is not kept counts for a moment, as a
// temporary does.
class Held {
 public:
  Held() = default;
  Held(Tally& tally, int64_t bytes)
      : tally_(&tally), bytes_(CeilDiv(bytes, kAllocatedBlock) * kAllocatedBlock) {
    if (bytes_ > 0) begin_ = tally_->Add(bytes_);
  }
  Held(Held&& other) noexcept
      : tally_(other.tally_), bytes_(std::exchange(other.bytes_, 0)), begin_(other.begin_) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(tally_, other.tally_);
    std::swap(bytes_, other.bytes_);
    std::swap(begin_, other.begin_);
    Held(std::move(other)).Free();
    return *this;
  }
  ~Held() { Free(); }

 private:
  void Free() {
    if (bytes_ > 0) tally_->Remove(begin_, std::exchange(bytes_, 0));
  }

  Tally* tally_ = nullptr;
  int64_t bytes_ = 0, begin_ = 0;
};

}  // namespace ftd
