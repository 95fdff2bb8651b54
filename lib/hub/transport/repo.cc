#include "lib/hub/transport/repo.h"

#include <curl/curl.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/hub/transport/url.h"
#include "nlohmann/json.hpp"

namespace ftd::hub {
namespace {

using Json = nlohmann::json;

constexpr double kFirstPause = 0.5, kLongestPause = 30, kLongestRetryAfter = 600;

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsEtag(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && IsHex(text);
}

// Returns whether a path stays below the directory that it is put into. Paths come from the hub's
// answer, and so from whoever made the repository.
bool IsSafePath(const std::string& path) {
  if (path.empty() || path.size() > 4096 || absl::StrContains(path, '\\')) return false;
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (std::any_of(part.begin(), part.end(), [](char c) { return absl::ascii_iscntrl(c); }))
      return false;
  }
  return true;
}

// The repository's page, which is also the base of its files' URLs.
std::string Page(const Settings& settings, const RepoId& repo) {
  return absl::StrCat(settings.endpoint, repo.type == RepoType::kDataset ? "/datasets/" : "/",
                      repo.name);
}

absl::StatusOr<RepoFile> ParseFile(const RepoId& repo, const Json& sibling) {
  RepoFile file;
  file.path = sibling.value("rfilename", "");
  file.size = IntegerOr(sibling, "size", -1);
  file.etag = sibling.value("blobId", "");
  // A file in LFS has its sha256 and true size there; blobId and size are otherwise git's.
  if (const auto lfs = sibling.find("lfs"); lfs != sibling.end() && lfs->is_object()) {
    file.etag = lfs->value("sha256", "");
    file.size = IntegerOr(*lfs, "size", file.size);
  }
  if (!IsSafePath(file.path))
    return RepoProtocolError(repo, "a file's path leads out of its directory");
  if (file.size < 0 || !IsEtag(file.etag))
    return RepoProtocolError(repo, absl::StrCat(file.path, " has no size or no digest"));
  return file;
}

// Gets `url`, again and again while the obstacle is a passing one.
absl::StatusOr<HttpResponse> GetPatiently(HttpClient& http, const HttpRequest& request,
                                          int retries) {
  for (int attempt = 0;; ++attempt) {
    auto response = http.Get(request);
    const bool passing = response.ok() ? IsPassing(*response)
                                       : response.status().code() == absl::StatusCode::kUnavailable;
    if (!passing || attempt >= retries) return response;
    FTD_RETURN_IF_ERROR(http.Sleep(RetryPause(response.ok() ? &*response : nullptr, attempt)));
  }
}

// A gated repository needs a click on its page, which no program can make.
absl::Status Gated(const Settings& settings, const RepoId& repo, bool has_token) {
  return Error(Reason::kModelGated,
               absl::StrCat(Described(repo), " is gated: ",
                            has_token ? "the token's user has no access to it; ask for it at "
                                      : "it cannot be read without a token; ask for access at ",
                            Page(settings, repo),
                            has_token ? " and try again when it is granted"
                                      : ", then store a token with `ftctl login`"));
}

absl::Status NotFound(const Settings& settings, const RepoId& repo, absl::string_view what) {
  return Error(repo.type == RepoType::kModel ? Reason::kModelNotFound : Reason::kDatasetNotFound,
               absl::StrCat(Described(repo), " at ", settings.endpoint, ": ", what));
}

}  // namespace

absl::Status RepoProtocolError(const RepoId& repo, absl::string_view what) {
  return Error(Reason::kHubProtocol,
               absl::StrCat("the hub's answer about ", Described(repo), " makes no sense: ", what));
}

bool IsCommit(std::string_view text) { return text.size() == 40 && IsHex(text); }

absl::Status TokenInvalid(const Settings& settings) {
  return Error(Reason::kTokenInvalid,
               absl::StrCat(settings.endpoint,
                            " does not accept the token: it is mistyped, expired or revoked; make "
                            "one at ",
                            settings.endpoint, "/settings/tokens and store it with `ftctl login`"));
}

std::string Described(const RepoId& repo) {
  return absl::StrCat(repo.type == RepoType::kModel ? "model " : "dataset ", repo.name);
}

// The hub's answer to /api/models/NAME/revision/REVISION: {"sha": COMMIT, "siblings":
// [{"rfilename", "size", "blobId", "lfs": {"sha256", "size"}}]}.
absl::StatusOr<RepoRevision> ParseRevision(const RepoId& repo, const std::string& body) {
  const auto info = ParseJsonObject(body);
  if (!info) return RepoProtocolError(repo, "it is not a JSON object");
  try {
    RepoRevision revision{repo, info->value("sha", ""), {}};
    revision.is_private = info->value("private", false);
    if (!IsCommit(revision.commit)) return RepoProtocolError(repo, "it names no commit");
    for (const Json& sibling : info->at("siblings")) {
      FTD_ASSIGN_OR_RETURN(RepoFile file, ParseFile(repo, sibling));
      revision.files.push_back(std::move(file));
    }
    return revision;
  } catch (const Json::exception& error) {
    return RepoProtocolError(repo, error.what());
  }
}

std::string FileUrl(const Settings& settings, const RepoRevision& revision, const RepoFile& file) {
  return absl::StrCat(Page(settings, revision.repo), "/resolve/", revision.commit, "/",
                      EscapeUrl(file.path, /*keep_slashes=*/true));
}

absl::StatusOr<RepoRevision> GetRevision(HttpClient& http, const Settings& settings,
                                         const std::string& token, const RepoId& repo,
                                         const std::string& revision, int retries) {
  // blobs=true adds sizes and digests.
  const std::string url = absl::StrCat(
      settings.endpoint, "/api/", repo.type == RepoType::kModel ? "models/" : "datasets/",
      repo.name, "/revision/", EscapeUrl(revision, /*keep_slashes=*/false), "?blobs=true");
  FTD_ASSIGN_OR_RETURN(const HttpResponse response, GetPatiently(http, {url, token}, retries));
  if (response.status != 200) return HubError(response, settings, repo, revision, !token.empty());
  return ParseRevision(repo, response.body);
}

// Answers for a valid token only, which makes it the test of one.
absl::StatusOr<std::string> WhoAmI(HttpClient& http, const Settings& settings,
                                   const std::string& token) {
  constexpr int kRetries = 2;
  const std::string url = absl::StrCat(settings.endpoint, "/api/whoami-v2");
  FTD_ASSIGN_OR_RETURN(const HttpResponse response, GetPatiently(http, {url, token}, kRetries));
  if (response.status == 401 || response.status == 403) return TokenInvalid(settings);
  const Json user = ParseJsonObject(response.body).value_or(Json::object());
  const Json* name = FindField(user, "name");
  if (response.status == 200 && name != nullptr && name->is_string())
    return name->get<std::string>();
  return Error(Reason::kHubUnreachable,
               absl::StrCat(url, " answers with status ", response.status));
}

// The hub says what is wrong in x-error-code and x-error-message; the status alone is ambiguous,
// since a private repository looks like one that does not exist.
absl::Status HubError(const HttpResponse& response, const Settings& settings, const RepoId& repo,
                      const std::string& revision, bool has_token) {
  const std::string& code = response.Header("x-error-code");
  if (code == "GatedRepo") return Gated(settings, repo, has_token);
  if (code == "RevisionNotFound")
    return NotFound(settings, repo, absl::StrCat("there is no revision \"", revision, "\""));
  if (code == "EntryNotFound")
    return NotFound(settings, repo, absl::StrCat("a file is missing in revision ", revision));
  if (code == "DisabledRepo" || absl::StrContains(response.Header("x-error-message"), "disabled"))
    return NotFound(settings, repo, "the hub has disabled it");
  const bool bad_token =
      absl::StartsWith(response.Header("x-error-message"), "Invalid credentials") ||
      absl::StrContains(response.Header("x-error-message"), "expired");
  if (response.status == 401 && has_token && bad_token) return TokenInvalid(settings);
  if (response.status == 401 || response.status == 404 || code == "RepoNotFound") {
    return NotFound(settings, repo,
                    absl::StrCat("there is no such repository, or it is private and ",
                                 has_token ? "the token may not read it; check the name"
                                           : "needs a token; check the name or run `ftctl login`"));
  }
  if (response.status == 403) {
    return Error(Reason::kTokenInvalid, absl::StatusCode::kPermissionDenied,
                 absl::StrCat(Described(repo), " at ", settings.endpoint,
                              ": the token may not read it; give it the right to read this "
                              "repository at ",
                              settings.endpoint, "/settings/tokens"));
  }
  return Error(Reason::kHubUnreachable, absl::StrCat(Described(repo), " at ", settings.endpoint,
                                                     ": the hub answers with status ",
                                                     response.status, "; try again later"));
}

bool IsPassing(const HttpResponse& response) {
  return response.status == 408 || response.status == 429 || response.status >= 500;
}

// The server's wish comes first: a number of seconds or a date.
absl::Duration RetryPause(const HttpResponse* response, int attempt) {
  std::string after = response == nullptr ? "" : response->Header("retry-after");
  // RateLimit: "api";r=0;t=55 says that nothing is left for 55 seconds.
  if (const std::string limit = response == nullptr ? "" : response->Header("ratelimit");
      after.empty() && absl::StrContains(limit, ";r=0;t="))
    after = limit.substr(limit.find(";t=") + 3);
  double seconds = 0;
  if (!after.empty()) {
    if (!absl::SimpleAtod(after, &seconds)) {
      const time_t date = curl_getdate(after.c_str(), nullptr);
      seconds = date < 0 ? -1 : std::difftime(date, std::time(nullptr));
    }
    if (std::isfinite(seconds) && seconds >= 0)
      return absl::Seconds(std::min(seconds, kLongestRetryAfter));
  }
  // A random part of the pause, so that clients that failed together do not come back together.
  thread_local std::minstd_rand random(std::random_device{}());
  const double pause = std::min(kFirstPause * std::pow(2, std::min(attempt, 10)), kLongestPause);
  return absl::Seconds(std::uniform_real_distribution<double>(pause / 2, pause)(random));
}

}  // namespace ftd::hub
