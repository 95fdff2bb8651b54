#include "lib/hub/push.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/hub/transport/blob_upload.h"
#include "lib/hub/transport/digest.h"
#include "lib/hub/transport/url.h"

namespace ftd::hub {
namespace {

using std::chrono::steady_clock;

constexpr char kMainBranch[] = "main";
// Somebody waits for the first answer; later ones are worth more patience.
constexpr int kFirstRetries = 2, kLaterRetries = 10;
constexpr int kMostConflicts = 5;

absl::Status Hash(OutgoingFile& file, const std::function<bool()>& cancelled,
                  const std::function<void(int64_t)>& hashed) {
  BlobDigest sha256(DigestKind::kSha256, file.size), git(DigestKind::kGit, file.size);
  std::string buffer(kHashedAtOnce, '\0');
  for (int64_t done = 0; done < file.size;) {
    if (cancelled()) return absl::CancelledError("cancelled");
    const ssize_t got = pread(file.fd.get(), buffer.data(), buffer.size(), done);
    if (got < 0) return ErrnoError(errno, absl::StrCat("read ", file.path));
    if (got == 0) return Error(Reason::kResultMissing, absl::StrCat(file.path, " became shorter"));
    const std::string_view bytes(buffer.data(), static_cast<size_t>(got));
    sha256.Update(bytes);
    git.Update(bytes);
    hashed(done += got);
  }
  file.sha256 = sha256.Hex();
  file.git_sha1 = git.Hex();
  return absl::OkStatus();
}

// The branch of a repository, from where nothing is known of it to where it has the files.
class Push {
 public:
  Push(const Settings& settings, const std::string& token, PushOrder order,
       const TransferOptions& options)
      : order_(std::move(order)),
        repo_{RepoType::kModel, order_.repo},
        target_{settings, token, repo_, order_.branch, options.patience},
        options_(options),
        http_(options.cancelled) {
    for (const OutgoingFile& file : order_.files) total_ += file.size;
  }

  absl::StatusOr<Pushed> Run() {
    FTD_ASSIGN_OR_RETURN(RepoRevision head, FindOrCreateBranch());
    FTD_RETURN_IF_ERROR(HashFiles());
    // Each turn looks at the branch as it is: that alone tells what became of the turn before.
    for (;;) {
      const std::vector<const OutgoingFile*> missing = MissingFrom(head);
      FTD_ASSIGN_OR_RETURN(const std::vector<CommitFile> files, Prepare(missing));
      if (files.empty()) return Outcome(head.commit, /*unchanged=*/!uncertain_);
      FTD_ASSIGN_OR_RETURN(const std::string commit, TryCommit(head.commit, files));
      if (!commit.empty()) return Outcome(commit, /*unchanged=*/false);
      FTD_ASSIGN_OR_RETURN(head, Judged(GetHead(kLaterRetries)));
    }
  }

 private:
  absl::StatusOr<RepoRevision> GetHead(int retries) {
    return GetRevision(http_, target_.settings, target_.token, repo_, target_.branch, retries);
  }

  // A repository comes with its main branch.
  absl::StatusOr<RepoRevision> FindOrCreateBranch() {
    auto head = GetHead(kFirstRetries);
    if (ReasonOf(head.status()) != Reason::kModelNotFound) return Judged(std::move(head));
    FTD_ASSIGN_OR_RETURN(const bool created, CreateRepo(http_, target_, order_.is_private));
    if (order_.branch != kMainBranch) FTD_RETURN_IF_ERROR(CreateBranch(http_, target_).status());
    FTD_ASSIGN_OR_RETURN(head, Judged(GetHead(kLaterRetries)));
    if (!created || !order_.is_private || head->is_private) return head;
    return Error(Reason::kHubRefused,
                 absl::StrCat(Described(repo_), " at ", target_.settings.endpoint,
                              " was created, but not as a private one; nothing was sent"));
  }

  // Whoever wants to write to a repository is not told to ask for the right to read it.
  static absl::StatusOr<RepoRevision> Judged(absl::StatusOr<RepoRevision> head) {
    const Reason reason = ReasonOf(head.status());
    if (reason == Reason::kModelGated || reason == Reason::kModelNotFound)
      return Error(Reason::kHubRefused, std::string(head.status().message()));
    return head;
  }

  absl::Status HashFiles() {
    const auto cancelled = [this] { return http_.cancelled(); };
    return RunTransfers(Sizes(order_.files), PhaseOptions(0),
                        [&](HttpClient&, size_t index, const auto& hashed) {
                          return Hash(order_.files[index], cancelled, hashed);
                        });
  }

  // Returns the files that the revision has not, or has in another form.
  std::vector<const OutgoingFile*> MissingFrom(const RepoRevision& head) const {
    std::map<std::string, std::string> etags;
    for (const RepoFile& file : head.files) etags[file.path] = file.etag;
    std::vector<const OutgoingFile*> missing;
    for (const OutgoingFile& file : order_.files) {
      const auto there = etags.find(file.path);
      const bool same = there != etags.end() &&
                        (KindOf(there->second) == DigestKind::kGit ? there->second == file.git_sha1
                                                                   : there->second == file.sha256);
      if (!same) missing.push_back(&file);
    }
    return missing;
  }

  // Sends the large ones of the files, and returns those that a commit is to name.
  absl::StatusOr<std::vector<CommitFile>> Prepare(const std::vector<const OutgoingFile*>& missing) {
    std::vector<CommitFile> files;
    if (missing.empty()) return files;
    FTD_ASSIGN_OR_RETURN(const auto modes, GetUploadModes(http_, target_, missing));
    std::vector<const OutgoingFile*> large;
    for (const OutgoingFile* file : missing) {
      const UploadMode mode = modes.at(file->path);
      if (mode != UploadMode::kIgnored) files.push_back({file, mode});
      if (mode == UploadMode::kLfs && !stored_.contains(file->sha256)) large.push_back(file);
    }
    FTD_RETURN_IF_ERROR(Upload(large));
    return files;
  }

  absl::Status Upload(const std::vector<const OutgoingFile*>& files) {
    std::vector<int64_t> sizes;
    int64_t bytes = 0;
    for (const OutgoingFile* file : files) bytes += sizes.emplace_back(file->size);
    FTD_RETURN_IF_ERROR(RunTransfers(sizes, PhaseOptions(total_ + total_ - bytes),
                                     [&](HttpClient& http, size_t index, const auto& sent) {
                                       return UploadBlob(http, target_, *files[index], sent);
                                     }));
    for (const OutgoingFile* file : files) stored_.insert(file->sha256);
    return absl::OkStatus();
  }

  // Returns the commit, or "" if the branch has to be looked at: it has moved, or the answer was
  // lost, and with it whether the commit was made.
  absl::StatusOr<std::string> TryCommit(const std::string& parent,
                                        const std::vector<CommitFile>& files) {
    FTD_ASSIGN_OR_RETURN(const HttpRequest request,
                         CommitRequest(target_, order_.summary, parent, files));
    const auto response = http_.Send(request);
    if (response.ok() && response->status / 100 == 2) return ParseCommit(repo_, response->body);
    const HttpResponse* answer = response.ok() ? &*response : nullptr;
    const absl::Status problem =
        answer == nullptr ? response.status() : WriteError(*answer, target_, "the commit");
    const bool moved = answer != nullptr && (answer->status == 409 || answer->status == 412);
    const bool passing = answer == nullptr ? absl::IsUnavailable(problem) : IsPassing(*answer);
    if (moved ? ++conflicts_ > kMostConflicts : !passing) return problem;
    uncertain_ = uncertain_ || passing;
    const absl::Duration pause = RetryPause(answer, moved ? 0 : troubles_);
    if (passing && troubles_++ == 0) trouble_time_ = steady_clock::now();
    if (passing &&
        absl::FromChrono(steady_clock::now() - trouble_time_) + pause > options_.patience)
      return problem;
    FTD_RETURN_IF_ERROR(http_.Sleep(pause));
    return "";
  }

  Pushed Outcome(const std::string& commit, bool unchanged) const {
    std::string url = absl::StrCat(target_.settings.endpoint, "/", order_.repo);
    if (order_.branch != kMainBranch)
      absl::StrAppend(&url, "/tree/", EscapeUrl(order_.branch, /*keep_slashes=*/false));
    if (options_.progress) options_.progress({2 * total_, 2 * total_, 0});
    return {url, commit, unchanged};
  }

  static std::vector<int64_t> Sizes(const std::vector<OutgoingFile>& files) {
    std::vector<int64_t> sizes;
    for (const OutgoingFile& file : files) sizes.push_back(file.size);
    return sizes;
  }

  // The caller's options for a phase before which so many bytes were done.
  TransferOptions PhaseOptions(int64_t before) const {
    TransferOptions options = options_;
    if (options_.progress) {
      options.progress = [this, before](const TransferProgress& progress) {
        options_.progress({before + progress.done_bytes, 2 * total_, progress.bytes_per_second});
      };
    }
    return options;
  }

  PushOrder order_;
  const RepoId repo_;
  const WriteTarget target_;
  const TransferOptions& options_;
  HttpClient http_;
  int64_t total_ = 0;
  std::set<std::string> stored_;  // digests of the large files that the hub has
  // Of commits that were not made, or of which that is not known.
  bool uncertain_ = false;
  int conflicts_ = 0, troubles_ = 0;
  steady_clock::time_point trouble_time_;  // of the first
};

absl::Status CheckMayPush(const Settings& settings, const std::string& token) {
  if (settings.offline)
    return Error(Reason::kHubOffline, "HF_HUB_OFFLINE forbids to push to the hub; unset it");
  if (token.empty()) {
    return Error(
        Reason::kTokenInvalid,
        absl::StrCat("nothing is pushed without a token: make one with the right to write "
                     "at ",
                     settings.endpoint, "/settings/tokens and store it with `ftctl login`"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Pushed> PushFiles(const Settings& settings, const std::string& token,
                                 PushOrder order, const TransferOptions& options) {
  FTD_RETURN_IF_ERROR(CheckMayPush(settings, token));
  return Push(settings, token, std::move(order), options).Run();
}

absl::StatusOr<OutgoingFile> OpenOutgoing(const std::filesystem::path& file,
                                          const std::string& path) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(file, O_RDONLY | O_NOFOLLOW));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, absl::StrCat("stat ", path));
  return OutgoingFile{path, std::move(fd), info.st_size, "", ""};
}

absl::StatusOr<OutgoingFile> MakeOutgoing(const std::string& text, const std::string& path) {
  Fd fd(memfd_create("push", MFD_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "memfd_create");
  FTD_RETURN_IF_ERROR(WriteAll(fd.get(), text, path));
  return OutgoingFile{path, std::move(fd), static_cast<int64_t>(text.size()), "", ""};
}

}  // namespace ftd::hub
