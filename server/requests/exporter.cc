#include "server/requests/exporter.h"

#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/tree_bytes.h"
#include "lib/gguf/file_type.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_start.h"
#include "server/host/log.h"
#include "server/jobs/wire.h"
#include "server/requests/result_lookup.h"
#include "server/requests/stored_files.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kLook = absl::Milliseconds(100);
constexpr char kExport[] = "export";  // what the worker makes in its directory

// The forms that are complete, or, if `unfinished`, those that are not.
std::vector<fs::path> FormsOf(const fs::path& exports, bool unfinished) {
  std::vector<fs::path> forms;
  std::error_code error;
  for (fs::directory_iterator it(exports, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(kUnfinishedMark) == unfinished)
      forms.push_back(it->path());
  }
  return forms;
}

// The ids of jobs that have a directory.
std::vector<std::string> JobsIn(const StateDir& state_dir) {
  std::vector<std::string> jobs;
  std::error_code error;
  for (fs::directory_iterator it(state_dir.root() / "jobs", error), end; !error && it != end;
       it.increment(error))
    jobs.push_back(it->path().filename());
  return jobs;
}

std::string NameOf(const v1::ExportJobRequest& request) {
  if (request.gguf_type().empty()) return "merged";
  return absl::StrCat(request.adapter_only() ? "adapter-" : "gguf-", request.gguf_type());
}

// When it was made, or asked for last.
absl::Time UseTime(const fs::path& form) {
  std::error_code error;
  const fs::file_time_type time = fs::last_write_time(form, error);
  return error ? absl::InfiniteFuture() : absl::FromChrono(std::chrono::file_clock::to_sys(time));
}

void MarkUsed(const fs::path& form) {
  std::error_code gone;
  fs::last_write_time(form, fs::file_time_type::clock::now(), gone);
}

}  // namespace

void Exporter::Sweep(const StateDir& state_dir) {
  for (const std::string& job : JobsIn(state_dir)) {
    for (const fs::path& form : FormsOf(state_dir.Exports(job), /*unfinished=*/true))
      RemoveTree(form).IgnoreError();
  }
}

absl::StatusOr<Exporter::Order> Exporter::Judge(const std::string& id,
                                                const v1::ExportJobRequest& request) const {
  if (!request.gguf_type().empty()) {
    FTD_ASSIGN_OR_RETURN(const gguf::FileType* type, gguf::FindFileType(request.gguf_type()));
    if (request.adapter_only() && gguf::RowOf(type->type).block != 1)
      return FieldError({{"gguf_type", "must be f32, f16 or bf16 for an adapter"}});
  } else if (request.adapter_only()) {
    return FieldError({{"adapter_only", "is for GGUF files: gguf_type is empty"}});
  }
  FTD_ASSIGN_OR_RETURN(Job job, store_.Get(id));
  FTD_RETURN_IF_ERROR(CheckNotPruned(store_, job));
  FTD_RETURN_IF_ERROR(CheckHasResult(job));
  Order order{.job = std::move(job), .name = NameOf(request), .asked = {}, .base = {}};
  const bool full = SpecOf(order.job)->mode() == v1::JobSpec::FULL;
  if (full && request.adapter_only())
    return FieldError({{"adapter_only", "is for jobs that trained an adapter"}});
  order.asked.set_gguf_type(request.gguf_type());
  order.asked.set_adapter_only(request.adapter_only());
  if (full && request.gguf_type().empty()) order.name.clear();  // the result is that already
  if (!full) order.asked.set_adapter_dir(order.job.result_dir);
  order.base = full ? order.job.result_dir : order.job.model_dir;
  return order;
}

absl::StatusOr<v1::Export> Exporter::Export(const std::string& job,
                                            const v1::ExportJobRequest& request,
                                            const ClientTaskControls& controls) {
  FTD_ASSIGN_OR_RETURN(const Order order, Judge(job, request));
  if (!order.name.empty()) FTD_RETURN_IF_ERROR(Wait(order, controls));
  FTD_ASSIGN_OR_RETURN(const fs::path dir, Find(order.job, order.name));
  v1::Export made;
  made.set_name(order.name);
  made.set_size_bytes(TreeBytes(dir));
  return made;
}

absl::StatusOr<fs::path> Exporter::Find(const Job& job, const std::string& name) const {
  if (name.empty()) return fs::path(job.result_dir);
  // By comparison, since a name that came from outside is not a path.
  for (const fs::path& form : FormsOf(state_dir_.Exports(job.id), /*unfinished=*/false)) {
    if (form.filename() != name) continue;
    MarkUsed(form);
    return form;
  }
  return Error(Reason::kStateConflict,
               absl::StrCat("job ", job.DisplayName(), " has no ", name, " now; export it first"));
}

// Each who waits looks ten times a second whether its caller has gone. The last who leaves ends the
// work; until that has ended, who comes waits, and then begins again.
absl::Status Exporter::Wait(const Order& order, const ClientTaskControls& controls) {
  const fs::path dir = DirOf(order);
  absl::Status status;
  std::thread ended;
  {
    const absl::MutexLock lock(&mutex_);
    auto found = works_.find(dir);
    for (; found != works_.end() && found->second->waiters == 0; found = works_.find(dir)) {
      if (controls.cancelled()) return absl::CancelledError();
      changed_.WaitWithTimeout(&mutex_, kLook);
    }
    std::error_code error;
    if (found == works_.end() && fs::exists(dir, error)) return absl::OkStatus();
    Work& work = found != works_.end() ? *found->second : StartWork(order);
    ++work.waiters;
    status = WaitFor(work, controls);
    if (--work.waiters > 0) return status;
    ended = std::move(work.thread);
  }
  ended.join();
  const absl::MutexLock lock(&mutex_);
  works_.erase(dir);
  changed_.SignalAll();
  return status;
}

absl::Status Exporter::WaitFor(Work& work, const ClientTaskControls& controls) {
  int64_t told = 0;
  while (!work.end.has_value()) {
    if (controls.cancelled()) return absl::CancelledError();
    if (std::exchange(told, work.progress.done_bytes) != work.progress.done_bytes)
      controls.progress(work.progress);
    changed_.WaitWithTimeout(&mutex_, kLook);
  }
  return *work.end;
}

// The lock is held until the first who waits is counted.
Exporter::Work& Exporter::StartWork(const Order& order) {
  Work& work = *(works_[DirOf(order)] = std::make_unique<Work>());
  work.thread = std::thread([this, &work, order] {
    const SideWorkObserver observer{.go_on =
                                        [&] {
                                          const absl::MutexLock lock(&mutex_);
                                          return work.waiters > 0;
                                        },
                                    .progress =
                                        [&](const v1::Progress& progress) {
                                          const absl::MutexLock lock(&mutex_);
                                          work.progress = {progress.done(), progress.total(), 0};
                                        }};
    const absl::Status status = Make(order, observer);
    const absl::MutexLock lock(&mutex_);
    work.end = status;
    changed_.SignalAll();
  });
  return work;
}

absl::Status Exporter::Make(const Order& order, const SideWorkObserver& observer) {
  const About about{.job = order.job.id};
  const fs::path dir = DirOf(order), exports = dir.parent_path();
  std::error_code error;
  fs::create_directories(exports, error);
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch,
                       ScratchDir::Create(exports / absl::StrCat(kUnfinishedMark, order.name)));
  FTD_ASSIGN_OR_RETURN(
      Fd lock, PrepareExport(state_dir_, order.job, scratch.path(), order.asked, order.base));
  FTD_ASSIGN_OR_RETURN(const SideWork work,
                       RunSideWorker(worker_, scratch.path(), std::move(lock), observer));
  FTD_RETURN_IF_ERROR(StatusOf(work.end));
  FTD_RETURN_IF_ERROR(RenameDurably(scratch.path() / kExport, dir));
  LogInfo(about, "its result was exported as ", order.name);
  // It may have been removed meanwhile, and nobody would remove this.
  absl::Status job = store_.Get(order.job.id).status();
  if (absl::IsNotFound(job)) RemoveTree(exports.parent_path()).IgnoreError();
  return job;
}

void Exporter::Prune(JobStore& store, const StateDir& state_dir,
                     const std::optional<std::string>& only_owner, absl::Time before) {
  for (const std::string& id : JobsIn(state_dir)) {
    const std::vector<fs::path> forms = FormsOf(state_dir.Exports(id), /*unfinished=*/false);
    if (forms.empty()) continue;
    const auto job = store.Get(id);
    if (only_owner.has_value() && (!job.ok() || job->owner != *only_owner)) continue;
    for (const fs::path& form : forms) {
      if (UseTime(form) > before) continue;
      // As a whole or not at all, for who downloads it.
      const auto trash = MoveToTrash(form);
      const absl::Status removed = trash.ok() ? RemoveTree(*trash) : trash.status();
      if (removed.ok()) LogInfo(About{.job = id}, "pruned ", form.filename().string());
    }
  }
}

}  // namespace ftd
