// Results in other forms, for who asks: merged models and GGUF files.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/hub/transfer.h"
#include "server/attempts/side_worker.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/requests/client_task.h"

namespace ftd {

// Each form is made once, by a worker of its own, however many ask for it at a time; when all of
// them have gone, the worker is killed. What is complete stays until its job is removed, or until
// it is pruned. Thread-safe.
class Exporter {
 public:
  // Both must outlive it, and all calls.
  Exporter(JobStore& store, const StateDir& state_dir, std::string worker)
      : store_(store), state_dir_(state_dir), worker_(std::move(worker)) {}

  // Removes what an earlier daemon left unfinished. Before anything is served.
  static void Sweep(const StateDir& state_dir);

  // Blocks until the form that `request` names of the job of that id is there. Errors: ExportJob's;
  // CANCELLED when the caller has gone.
  absl::StatusOr<v1::Export> Export(const std::string& job, const v1::ExportJobRequest& request,
                                    const ClientTaskControls& controls);

  // Returns the directory of a form of the job that was made, for sending it; "" is the result's
  // own. FAILED_PRECONDITION STATE_CONFLICT: it is not there; ExportJob makes it.
  absl::StatusOr<std::filesystem::path> Find(const Job& job, const std::string& name) const;

  // Removes complete forms of the owner's jobs (none: of everybody's) that nobody has asked for
  // since `before`.
  static void Prune(JobStore& store, const StateDir& state_dir,
                    const std::optional<std::string>& only_owner, absl::Time before);

 private:
  struct Order {
    Job job;
    std::string name;  // of the form
    v1::AttemptRequest::ResultExport asked;
    std::string base;
  };
  struct Work {
    int waiters = 0;
    hub::TransferProgress progress;
    std::optional<absl::Status> end;
    std::thread thread;
  };

  absl::StatusOr<Order> Judge(const std::string& job, const v1::ExportJobRequest& request) const;
  std::filesystem::path DirOf(const Order& order) const {
    return state_dir_.Exports(order.job.id) / order.name;
  }
  absl::Status Wait(const Order& order, const ClientTaskControls& controls);
  absl::Status WaitFor(Work& work, const ClientTaskControls& controls)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Work& StartWork(const Order& order) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Make(const Order& order, const SideWorkObserver& observer);

  JobStore& store_;
  const StateDir& state_dir_;
  const std::string worker_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::map<std::filesystem::path, std::unique_ptr<Work>> works_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
