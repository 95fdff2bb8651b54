// One transaction, and one flush to disk, for all changes of the database that wait at the same
// time.
//
// A caller that finds nobody at work leads: it runs its own change and those that have come in the
// meantime, commits them together and hands over to the first of those that came since. So a single
// caller waits for no other thread, and many share a flush.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/jobs/sqlite.h"

namespace ftd {

// Thread-safe.
class GroupCommit {
 public:
  // Changes the database within a transaction that is open. When it fails, nothing of it is kept.
  // May run a second time, after a first one of which nothing was kept.
  using Change = absl::FunctionRef<absl::Status(Database&)>;
  // Takes back what a change that succeeded has noted in memory, because the disk did not take it.
  using Undo = absl::FunctionRef<void()>;

  explicit GroupCommit(Database database) : database_(std::move(database)) {}

  // Returns once the change is durable, or has failed. Changes, and what is undone of them, run one
  // after another, each on any of the callers' threads.
  absl::Status Run(Change change, Undo undo);
  // Called with the time that each commit took, by one thread at a time. Set once, before Run.
  void SetCommitListener(std::function<void(absl::Duration)> listener) {
    database_.SetCommitListener(std::move(listener));
  }

 private:
  // So long does nobody wait for the flush of what came after it.
  static constexpr size_t kMostChanges = 256;

  // A call of Run.
  struct Call {
    Change change;
    Undo undo;
    absl::Status status;
    bool done = false;   // guarded by mutex_, as is the next
    bool leads = false;  // it is its turn to lead
    absl::CondVar turn;
  };

  // Runs the calls' changes in one transaction and sets their statuses. Requires: the caller leads.
  void Commit(const std::vector<Call*>& group);
  // The same in a transaction of each one's own.
  void CommitAlone(const std::vector<Call*>& group);
  // Runs a change so that nothing is left of it when it fails.
  absl::Status Apply(Change change);
  static void UndoAll(const std::vector<Call*>& group, const absl::Status& why);

  Database database_;  // used by the one who leads
  absl::Mutex mutex_;
  std::deque<Call*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool led_ ABSL_GUARDED_BY(mutex_) = false;  // there is somebody who leads
};

}  // namespace ftd
