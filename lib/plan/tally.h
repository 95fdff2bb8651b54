// Memory as it is allocated and freed, without any: what the functions that replay the engine's
// tensors count with (step_memory.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "lib/base/ceil_div.h"

namespace ftd {

constexpr int64_t kAllocatedBlock = 512;  // bytes that the caching allocator rounds to
constexpr int64_t kFloat = 4;             // bytes of a number

// Bytes that are held now, and the most that ever were.
class Tally {
 public:
  void Add(int64_t bytes) { peak_ = std::max(peak_, now_ += bytes); }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

// Stands for a tensor: counts as long as it lives. Assignment frees the old one after the new one
// exists, as with `x = f(x)` of tensors; a Held that is not kept counts for a moment, as a
// temporary does.
class Held {
 public:
  Held() = default;
  Held(Tally& tally, int64_t bytes)
      : tally_(&tally), bytes_(CeilDiv(bytes, kAllocatedBlock) * kAllocatedBlock) {
    tally_->Add(bytes_);
  }
  Held(Held&& other) noexcept : tally_(other.tally_), bytes_(std::exchange(other.bytes_, 0)) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(tally_, other.tally_);
    std::swap(bytes_, other.bytes_);
    Held(std::move(other)).Free();
    return *this;
  }
  ~Held() { Free(); }

 private:
  void Free() {
    if (bytes_ > 0) tally_->Add(-std::exchange(bytes_, 0));
  }

  Tally* tally_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace ftd
