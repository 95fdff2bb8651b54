// One transaction, and one flush to disk, for all changes of the database that wait at the same
// time.
//
// A thread of its own takes what has come in while it was committing, runs it in one transaction
// and tells each caller. Nobody waits for others to come: a single change is committed at once.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/jobs/sqlite.h"

namespace ftd {

// Thread-safe.
class GroupCommit {
 public:
  // Changes the database within a transaction that is open. When it fails, nothing of it is kept.
  // May run again, after a time of which nothing was kept.
  using Change = std::function<absl::Status(Database&)>;
  // Takes back what a change that succeeded has noted in memory, because the disk did not take it.
  using Undo = std::function<void()>;
  // The change is durable, or has failed.
  using Done = std::function<void(const absl::Status&)>;

  explicit GroupCommit(Database database);
  // Commits what was posted before it ends.
  ~GroupCommit();

  // Runs the change in turn with others. All three run on the writer's thread, so they must neither
  // wait for long nor call Run.
  void Post(Change change, Undo undo, Done done);
  // Returns once the change is durable, or has failed.
  absl::Status Run(absl::FunctionRef<absl::Status(Database&)> change,
                   absl::FunctionRef<void()> undo);
  // Called with the time that each commit took, by one thread at a time. Set once, before the first
  // change.
  void SetCommitListener(std::function<void(absl::Duration)> listener) {
    database_.SetCommitListener(std::move(listener));
  }

 private:
  // So many changes at most wait for the flush of one.
  static constexpr size_t kMostChanges = 256;

  struct Call {
    Change change;
    Undo undo;
    Done done;
    absl::Status status;
  };

  void Write();
  // Runs the calls' changes and sets their statuses.
  void Commit(std::vector<Call>& group);
  // In one transaction. False: nothing is kept, since one that failed would have left something.
  bool CommitTogether(std::vector<Call>& group, bool savepoints);
  // In a transaction of each one's own.
  void CommitAlone(std::vector<Call>& group);
  // Runs a change so that nothing is left of it when it fails.
  absl::Status Apply(const Change& change);

  Database database_;  // used by the thread
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<Call> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace ftd
