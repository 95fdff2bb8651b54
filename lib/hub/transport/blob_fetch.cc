#include "lib/hub/transport/blob_fetch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/hub/transport/digest.h"

namespace ftd::hub {
namespace {

using std::chrono::steady_clock;

constexpr absl::Duration kLockPoll = absl::Milliseconds(100);

// A blob's bytes on disk, as far as they were fetched, and their digest.
class PartialBlob : public BodySink {
 public:
  PartialBlob(std::filesystem::path path, const RepoFile& file,
              const std::function<void(int64_t)>& fetched)
      : path_(std::move(path)), file_(file), fetched_(fetched) {}

  // Takes up the bytes that are there: they are hashed, which is faster than to fetch them again.
  absl::Status Open() {
    FTD_ASSIGN_OR_RETURN(fd_, OpenFile(path_, O_RDWR | O_CREAT, 0664));
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0) return Failed("stat");
    // Longer than the file: it cannot be the beginning of it.
    if (info.st_size > file_.size) return Restart();
    digest_.emplace(KindOf(file_.etag), file_.size);
    std::string buffer(kHashedAtOnce, '\0');
    while (size_ < info.st_size) {
      const ssize_t got = pread(fd_.get(), buffer.data(), buffer.size(), size_);
      if (got <= 0) return Failed("read");
      digest_->Update({buffer.data(), static_cast<size_t>(got)});
      size_ += got;
    }
    if (lseek(fd_.get(), size_, SEEK_SET) < 0) return Failed("seek");
    fetched_(size_);
    return absl::OkStatus();
  }

  // Discards the bytes that are there.
  absl::Status Restart() {
    if (ftruncate(fd_.get(), 0) != 0 || lseek(fd_.get(), 0, SEEK_SET) < 0)
      return Failed("truncate");
    digest_.emplace(KindOf(file_.etag), file_.size);
    size_ = 0;
    fetched_(0);
    return absl::OkStatus();
  }

  // 206: the rest, as was asked for. 200: the whole file, from a server that ignores ranges.
  absl::Status Begin(const HttpResponse& head) override {
    if (head.status == 206) return CheckRange(head.Header("content-range"));
    return size_ > 0 ? Restart() : absl::OkStatus();  // a server that knows no ranges
  }

  absl::Status Data(std::string_view bytes) override {
    // Checked before the write: a server must not fill the disk.
    if (size_ + static_cast<int64_t>(bytes.size()) > file_.size)
      return Protocol("the hub sends more bytes than the file has");
    FTD_RETURN_IF_ERROR(WriteAll(fd_.get(), bytes, path_));
    digest_->Update(bytes);
    size_ += static_cast<int64_t>(bytes.size());
    fetched_(size_);
    return absl::OkStatus();
  }

  int64_t size() const { return size_; }
  bool IsWhole() const { return size_ == file_.size; }
  // Once, when it is whole.
  bool IsRight() { return digest_->Hex() == file_.etag; }

  // Only bytes that are on disk get the name under which everybody trusts them.
  absl::Status Publish(const std::filesystem::path& blob) {
    if (fsync(fd_.get()) != 0) return Failed("fsync");
    return RenameDurably(path_, blob);
  }

  absl::Status Protocol(absl::string_view what) const {
    return Error(Reason::kHubProtocol, absl::StrCat(file_.path, ": ", what));
  }

 private:
  absl::Status Failed(const char* call) const {
    return ErrnoError(errno, absl::StrCat(call, " ", path_.string()));
  }

  // Checks "bytes 5-99/100" against what was asked for: appended at another place, the bytes would
  // be wrong.
  absl::Status CheckRange(const std::string& range) const {
    const std::vector<std::string> parts = absl::StrSplit(range, absl::ByAnyChar(" -/"));
    int64_t first = -1, total = -1;
    if (parts.size() != 4 || !absl::SimpleAtoi(parts[1], &first) ||
        !absl::SimpleAtoi(parts[3], &total) || first != size_ || total != file_.size) {
      return Protocol(
          absl::StrCat("asked for the bytes from ", size_, " on, the hub sends \"", range, "\""));
    }
    return absl::OkStatus();
  }

  const std::filesystem::path path_;
  const RepoFile& file_;
  const std::function<void(int64_t)>& fetched_;
  Fd fd_;
  std::optional<BlobDigest> digest_;
  int64_t size_ = 0;
};

// Waits for the lock on a blob. Another process may hold it while it fetches the same blob; the
// caller looks afterwards whether the blob is there. Progress shows that process's bytes meanwhile.
absl::StatusOr<std::optional<Fd>> AwaitLock(HttpClient& http, const FetchContext& context,
                                            const RepoFile& file,
                                            const std::function<void(int64_t)>& fetched) {
  for (;;) {
    FTD_ASSIGN_OR_RETURN(std::optional<Fd> lock,
                         context.cache.TryLock(context.revision.repo, file.etag));
    if (lock.has_value()) return lock;
    fetched(context.cache.FetchedBytes(context.revision.repo, file));
    FTD_RETURN_IF_ERROR(http.Sleep(kLockPoll));
  }
}

// Fetches the missing bytes, over as many requests as it takes. Patience counts from the last byte
// that came, so that a slow line is never given up.
absl::Status FetchMissing(HttpClient& http, const FetchContext& context, const RepoFile& file,
                          PartialBlob& blob) {
  const HttpRequest base{FileUrl(context.settings, context.revision, file), context.token, 0};
  auto last_progress = steady_clock::now();
  for (int attempt = 0; !blob.IsWhole(); ++attempt) {
    const int64_t before = blob.size();
    HttpRequest request = base;
    request.first_byte = before;
    const auto response = http.Get(request, &blob);
    if (blob.IsWhole()) break;
    // Any progress starts the back-off again.
    if (blob.size() > before) {
      last_progress = steady_clock::now();
      attempt = 0;
    }
    // 416: the piece reaches beyond what the server has. It is not a piece of this file.
    const bool refused_range = response.ok() && response->status == 416 && before > 0;
    if (refused_range) {
      FTD_RETURN_IF_ERROR(blob.Restart());
      continue;
    }
    // The connection ended early, with or without an error.
    const bool broke_off =
        response.ok() ? response->status / 100 == 2 : absl::IsUnavailable(response.status());
    if (!broke_off && !response.ok()) return response.status();
    absl::Status problem = !response.ok() ? response.status()
                           : broke_off
                               ? blob.Protocol("the hub sends fewer bytes than the file has")
                               : HubError(*response, context.settings, context.revision.repo,
                                          context.revision.commit, !context.token.empty());
    if (response.ok() && !broke_off && !IsPassing(*response)) return problem;
    const absl::Duration pause = RetryPause(response.ok() ? &*response : nullptr, attempt);
    const absl::Duration silence = absl::FromChrono(steady_clock::now() - last_progress);
    if (silence + pause > context.patience) return problem;
    FTD_RETURN_IF_ERROR(http.Sleep(pause));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FetchBlob(HttpClient& http, const FetchContext& context, const RepoFile& file,
                       const std::function<void(int64_t bytes)>& fetched) {
  const Cache& cache = context.cache;
  const RepoId& repo = context.revision.repo;
  if (cache.Has(context.revision, file)) {
    fetched(file.size);
    return absl::OkStatus();
  }
  FTD_ASSIGN_OR_RETURN(const std::optional<Fd> lock, AwaitLock(http, context, file, fetched));
  // Fetched by another process while this one waited.
  if (std::error_code none; std::filesystem::exists(cache.Blob(repo, file.etag), none))
    return cache.Link(context.revision, file);
  FTD_RETURN_IF_ERROR(cache.AdoptPieces(repo, file.etag));
  PartialBlob blob(cache.Incomplete(repo, file.etag), file, fetched);
  FTD_RETURN_IF_ERROR(blob.Open());
  constexpr int kTries = 2;  // pieces that were there before may be wrong; fresh bytes are so once
  for (int attempt = 0;; ++attempt) {
    // A digest covers the whole file, so one wrong piece costs all of it.
    FTD_RETURN_IF_ERROR(FetchMissing(http, context, file, blob));
    if (blob.IsRight()) break;
    FTD_RETURN_IF_ERROR(blob.Restart());
    if (attempt == kTries) {
      return blob.Protocol(absl::StrCat("the bytes that ", context.settings.endpoint,
                                        " sends are not those of their digest ", file.etag));
    }
  }
  FTD_RETURN_IF_ERROR(blob.Publish(cache.Blob(repo, file.etag)));
  return cache.Link(context.revision, file);
}

}  // namespace ftd::hub
