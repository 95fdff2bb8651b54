// A direct-mapped cache from words to their token ids: one cache line an entry, no allocation,
// and a size that never grows.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace ftd {

// Not thread-safe: each encoding thread borrows its own.
class WordCache {
 public:
  static constexpr size_t kMaxKey = 30;  // longer words and longer results are not kept
  static constexpr size_t kMaxIds = 8;

  // Appends the ids of `word` to `out`; false when they are not known. Requires: `word` is not
  // empty.
  bool Find(std::string_view word, uint64_t hash, std::vector<int32_t>* out) const {
    if (word.size() > kMaxKey) return false;
    const Line& line = lines_[hash % kLines];
    if (line.key_size != word.size() || std::memcmp(line.key, word.data(), word.size()) != 0)
      return false;
    out->insert(out->end(), line.ids, line.ids + line.id_count);
    return true;
  }

  void Insert(std::string_view word, uint64_t hash, const int32_t* ids, size_t count) {
    if (word.size() > kMaxKey || count > kMaxIds) return;
    Line& line = lines_[hash % kLines];
    line.key_size = static_cast<uint8_t>(word.size());
    line.id_count = static_cast<uint8_t>(count);
    std::memcpy(line.key, word.data(), word.size());
    std::memcpy(line.ids, ids, count * sizeof(int32_t));
  }

 private:
  static constexpr size_t kLines = 1 << 15;
  struct alignas(64) Line {
    int32_t ids[kMaxIds];
    uint8_t key_size = 0;  // 0: free
    uint8_t id_count = 0;
    char key[kMaxKey];
  };
  static_assert(sizeof(Line) == 64);
  std::vector<Line> lines_ = std::vector<Line>(kLines);
};

}  // namespace ftd
