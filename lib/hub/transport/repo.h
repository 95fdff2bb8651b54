// The hub's answers about a repository: its commit, its files, or an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/hub/transport/http_client.h"
#include "lib/hub/transport/settings.h"
#include "lib/spec/repo_name.h"

namespace ftd::hub {

enum class RepoType { kModel, kDataset };

struct RepoId {
  RepoType type = RepoType::kModel;
  std::string name;  // "meta-llama/Llama-3.1-8B-Instruct"
};

// "model meta-llama/Llama-3.1-8B-Instruct", for messages.
std::string Described(const RepoId& repo);

// Returns whether that is a commit's id: 40 hex digits.
bool IsCommit(std::string_view text);

struct RepoFile {
  std::string path;  // relative, '/' between its parts, checked against leaving its directory
  int64_t size = 0;
  std::string etag;  // what its blob is called: sha256 of a large file, else git's sha1; hex
};

// A repository at one commit.
struct RepoRevision {
  RepoId repo;
  std::string commit;  // 40 hex digits
  std::vector<RepoFile> files;
  bool is_private = false;  // as far as an answer of the hub says
};

// Reads the hub's answer about a repository at a revision (api/models/…?blobs=true). DATA_LOSS
// HUB_PROTOCOL when a file has no size or digest, or a path that leads out of its directory.
absl::StatusOr<RepoRevision> ParseRevision(const RepoId& repo, const std::string& body);

// Asks the hub what `revision` (branch, tag or commit) stands for: one request. `token` may be
// empty. Passing troubles (5xx, 429, no connection) are tried again `retries` times.
// Errors, each saying what to do: NOT_FOUND MODEL_NOT_FOUND or DATASET_NOT_FOUND (also a revision),
// FAILED_PRECONDITION MODEL_GATED, UNAUTHENTICATED TOKEN_INVALID, UNAVAILABLE HUB_UNREACHABLE,
// DATA_LOSS HUB_PROTOCOL when the answer makes no sense.
absl::StatusOr<RepoRevision> GetRevision(HttpClient& http, const Settings& settings,
                                         const std::string& token, const RepoId& repo,
                                         const std::string& revision, int retries);

// The name of the token's user. UNAUTHENTICATED TOKEN_INVALID when the hub does not know it.
absl::StatusOr<std::string> WhoAmI(HttpClient& http, const Settings& settings,
                                   const std::string& token);

// The error of a token that the hub does not know: UNAUTHENTICATED TOKEN_INVALID.
absl::Status TokenInvalid(const Settings& settings);

// DATA_LOSS HUB_PROTOCOL: the hub's answer about `repo` makes no sense; `what` says why.
absl::Status RepoProtocolError(const RepoId& repo, absl::string_view what);

// Address of a file's bytes.
std::string FileUrl(const Settings& settings, const RepoRevision& revision, const RepoFile& file);

// The error that a response with a bad status stands for; `what` names the repository or file.
absl::Status HubError(const HttpResponse& response, const Settings& settings, const RepoId& repo,
                      const std::string& revision, bool has_token);

// These say whether another try may succeed, and after what pause: by Retry-After, else by
// back-off. `attempt` counts from 0.
bool IsPassing(const HttpResponse& response);
absl::Duration RetryPause(const HttpResponse* response, int attempt);

}  // namespace ftd::hub
