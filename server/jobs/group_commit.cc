#include "server/jobs/group_commit.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/synchronization/notification.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

void Undone(const GroupCommit::Undo& undo, absl::Status& status, const absl::Status& why) {
  if (!status.ok()) return;
  undo();
  status = why;
}

}  // namespace

// The thread is the last member, so all others exist when it starts.
GroupCommit::GroupCommit(Database database)
    : database_(std::move(database)), thread_([this] { Write(); }) {}

GroupCommit::~GroupCommit() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  posted_.notify_one();
  thread_.join();
}

void GroupCommit::Post(Change change, Undo undo, Done done) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(change), std::move(undo), std::move(done), absl::OkStatus()});
  }
  posted_.notify_one();
}

absl::Status GroupCommit::Run(absl::FunctionRef<absl::Status(Database&)> change,
                              absl::FunctionRef<void()> undo) {
  absl::Status result;
  absl::Notification over;
  Post([&](Database& database) { return change(database); }, [&] { undo(); },
       [&](const absl::Status& status) {
         result = status;
         over.Notify();
       });
  over.WaitForNotification();
  return result;
}

void GroupCommit::Write() {
  pthread_setname_np(pthread_self(), "ftd-writer");
  std::unique_lock lock(mutex_);
  while (true) {
    posted_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const auto end =
        waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kMostChanges));
    std::vector<Call> group(std::make_move_iterator(waiting_.begin()),
                            std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    lock.unlock();
    Commit(group);
    for (const Call& call : group) call.done(call.status);
    group.clear();  // what they hold goes without the lock
    lock.lock();
  }
}

// A savepoint costs more than a change does: SQLite keeps a copy of each page that is changed after
// it. A change that fails has as a rule written nothing yet, so the first try does without.
void GroupCommit::Commit(std::vector<Call>& group) {
  if (group.size() == 1) return CommitAlone(group);
  if (CommitTogether(group, /*savepoints=*/false)) return;
  if (CommitTogether(group, /*savepoints=*/true)) return;
  CommitAlone(group);
}

bool GroupCommit::CommitTogether(std::vector<Call>& group, bool savepoints) {
  auto transaction = Transaction::Begin(database_);
  for (Call& call : group)
    call.status = transaction.ok() ? absl::UnknownError("not run") : transaction.status();
  if (!transaction.ok()) return true;
  const auto undo_all = [&](const absl::Status& why) {
    for (auto call = group.rbegin(); call != group.rend(); ++call)
      Undone(call->undo, call->status, why);
  };
  for (Call& call : group) {
    const int64_t before = database_.ChangedRows();
    call.status = savepoints ? Apply(call.change) : call.change(database_);
    const bool left = !savepoints && !call.status.ok() && database_.ChangedRows() != before;
    if (database_.InTransaction() && !left) continue;
    // Some errors of the disk make SQLite give up the whole transaction, with what the others did.
    undo_all(call.status);
    return false;
  }
  if (const absl::Status committed = transaction->Commit(); !committed.ok()) undo_all(committed);
  return true;
}

void GroupCommit::CommitAlone(std::vector<Call>& group) {
  for (Call& call : group) {
    auto transaction = Transaction::Begin(database_);
    call.status = transaction.ok() ? call.change(database_) : transaction.status();
    if (!call.status.ok()) continue;
    if (const absl::Status committed = transaction->Commit(); !committed.ok())
      Undone(call.undo, call.status, committed);
  }
}

absl::Status GroupCommit::Apply(const Change& change) {
  FTD_RETURN_IF_ERROR(database_.Run("SAVEPOINT one"));
  const absl::Status applied = change(database_);
  if (!applied.ok() && database_.InTransaction())
    FTD_RETURN_IF_ERROR(database_.Run("ROLLBACK TO one"));
  if (database_.InTransaction()) FTD_RETURN_IF_ERROR(database_.Run("RELEASE one"));
  return applied;
}

}  // namespace ftd
