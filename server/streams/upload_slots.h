// How many uploads may be under way: each holds a descriptor and part of a file.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/error.h"

namespace ftd {

// Thread-safe.
class UploadSlots {
 public:
  static constexpr int kMostOfOwner = 16, kMostOfAll = 64;

  // One upload's; given back when it is destroyed. The slots must outlive it.
  class Slot {
   public:
    Slot(UploadSlots& slots, std::string owner) : slots_(slots), owner_(std::move(owner)) {}
    ~Slot() { slots_.GiveBack(owner_); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    UploadSlots& slots_;
    const std::string owner_;
  };

  // RESOURCE_EXHAUSTED TOO_MANY_UPLOADS when `owner`, or all together, have too many under way.
  absl::StatusOr<std::unique_ptr<Slot>> Take(const std::string& owner) {
    const absl::MutexLock lock(&mutex_);
    int& of_owner = by_owner_[owner];
    if (of_owner >= kMostOfOwner || all_ >= kMostOfAll) {
      return Error(
          Reason::kTooManyUploads,
          of_owner >= kMostOfOwner
              ? absl::StrCat("you have ", of_owner, " uploads under way already; let some end")
              : absl::StrCat(all_,
                             " uploads are under way already; retry when some have "
                             "ended"));
    }
    ++of_owner;
    ++all_;
    return std::make_unique<Slot>(*this, owner);
  }

 private:
  void GiveBack(const std::string& owner) {
    const absl::MutexLock lock(&mutex_);
    --all_;
    if (--by_owner_[owner] == 0) by_owner_.erase(owner);
  }

  absl::Mutex mutex_;
  std::map<std::string, int> by_owner_ ABSL_GUARDED_BY(mutex_);
  int all_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ftd
