#include "server/streams/result_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kResultChunk = 1 << 20;

absl::Status Lost(const fs::path& path, const std::string& what) {
  return Error(Reason::kResultMissing, absl::StrCat("result ", path.string(), ": ", what));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ResultSource>> ResultSource::Open(const fs::path& root) {
  auto source = std::unique_ptr<ResultSource>(new ResultSource(root));
  std::error_code error;
  // Only names are held, sorted, so that a stream costs little memory and two downloads are alike.
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator entry(source->root_, error), end; !error && entry != end;
       entry.increment(error)) {
    // Links are not followed: a result is made of files.
    if (entry->symlink_status().type() == fs::file_type::regular) {
      files.push_back(entry->path().lexically_relative(source->root_));
    }
  }
  if (error) {
    const absl::Status status = ErrnoError(error.value(), source->root_.string());
    return absl::IsUnavailable(status) ? status : Lost(source->root_, error.message());
  }
  std::sort(files.begin(), files.end());
  source->files_.assign(files.begin(), files.end());
  return source;
}

// Each file comes as its path and size, its bytes in pieces of 1 MiB, and the SHA-256 of what was
// sent, by which the client checks the whole way.
absl::StatusOr<std::optional<v1::DownloadResultResponse>> ResultSource::Next() {
  if (file_.valid()) return ContinueFile();
  if (!files_.empty()) return StartFile();
  return std::nullopt;
}

absl::StatusOr<v1::DownloadResultResponse> ResultSource::StartFile() {
  path_ = files_.front();
  files_.pop_front();
  auto file = OpenFile(root_ / path_, O_RDONLY | O_NOFOLLOW);
  if (absl::IsUnavailable(file.status())) return file.status();  // nothing is lost
  if (!file.ok()) return Lost(root_ / path_, std::string(file.status().message()));
  file_ = *std::move(file);
  struct stat info;
  if (fstat(file_.get(), &info) != 0) {
    return ErrnoError(errno, absl::StrCat("stat ", path_.string()));
  }
  // As many bytes as the header promised are sent, and no fewer: a file that shrank is an error.
  left_ = info.st_size;
  hash_.emplace();
  v1::DownloadResultResponse message;
  // A name may be any bytes, the field is text.
  message.mutable_file()->set_path(EscapeInvalidUtf8(path_.generic_string()));
  message.mutable_file()->set_size_bytes(left_);
  return message;
}

// The hash is of the bytes that were read for sending, not of an earlier look at the file.
absl::StatusOr<v1::DownloadResultResponse> ResultSource::ContinueFile() {
  v1::DownloadResultResponse message;
  if (left_ == 0) {
    message.set_sha256(hash_->HexDigest());
    file_.Reset();
    return message;
  }
  std::string& data = *message.mutable_data();
  data.resize(static_cast<size_t>(std::min(left_, kResultChunk)));
  const ssize_t size = read(file_.get(), data.data(), data.size());
  if (size <= 0) {
    return Lost(root_ / path_,
                size == 0 ? "it became shorter" : std::generic_category().message(errno));
  }
  data.resize(static_cast<size_t>(size));
  hash_->Update(data);
  left_ -= size;
  return message;
}

}  // namespace ftd
