// A wait whose end is stored as a time of the wall clock, so that it outlives the process.
#pragma once

#include <algorithm>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "lib/base/steady_clock.h"

namespace ftd {

// Asks the wall clock once per wait, when it first sees it, and follows the steady clock from then
// on: a wall clock that is set makes no wait longer or shorter. Remembers the last wait alone. Used
// by one thread.
class StoredWait {
 public:
  // Returns when the wait of `key` ends, which lasts until `end` but no longer than `longest` from
  // the first call, which alone asks for that.
  Moment EndOf(const std::string& key, absl::Time end,
               absl::FunctionRef<absl::Duration()> longest) {
    if (key != key_ || end != stored_end_) {
      key_ = key;
      stored_end_ = end;
      end_ = SteadyNow() + std::clamp(end - absl::Now(), absl::ZeroDuration(), longest());
    }
    return end_;
  }
  // The wait of `key`, stored to last until `end`, was begun by this process and ends at `moment`.
  void Begin(const std::string& key, absl::Time end, Moment moment) {
    key_ = key;
    stored_end_ = end;
    end_ = moment;
  }

 private:
  std::string key_;
  absl::Time stored_end_;
  Moment end_;
};

}  // namespace ftd
