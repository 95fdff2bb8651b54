// What was made of a text lately, for texts that come again and again.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

namespace ftd {

// Bounded: at most `most_entries` texts of at most `most_bytes` each. Thread-safe.
template <typename Value>
class SmallCache {
 public:
  SmallCache(size_t most_entries, size_t most_bytes)
      : most_entries_(most_entries), most_bytes_(most_bytes) {}

  // Null when it is not known.
  std::shared_ptr<const Value> Find(const std::string& text) const {
    const absl::MutexLock lock(&mutex_);
    const auto found = values_.find(text);
    return found == values_.end() ? nullptr : found->second;
  }

  void Keep(const std::string& text, std::shared_ptr<const Value> value) {
    if (text.size() > most_bytes_) return;
    const absl::MutexLock lock(&mutex_);
    // Crude, but nothing needs to be known about the order of their use.
    if (values_.size() >= most_entries_) values_.clear();
    values_.insert_or_assign(text, std::move(value));
  }

 private:
  const size_t most_entries_, most_bytes_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Value>> values_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
