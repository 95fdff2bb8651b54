// The two hash tables of a BPE model, and the hash of its words. Built once, then read-only.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace ftd {

// Folds a 128-bit product: each bit of the result depends on all bits of both factors.
inline uint64_t MixBits(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// A fast hash of bytes. Not keyed: it guards tables that are bounded or built from the model's own
// files.
inline uint64_t HashBytes(std::string_view bytes) {
  constexpr uint64_t kA = 0x9E3779B97F4A7C15u, kB = 0xD1B54A32D192ED03u;
  const char* p = bytes.data();
  size_t n = bytes.size();
  uint64_t hash = MixBits(n + kA, kB);
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    hash = MixBits(hash ^ word, kB);
  }
  uint64_t tail = 0;
  std::memcpy(&tail, p, n);
  return MixBits(hash ^ tail, kA);
}

// Strings to ids. Open addressing at a load of at most two thirds.
class StringTable {
 public:
  // Makes room for `count` strings of `bytes` bytes in all; Insert must not exceed `count`.
  void Reserve(size_t count, size_t bytes);
  // The last insertion of a string counts.
  void Insert(std::string_view key, int32_t id);
  // -1 when absent.
  int32_t Find(std::string_view key) const { return Find(key, HashBytes(key)); }
  int32_t Find(std::string_view key, uint64_t hash) const;
  // Has the memory that Find will read brought near, for a loop that looks up many keys.
  void Prefetch(std::string_view key) const {
    __builtin_prefetch(slots_.data() + (HashBytes(key) & mask_));
  }

 private:
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    int32_t id = -1;   // -1: free
    uint32_t offset = 0;
    uint32_t size = 0;
  };
  // The slot of `key`, or the free one where it would go.
  size_t Probe(std::string_view key, uint64_t hash) const;

  std::vector<Slot> slots_;
  std::string bytes_;
  size_t mask_ = 0;
};

// The outcome of merging a pair of tokens.
struct Merge {
  uint32_t rank;
  int32_t id;
};

// Pairs of ids to merges.
class MergeTable {
 public:
  void Reserve(size_t count);
  // The last insertion of a pair counts.
  void Insert(int32_t left, int32_t right, Merge merge);
  // nullptr when the pair does not merge.
  const Merge* Find(int32_t left, int32_t right) const {
    const uint64_t key = Key(left, right);
    for (size_t i = Index(key);; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return &slots_[i].merge;
      if (slots_[i].key == kFree) return nullptr;
    }
  }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};  // ids are not negative, so no pair has this key
  struct Slot {
    uint64_t key = kFree;
    Merge merge = {};
  };
  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t Index(uint64_t key) const { return MixBits(key, 0x9E3779B97F4A7C15u) & mask_; }

  std::vector<Slot> slots_ = std::vector<Slot>(1);
  size_t mask_ = 0;
};

}  // namespace ftd
