// The Hugging Face cache on disk, shared with Python's huggingface_hub:
//
//   models--OWNER--NAME/blobs/ETAG              the bytes, named by their digest
//   models--OWNER--NAME/refs/REVISION           the commit that a branch or tag stood for
//   models--OWNER--NAME/snapshots/COMMIT/PATH   links into blobs/
//   .locks/models--OWNER--NAME/ETAG.lock        flock(2), held while ETAG is fetched
//   models--OWNER--NAME/blobs/ETAG.incomplete   the bytes fetched so far
//
// Python's tools collect the bytes in ETAG.XXXXXXXX.incomplete, which they remove, or leave behind
// when they are killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "lib/hub/transport/repo.h"

namespace ftd::hub {

// Paths and small files. Holds no state: each answer is as of the call.
class Cache {
 public:
  explicit Cache(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path RepoDir(const RepoId& repo) const;
  std::filesystem::path Snapshot(const RepoId& repo, const std::string& commit) const;
  std::filesystem::path Blob(const RepoId& repo, const std::string& etag) const;
  // The file in which FetchBlob collects the bytes.
  std::filesystem::path Incomplete(const RepoId& repo, const std::string& etag) const;

  // The commit that `revision` stood for when it was last asked for; a commit stands for itself.
  // Empty: not known.
  std::string ReadRef(const RepoId& repo, const std::string& revision) const;
  // Writes only what changed. A commit needs no ref.
  absl::Status WriteRef(const RepoId& repo, const std::string& revision,
                        const std::string& commit) const;

  // Returns whether the snapshot has the file with as many bytes as it should have.
  bool Has(const RepoRevision& revision, const RepoFile& file) const;
  // Makes the snapshot's link to a blob that is there. Requires the blob's lock.
  absl::Status Link(const RepoRevision& revision, const RepoFile& file) const;

  // Marks the cache as one, so that backups leave it out (the CACHEDIR.TAG convention).
  absl::Status Tag() const;

  // The lock on a blob, or nullopt when another process has it.
  absl::StatusOr<std::optional<Fd>> TryLock(const RepoId& repo, const std::string& etag) const;

  // Makes the pieces of a blob that a process left behind ready at Incomplete(): the longest one is
  // kept, the others are removed. Requires the blob's lock.
  absl::Status AdoptPieces(const RepoId& repo, const std::string& etag) const;

  // Bytes on disk of a blob that is being fetched, by whomever.
  int64_t FetchedBytes(const RepoId& repo, const RepoFile& file) const;

 private:
  std::filesystem::path root_;
};

}  // namespace ftd::hub
