#include "server/generation/model_host.h"

#include <sys/socket.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/unix_socket.h"
#include "server/attempts/attempt_start.h"
#include "server/attempts/side_worker.h"

namespace ftd {

namespace fs = std::filesystem;

absl::StatusOr<std::unique_ptr<ModelHost>> ModelHost::Start(const std::string& worker,
                                                            const fs::path& dir,
                                                            const v1::AttemptRequest& request) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("create ", dir.string()));
  std::unique_ptr<ModelHost> host(new ModelHost(dir));
  FTD_ASSIGN_OR_RETURN(Fd lock, PrepareSideWork(dir, request));
  host->thread_ = std::thread([host = host.get(), worker, lock = std::move(lock)]() mutable {
    host->Run(worker, std::move(lock));
  });
  return host;
}

ModelHost::~ModelHost() {
  Kill();
  if (thread_.joinable()) thread_.join();
  std::error_code ignored;
  fs::remove_all(dir_, ignored);
}

// The worker ends with this thread.
void ModelHost::Run(const std::string& worker, Fd lock) {
  const auto work = RunSideWorker(worker, dir_, std::move(lock),
                                  {.go_on = [this] { return !killed(); }, .progress = {}});
  const absl::MutexLock guard(&mutex_);
  end_ = killed_ ? absl::OkStatus() : work.ok() ? StatusOf(work->end) : work.status();
}

void ModelHost::Kill() {
  const absl::MutexLock lock(&mutex_);
  killed_ = true;
}

bool ModelHost::killed() const {
  const absl::MutexLock lock(&mutex_);
  return killed_;
}

void ModelHost::SetReady() {
  const absl::MutexLock lock(&mutex_);
  ready_ = true;
}

bool ModelHost::ready() const {
  const absl::MutexLock lock(&mutex_);
  return ready_;
}

std::optional<absl::Status> ModelHost::End() const {
  const absl::MutexLock lock(&mutex_);
  return end_;
}

absl::StatusOr<Fd> ModelHost::Connect() const {
  return ConnectTo(dir_ / "generation.sock", SOCK_STREAM);
}

}  // namespace ftd
