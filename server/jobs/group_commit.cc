#include "server/jobs/group_commit.h"

#include <algorithm>
#include <utility>

#include "lib/base/error.h"

namespace ftd {

absl::Status GroupCommit::Run(Change change, Undo undo) {
  Call call{.change = change, .undo = undo};
  std::vector<Call*> group;
  {
    absl::MutexLock lock(&mutex_);
    waiting_.push_back(&call);
    call.leads = !std::exchange(led_, true);
    while (!call.leads && !call.done) call.turn.Wait(&mutex_);
    if (call.done) return call.status;
    const size_t size = std::min(waiting_.size(), kMostChanges);
    const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(size);
    group.assign(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
  }
  Commit(group);
  absl::MutexLock lock(&mutex_);
  for (Call* other : group) {
    if (other == &call) continue;
    other->done = true;
    other->turn.Signal();
  }
  led_ = !waiting_.empty();
  if (led_) {
    waiting_.front()->leads = true;
    waiting_.front()->turn.Signal();
  }
  return call.status;
}

void GroupCommit::Commit(const std::vector<Call*>& group) {
  // A savepoint in a transaction of a single change would cost time and say nothing new.
  if (group.size() == 1) return CommitAlone(group);
  auto transaction = Transaction::Begin(database_);
  for (Call* call : group)
    call->status = transaction.ok() ? absl::UnknownError("not run") : transaction.status();
  if (!transaction.ok()) return;
  for (Call* call : group) {
    call->status = Apply(call->change);
    if (database_.InTransaction()) continue;
    // Some errors of the disk make SQLite give up the whole transaction, with what the others did.
    UndoAll(group, call->status);
    return CommitAlone(group);
  }
  if (const absl::Status committed = transaction->Commit(); !committed.ok())
    UndoAll(group, committed);
}

void GroupCommit::UndoAll(const std::vector<Call*>& group, const absl::Status& why) {
  for (auto call = group.rbegin(); call != group.rend(); ++call) {
    if (!(*call)->status.ok()) continue;
    (*call)->undo();
    (*call)->status = why;
  }
}

void GroupCommit::CommitAlone(const std::vector<Call*>& group) {
  for (Call* call : group) {
    auto transaction = Transaction::Begin(database_);
    call->status = transaction.ok() ? call->change(database_) : transaction.status();
    if (!call->status.ok()) continue;
    if (const absl::Status committed = transaction->Commit(); !committed.ok())
      UndoAll({call}, committed);
  }
}

absl::Status GroupCommit::Apply(Change change) {
  FTD_RETURN_IF_ERROR(database_.Run("SAVEPOINT one"));
  const absl::Status applied = change(database_);
  if (!applied.ok() && database_.InTransaction())
    FTD_RETURN_IF_ERROR(database_.Run("ROLLBACK TO one"));
  if (database_.InTransaction()) FTD_RETURN_IF_ERROR(database_.Run("RELEASE one"));
  return applied;
}

}  // namespace ftd
