// The tokens that let callers in over TCP: a file of digests.
//
// A line is what sha256sum prints, with the token's name in the place of the file's: 64 hexadecimal
// digits, two spaces, the name; for another role than submit two more spaces and role=read or
// role=admin. Empty lines and those that begin with # count for nothing. The file
// is looked at again for each call, so a line that is gone no longer lets anybody in. Lines that
// are not of the token at hand stay as they are.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/host/role.h"

namespace ftd {

struct AccessToken {
  std::string sha256;
  std::string name;
  Role role = Role::kSubmit;
};

// INVALID_ARGUMENT naming the line, never its content.
absl::StatusOr<std::vector<AccessToken>> ParseAccessTokens(const std::string& text);

// Thread-safe.
class AccessTokens {
 public:
  // No file: no tokens. A file that cannot be read, or has a bad line, lets nobody in, and says so
  // in the log.
  explicit AccessTokens(std::filesystem::path file) : file_(std::move(file)) {}

  // In the order of the file. Errors: FAILED_PRECONDITION CONFIG_INVALID, the file is bad.
  absl::StatusOr<std::vector<AccessToken>> Tokens() const;
  // Makes a token of 256 random bits and gives it; nobody can ask for it again. Errors:
  // INVALID_ARGUMENT FIELD_INVALID; ALREADY_EXISTS NAME_IN_USE; FAILED_PRECONDITION CONFIG_INVALID,
  // PATH_NOT_WRITABLE.
  absl::StatusOr<std::string> Create(const std::string& name, Role role);
  // Errors: NOT_FOUND TOKEN_NOT_FOUND; FAILED_PRECONDITION CONFIG_INVALID, PATH_NOT_WRITABLE.
  absl::Status Revoke(const std::string& name);

  // The token that is `secret`; none if there is none. Takes equally long for all secrets.
  std::optional<AccessToken> Find(const std::string& secret) const;

 private:
  // A change of any of these shows that the file has changed.
  struct Version {
    uint64_t device = 0, inode = 0;
    int64_t size = -1, seconds = 0, nanoseconds = 0;
    bool operator==(const Version&) const = default;
  };
  absl::StatusOr<std::string> ReadChecked() const;
  absl::Status Write(const std::string& text) const;
  void Refresh() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::filesystem::path file_;
  absl::Mutex changes_;  // one at a time
  mutable absl::Mutex mutex_;
  mutable Version version_ ABSL_GUARDED_BY(mutex_);
  mutable std::vector<AccessToken> tokens_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
