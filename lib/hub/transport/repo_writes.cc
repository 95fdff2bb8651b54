#include "lib/hub/transport/repo_writes.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/base/utf8.h"
#include "lib/hub/transport/url.h"

namespace ftd::hub {
namespace {

using Json = nlohmann::json;
using std::chrono::steady_clock;

constexpr size_t kFilesOfARequest = 256;  // as huggingface_hub asks
constexpr size_t kSampleBytes = 512;      // by which the hub tells text from other files
constexpr size_t kMostMessage = 400;

// A name with broken UTF-8 must not throw.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Api(const WriteTarget& target, const std::string& verb) {
  return absl::StrCat(target.settings.endpoint, "/api/models/", target.repo.name, "/", verb, "/",
                      EscapeUrl(target.branch, /*keep_slashes=*/false));
}

// The hub creates repositories of one owner one at a time.
bool IsPassingConflict(const HttpResponse& response) {
  return response.status == 409 &&
         absl::StrContains(response.body, "another conflicting operation is in progress");
}

// Returns the hub's own words: of the header, else of the body. They come from outside, and a
// request's echo may have the token.
std::string WordsOf(const HttpResponse& response, const std::string& token) {
  std::string words = response.Header("x-error-message");
  const Json body = ParseJsonObject(response.body).value_or(Json::object());
  for (const char* name : {"error", "message"}) {
    const Json* field = FindField(body, name);
    if (words.empty() && field != nullptr && field->is_string()) words = field->get<std::string>();
  }
  if (!token.empty()) words = absl::StrReplaceAll(words, {{token, "…"}});
  words = EscapeInvalidUtf8(Utf8Prefix(words, kMostMessage));
  std::replace_if(
      words.begin(), words.end(),
      [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); }, ' ');
  return words.empty() ? absl::StrCat("status ", response.status) : words;
}

absl::StatusOr<std::string> ReadAt(const OutgoingFile& file, size_t size) {
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        pread(file.fd.get(), bytes.data() + done, size - done, static_cast<off_t>(done));
    if (got < 0) return ErrnoError(errno, absl::StrCat("read ", file.path));
    if (got == 0) return Error(Reason::kResultMissing, absl::StrCat(file.path, " became shorter"));
    done += static_cast<size_t>(got);
  }
  return bytes;
}

// Sends an object that is made once: 409 says that it is there.
absl::StatusOr<bool> Create(HttpClient& http, const WriteTarget& target, const std::string& url,
                            const Json& json, const std::string& what) {
  const HttpRequest request{.url = url, .bearer = target.token, .body = Dump(json)};
  FTD_ASSIGN_OR_RETURN(const HttpResponse response, SendPatiently(http, request, target.patience));
  if (response.status / 100 == 2) return true;
  if (response.status == 409 && !IsPassingConflict(response)) return false;
  return WriteError(response, target, what);
}

}  // namespace

absl::StatusOr<HttpResponse> SendPatiently(HttpClient& http, const HttpRequest& request,
                                           absl::Duration patience) {
  std::optional<steady_clock::time_point> since;  // of the first failure
  for (int attempt = 0;; ++attempt) {
    auto response = http.Send(request);
    const bool passing = response.ok() ? IsPassing(*response) || IsPassingConflict(*response)
                                       : absl::IsUnavailable(response.status());
    if (!passing) return response;
    if (!since.has_value()) since = steady_clock::now();
    const absl::Duration pause = RetryPause(response.ok() ? &*response : nullptr, attempt);
    if (absl::FromChrono(steady_clock::now() - *since) + pause > patience) return response;
    FTD_RETURN_IF_ERROR(http.Sleep(pause));
  }
}

absl::Status WriteError(const HttpResponse& response, const WriteTarget& target,
                        const std::string& what) {
  if (response.status == 401) return TokenInvalid(target.settings);
  const std::string where =
      absl::StrCat(Described(target.repo), " at ", target.settings.endpoint, ": ");
  if (IsPassing(response)) {
    return Error(Reason::kHubUnreachable,
                 absl::StrCat(where, what, ": the hub answers with status ", response.status,
                              "; try again later"));
  }
  if (response.status / 100 != 4) {
    return RepoProtocolError(
        target.repo, absl::StrCat("status ", response.status, " where ", what, " was asked for"));
  }
  const std::string remedy = response.status == 403
                                 ? absl::StrCat("; tokens with the right to write are made at ",
                                                target.settings.endpoint, "/settings/tokens")
                                 : "";
  return Error(Reason::kHubRefused, absl::StrCat(where, "the hub refuses ", what, ": ",
                                                 WordsOf(response, target.token), remedy));
}

absl::StatusOr<Json> CallHub(HttpClient& http, const WriteTarget& target, HttpRequest request,
                             const std::string& what) {
  request.bearer = target.token;
  FTD_ASSIGN_OR_RETURN(const HttpResponse response, SendPatiently(http, request, target.patience));
  if (response.status / 100 != 2) return WriteError(response, target, what);
  auto answer = ParseJsonObject(response.body);
  if (!answer.has_value()) return RepoProtocolError(target.repo, "it is not a JSON object");
  return *std::move(answer);
}

absl::StatusOr<bool> CreateRepo(HttpClient& http, const WriteTarget& target, bool is_private) {
  const size_t slash = target.repo.name.find('/');
  Json json = {{"organization", target.repo.name.substr(0, slash)},
               {"name", target.repo.name.substr(slash + 1)},
               {"type", "model"}};
  // Without it the owner's own setting decides.
  if (is_private) json["visibility"] = "private";
  return Create(http, target, absl::StrCat(target.settings.endpoint, "/api/repos/create"), json,
                "the new repository");
}

absl::StatusOr<bool> CreateBranch(HttpClient& http, const WriteTarget& target) {
  return Create(http, target, Api(target, "branch"), Json::object(), "the new branch");
}

absl::StatusOr<std::map<std::string, UploadMode>> GetUploadModes(
    HttpClient& http, const WriteTarget& target, const std::vector<const OutgoingFile*>& files) {
  std::map<std::string, UploadMode> modes;
  for (size_t first = 0; first < files.size(); first += kFilesOfARequest) {
    Json list = Json::array();
    std::vector<std::string> paths;
    for (size_t i = first; i < std::min(first + kFilesOfARequest, files.size()); ++i) {
      const OutgoingFile& file = *files[i];
      FTD_ASSIGN_OR_RETURN(
          const std::string sample,
          ReadAt(file, static_cast<size_t>(std::min<int64_t>(file.size, kSampleBytes))));
      list.push_back(
          {{"path", file.path}, {"size", file.size}, {"sample", absl::Base64Escape(sample)}});
      paths.push_back(file.path);
    }
    const std::string body = Dump(Json::object({{"files", std::move(list)}}));
    FTD_ASSIGN_OR_RETURN(const Json answer,
                         CallHub(http, target, {.url = Api(target, "preupload"), .body = body},
                                 "the list of files"));
    FTD_ASSIGN_OR_RETURN(const auto some, ParseUploadModes(target.repo, answer, paths));
    modes.insert(some.begin(), some.end());
  }
  // Storage takes no empty file.
  for (const OutgoingFile* file : files) {
    UploadMode& mode = modes[file->path];
    if (file->size == 0 && mode == UploadMode::kLfs) mode = UploadMode::kRegular;
  }
  return modes;
}

absl::StatusOr<std::map<std::string, UploadMode>> ParseUploadModes(
    const RepoId& repo, const Json& answer, const std::vector<std::string>& paths) {
  std::map<std::string, UploadMode> modes;
  try {
    for (const Json& file : answer.at("files")) {
      const std::string mode = file.value("uploadMode", "");
      if (mode != "lfs" && mode != "regular")
        return RepoProtocolError(repo, "a file has no way that it could take");
      modes[file.value("path", "")] = file.value("shouldIgnore", false) ? UploadMode::kIgnored
                                      : mode == "lfs"                   ? UploadMode::kLfs
                                                                        : UploadMode::kRegular;
    }
  } catch (const Json::exception& error) {
    return RepoProtocolError(repo, error.what());
  }
  const bool all = std::all_of(paths.begin(), paths.end(),
                               [&](const std::string& path) { return modes.contains(path); });
  if (!all) return RepoProtocolError(repo, "a file is missing in it");
  return modes;
}

// A line of JSON for the header and for each file.
absl::StatusOr<HttpRequest> CommitRequest(const WriteTarget& target, const std::string& summary,
                                          const std::string& parent,
                                          const std::vector<CommitFile>& files) {
  const Json header = {{"summary", summary}, {"description", ""}, {"parentCommit", parent}};
  std::string body = Dump(Json::object({{"key", "header"}, {"value", header}})) + "\n";
  for (const auto& [file, mode] : files) {
    if (mode == UploadMode::kIgnored) continue;
    Json value = {{"path", file->path}};
    if (mode == UploadMode::kLfs) {
      value.update({{"algo", "sha256"}, {"oid", file->sha256}, {"size", file->size}});
    } else {
      FTD_ASSIGN_OR_RETURN(const std::string content,
                           ReadAt(*file, static_cast<size_t>(file->size)));
      value.update({{"encoding", "base64"}, {"content", absl::Base64Escape(content)}});
    }
    const char* const key = mode == UploadMode::kLfs ? "lfsFile" : "file";
    absl::StrAppend(&body, Dump(Json::object({{"key", key}, {"value", std::move(value)}})), "\n");
  }
  return HttpRequest{.url = Api(target, "commit"),
                     .bearer = target.token,
                     .body = std::move(body),
                     .content_type = "application/x-ndjson",
                     .silence = absl::Minutes(2)};
}

absl::StatusOr<std::string> ParseCommit(const RepoId& repo, const std::string& body) {
  const Json answer = ParseJsonObject(body).value_or(Json::object());
  const Json* oid = FindField(answer, "commitOid");
  if (oid == nullptr || !oid->is_string() || !IsCommit(oid->get<std::string>()))
    return RepoProtocolError(repo, "it names no commit");
  return oid->get<std::string>();
}

}  // namespace ftd::hub
