#include "server/streams/backup_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/jobs/database_copy.h"

namespace ftd {
namespace {

constexpr int64_t kBackupChunk = 1 << 20;

}  // namespace

BackupSource::BackupSource(const StateDir& state_dir, std::function<void()> wake)
    : state_dir_(state_dir), thread_([this, wake = std::move(wake)] {
        auto made = MakeCopy();
        {
          const absl::MutexLock lock(&mutex_);
          made_ = std::move(made);
        }
        wake();
      }) {}

BackupSource::~BackupSource() {
  cancelled_ = true;
  thread_.join();
}

// A copy that would take the last of the disk from the queue is refused before it is begun.
absl::StatusOr<Fd> BackupSource::MakeCopy() const {
  std::error_code error;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(state_dir_.Database(), error));
  const auto space = state_dir_.DiskSpace();
  if (!error && space.has_value() && size + StateDir::kReserveBytes > space->free) {
    return Error(Reason::kDiskFull, absl::StrCat("a copy of the database takes ", size,
                                                 " bytes, of ", space->free, " that are free in ",
                                                 state_dir_.root().string(), "; free some space"));
  }
  return CopyDatabase(state_dir_.Database(), state_dir_.root(), [this] { return !cancelled_; });
}

absl::StatusOr<std::optional<v1::BackUpDatabaseResponse>> BackupSource::Next() {
  v1::BackUpDatabaseResponse message;
  if (sent_all_) return std::nullopt;
  if (!copy_.valid()) {
    const absl::MutexLock lock(&mutex_);
    if (!made_.has_value()) return std::nullopt;
    FTD_RETURN_IF_ERROR(made_->status());
    copy_ = **std::move(made_);
    left_ = lseek(copy_.get(), 0, SEEK_END);
    lseek(copy_.get(), 0, SEEK_SET);
    message.set_size_bytes(left_);
    return message;
  }
  if (left_ == 0) {
    sent_all_ = true;
    message.set_sha256(hash_.HexDigest());
    return message;
  }
  std::string& data = *message.mutable_data();
  data.resize(static_cast<size_t>(std::min(left_, kBackupChunk)));
  const ssize_t size = read(copy_.get(), data.data(), data.size());
  if (size <= 0) return ErrnoError(size == 0 ? EIO : errno, "read the copy of the database");
  data.resize(static_cast<size_t>(size));
  hash_.Update(data);
  left_ -= size;
  return message;
}

}  // namespace ftd
