// What the judgement of a submit was a moment ago, for those who submit many jobs of one spec.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/steady_clock.h"
#include "lib/hub/model_finder.h"
#include "lib/spec/train_spec.h"
#include "server/host/small_cache.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"
#include "server/requests/caller.h"

namespace ftd {

// Thread-safe.
class RecentJudgements {
 public:
  // Both must outlive it.
  RecentJudgements(const StateDir& state_dir, const ModelFinder& models)
      : state_dir_(state_dir), models_(models) {}

  // The job that was kept for the same spec of the same caller within the last second, as long as
  // its model is where it was, none of the model's files has changed and the uploads are there. Who
  // asks within a few milliseconds of another one shares its look at the files.
  std::optional<Job> Find(const std::string& spec_json, const Caller& caller);
  // Keeps the job that a spec was judged to be, if that rests on a directory and on uploads alone;
  // what comes from elsewhere is judged each time. `model_files`: FingerprintOf its model, from
  // before it was judged.
  void Keep(const std::string& spec_json, const Caller& caller, const TrainSpec& resolved,
            std::string model_files, const Job& judged);

 private:
  struct Judgement {
    Moment time;
    std::string model;  // as the spec names it
    std::string model_files;
    std::vector<std::string> uploads;  // their hashes
    Job job;
    mutable std::atomic<int64_t> looked_ns{0};  // when it was last seen to hold, steady
  };

  bool Holds(const Judgement& judgement) const;

  const StateDir& state_dir_;
  const ModelFinder& models_;
  SmallCache<Judgement> judgements_{/*most_entries=*/64, /*most_bytes=*/64 << 10};
};

}  // namespace ftd
