// What the hub is asked to change: repositories, branches, commits. One request to a call.
//
// Errors of all calls, each saying what to do: UNAUTHENTICATED TOKEN_INVALID, FAILED_PRECONDITION
// HUB_REFUSED with the hub's own words, UNAVAILABLE HUB_UNREACHABLE when a passing trouble (5xx,
// 429, no connection) lasts longer than patience does, DATA_LOSS HUB_PROTOCOL when the answer makes
// no sense, CANCELLED. No message has the token.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/file.h"
#include "lib/hub/transport/http_client.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"
#include "nlohmann/json.hpp"

namespace ftd::hub {

// Where to, and as whom. All calls of one push share it.
struct WriteTarget {
  const Settings& settings;
  const std::string& token;
  const RepoId& repo;
  const std::string& branch;
  absl::Duration patience;  // how long a passing trouble may last
};

// A file that goes up, open for reading, and what the hub knows it by.
struct OutgoingFile {
  std::string path;  // in the repository
  Fd fd;
  int64_t size = 0;
  std::string sha256, git_sha1;  // lower-case hex
};

// The way that a file takes: in the commit, before it, or none, since a .gitignore names it.
enum class UploadMode { kRegular, kLfs, kIgnored };

// Sends a request again and again while the obstacle is a passing one.
absl::StatusOr<HttpResponse> SendPatiently(HttpClient& http, const HttpRequest& request,
                                           absl::Duration patience);

// The error that an answer with a bad status stands for. `what` names the step.
absl::Status WriteError(const HttpResponse& response, const WriteTarget& target,
                        const std::string& what);

// POSTs `json` to the hub and returns its answer, a JSON object. `url` is the hub's.
absl::StatusOr<nlohmann::json> CallHub(HttpClient& http, const WriteTarget& target,
                                       HttpRequest request, const std::string& what);

// Both return whether it was made now; one that is there already stays as it is.
absl::StatusOr<bool> CreateRepo(HttpClient& http, const WriteTarget& target, bool is_private);
absl::StatusOr<bool> CreateBranch(HttpClient& http, const WriteTarget& target);

// Asks the hub which way each of the files takes.
absl::StatusOr<std::map<std::string, UploadMode>> GetUploadModes(
    HttpClient& http, const WriteTarget& target, const std::vector<const OutgoingFile*>& files);

// Reads the hub's answer to that: a mode for each of `paths`.
absl::StatusOr<std::map<std::string, UploadMode>> ParseUploadModes(
    const RepoId& repo, const nlohmann::json& answer, const std::vector<std::string>& paths);

// A file and the way that it takes.
struct CommitFile {
  const OutgoingFile* file;
  UploadMode mode;
};

// Returns the request for a commit on top of `parent`, and on nothing else. Reads the files that go
// in it. It is to be sent once: whether it has come to pass shows in the branch alone.
absl::StatusOr<HttpRequest> CommitRequest(const WriteTarget& target, const std::string& summary,
                                          const std::string& parent,
                                          const std::vector<CommitFile>& files);

// Reads the hub's answer to it: the commit.
absl::StatusOr<std::string> ParseCommit(const RepoId& repo, const std::string& body);

}  // namespace ftd::hub
