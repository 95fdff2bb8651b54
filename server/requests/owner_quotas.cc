#include "server/requests/owner_quotas.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/tree_bytes.h"
#include "server/jobs/wire.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMib = 1 << 20;
// A block of the disk; so many small files are no way round.
constexpr int64_t kLeastUpload = 4096;
constexpr absl::Duration kLongestUpload = absl::Hours(24);

absl::Status Exceeded(const Caller& caller, const std::string& what, const std::string& remedy) {
  return Error(Reason::kQuotaExceeded, absl::StrCat(caller.owner, " has ", what, "; ", remedy));
}

}  // namespace

std::vector<std::string> UploadsOf(const Job& job) {
  const auto spec = SpecOf(job);
  const v1::Dataset& dataset = spec->dataset();
  std::vector<std::string> uploads;
  if (!dataset.upload_sha256().empty()) uploads.push_back(dataset.upload_sha256());
  for (const auto& file : dataset.files())
    if (file.server_path().empty()) uploads.push_back(file.sha256());
  return uploads;
}

absl::StatusOr<std::shared_ptr<void>> OwnerQuotas::OpenStream(const Caller& caller) {
  const std::shared_ptr<Streams> streams = streams_;
  const std::string& owner = caller.owner;
  {
    const absl::MutexLock lock(&streams->mutex);
    int64_t& open = streams->open[owner];
    if (caller.role != Role::kAdmin && open >= limits_.streams) {
      return Exceeded(caller, absl::StrCat(open, " streams open, as many as one owner may"),
                      "close some, then retry");
    }
    ++open;
  }
  // The pointer stands for the slot alone.
  return std::shared_ptr<void>(streams.get(), [streams, owner](void*) {
    const absl::MutexLock lock(&streams->mutex);
    const auto open = streams->open.find(owner);
    if (--open->second == 0) streams->open.erase(open);
  });
}

absl::StatusOr<std::vector<Job>> OwnerQuotas::JobsOf(const std::string& owner) const {
  std::vector<Job> jobs;
  FTD_RETURN_IF_ERROR(store_.ForEach({}, owner, [&](Job job) {
    jobs.push_back(std::move(job));
    return absl::OkStatus();
  }));
  return jobs;
}

absl::Status OwnerQuotas::AdmitUpload(const Caller& caller, const std::string& sha256,
                                      int64_t announced) {
  const int64_t size_bytes = std::max(announced, kLeastUpload);
  if (caller.role == Role::kAdmin || limits_.upload_bytes == 0) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const auto jobs, JobsOf(caller.owner));
  const auto file = [&](const std::string& upload) { return state_dir_.Uploads() / upload; };
  std::error_code gone;
  const absl::MutexLock lock(&mutex_);
  auto& sent = sent_[caller.owner];
  // What is not there is on its way, or was removed long ago.
  std::erase_if(sent, [&](const auto& upload) {
    return SteadyNow() - upload.second.time > kLongestUpload &&
           !fs::exists(file(upload.first), gone);
  });
  std::map<std::string, int64_t> others;
  for (const auto& [upload, its] : sent) others[upload] = its.bytes;
  for (const Job& job : jobs) {
    for (const std::string& upload : UploadsOf(job)) {
      const auto size = fs::file_size(file(upload), gone);
      if (!gone) others[upload] = static_cast<int64_t>(size);
    }
  }
  others.erase(sha256);
  int64_t bytes = size_bytes;
  for (const auto& [unused, size] : others) bytes += size;
  if (bytes > limits_.upload_bytes) {
    return Exceeded(caller,
                    absl::StrCat((bytes - size_bytes) / kMib, " MiB in uploads, and this file of ",
                                 size_bytes / kMib, " MiB is more than the ",
                                 limits_.upload_bytes / kMib, " MiB that one owner may have"),
                    "remove jobs that have ended with `ftctl rm`");
  }
  sent[sha256] = {size_bytes, SteadyNow()};
  return absl::OkStatus();
}

absl::Status OwnerQuotas::CheckStored(const Caller& caller) const {
  if (caller.role == Role::kAdmin || limits_.stored_bytes == 0) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const auto jobs, JobsOf(caller.owner));
  int64_t bytes = 0;
  for (const Job& job : jobs) {
    bytes += TreeBytes(state_dir_.Attempts(job.id).parent_path());
    if (!job.result_dir.empty()) bytes += TreeBytes(job.result_dir);
    if (bytes < limits_.stored_bytes) continue;
    return Exceeded(
        caller,
        absl::StrCat("at least ", bytes / kMib, " MiB in checkpoints and results, of the ",
                     limits_.stored_bytes / kMib, " MiB that one owner may have"),
        "remove jobs that have ended with `ftctl rm --results`");
  }
  return absl::OkStatus();
}

}  // namespace ftd
