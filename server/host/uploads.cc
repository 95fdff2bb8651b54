#include "server/host/uploads.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr char kTemporaryPrefix[] = ".tmp-";

// Refuses an upload that cannot fit before any of it is sent.
absl::Status CheckSpace(const fs::path& uploads, int64_t size_bytes) {
  struct statvfs space;
  if (statvfs(uploads.c_str(), &space) != 0) {
    return ErrnoError(errno, "statvfs " + uploads.string());
  }
  const uint64_t free_bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  if (static_cast<uint64_t>(size_bytes) <= free_bytes) return absl::OkStatus();
  return Error(Reason::kDiskReserve,
               absl::StrCat("the file has ", size_bytes, " bytes, the server's disk has room for ",
                            free_bytes, "; free some space"));
}

// A name of its own for each upload: two clients may send the same file at once.
absl::StatusOr<Fd> MakeTemporary(std::string& path) {
  Fd fd(mkostemp(path.data(), O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "create " + path);
  return fd;
}

}  // namespace

void Touch(const fs::path& upload) { utimensat(AT_FDCWD, upload.c_str(), nullptr, 0); }

bool IsSha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

absl::StatusOr<std::unique_ptr<Upload>> Upload::Begin(const fs::path& uploads,
                                                      const std::string& sha256,
                                                      int64_t size_bytes) {
  if (!IsSha256(sha256)) {
    return FieldError({{"header.sha256", "must be 64 digits of lower-case hex"}});
  }
  if (size_bytes < 0) return FieldError({{"header.size_bytes", "must not be negative"}});
  auto upload = std::unique_ptr<Upload>(new Upload);
  upload->final_path_ = uploads / sha256;
  upload->sha256_ = sha256;
  upload->size_bytes_ = size_bytes;
  std::error_code error;
  // By its name alone: a file has its final name only once its bytes were verified.
  upload->already_present_ = fs::exists(upload->final_path_, error);
  if (upload->already_present_) {
    Touch(upload->final_path_);
    return upload;
  }
  FTD_RETURN_IF_ERROR(CheckSpace(uploads, size_bytes));
  std::string path = (uploads / absl::StrCat(kTemporaryPrefix, "XXXXXX")).string();
  FTD_ASSIGN_OR_RETURN(upload->file_, MakeTemporary(path));
  upload->temporary_path_ = std::move(path);
  return upload;
}

Upload::~Upload() {
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

// More bytes than announced are refused at once, before they fill the disk.
absl::Status Upload::Append(std::string_view data) {
  received_ += static_cast<int64_t>(data.size());
  if (received_ > size_bytes_) {
    return FieldError(
        {{"header.size_bytes", absl::StrCat("announced ", size_bytes_, " bytes, but more came")}});
  }
  hash_.Update(data);
  return WriteAll(file_.get(), data, temporary_path_);
}

// The hash before the name. Of two uploads of the same file the later rename replaces equal bytes.
absl::Status Upload::Finish() {
  if (received_ != size_bytes_) {
    return FieldError(
        {{"header.size_bytes", absl::StrCat("announced ", size_bytes_, " bytes, but ", received_,
                                            " came; send the file again")}});
  }
  if (hash_.HexDigest() != sha256_) {
    return Error(
        Reason::kHashMismatch,
        absl::StrCat(
            "the bytes that came are not those of sha256 ", sha256_,
            "; the file changed while it was sent, or was damaged on the way: send it again"));
  }
  if (fsync(file_.get()) != 0) return ErrnoError(errno, "fsync " + temporary_path_);
  FTD_RETURN_IF_ERROR(RenameDurably(temporary_path_, final_path_));
  temporary_path_.clear();
  return absl::OkStatus();
}

// Called before any upload begins, so every temporary file is a dead daemon's.
void RemoveStaleUploads(const fs::path& uploads) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(uploads, error)) {
    std::error_code ignored;
    if (absl::StartsWith(entry.path().filename().string(), kTemporaryPrefix)) {
      fs::remove(entry.path(), ignored);
    }
  }
}

}  // namespace ftd
