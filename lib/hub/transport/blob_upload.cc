#include "lib/hub/transport/blob_upload.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/hub/transport/url.h"

namespace ftd::hub {
namespace {

using Json = nlohmann::json;

constexpr char kLfsJson[] = "application/vnd.git-lfs+json";
constexpr char kPublicHub[] = "https://huggingface.co";
// The hub puts parts together, and reads what it verifies, before it answers.
constexpr absl::Duration kSilence = absl::Minutes(5);

absl::Status UploadProtocolError(const WriteTarget& target, absl::string_view what) {
  return Error(Reason::kHubProtocol,
               absl::StrCat("the hub's answer about a large file of ", Described(target.repo),
                            " makes no sense: ", what));
}

// A mirror hands out the public hub's addresses, as huggingface_hub knows.
std::string AtEndpoint(const WriteTarget& target, const std::string& url) {
  const bool of_hub = absl::StartsWith(url, absl::StrCat(kPublicHub, "/"));
  return of_hub ? absl::StrCat(target.settings.endpoint, absl::StripPrefix(url, kPublicHub)) : url;
}

// The address that an action names. Bytes that would go to the hub encrypted go nowhere else in
// the clear.
absl::StatusOr<std::string> Address(const WriteTarget& target, const Json& address) {
  const std::string url = AtEndpoint(target, address.is_string() ? address.get<std::string>() : "");
  const std::string scheme = SchemeOf(url);
  if (scheme == "https" || (scheme == "http" && SchemeOf(target.settings.endpoint) == "http"))
    return url;
  return UploadProtocolError(target, "it has an address that files cannot go to");
}

// Reads the numbered addresses of a header that has a chunk_size, in the order of their numbers.
absl::Status ReadParts(const WriteTarget& target, const Json& header, int64_t size,
                       UploadPlan* plan) {
  const Json* chunk = FindField(header, "chunk_size");
  if (chunk == nullptr) return absl::OkStatus();
  const std::string text = chunk->is_string() ? chunk->get<std::string>() : chunk->dump();
  if (!absl::SimpleAtoi(text, &plan->part_size) || plan->part_size <= 0)
    return UploadProtocolError(target, "its chunk_size is not a size");
  std::map<int64_t, std::string> parts;
  for (const auto& [name, address] : header.items()) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(name, &number)) continue;
    FTD_ASSIGN_OR_RETURN(parts[number], Address(target, address));
  }
  if (static_cast<int64_t>(parts.size()) != (size + plan->part_size - 1) / plan->part_size)
    return UploadProtocolError(target, "it has more or fewer parts than the file");
  for (auto& [number, address] : parts) plan->parts.push_back(std::move(address));
  return absl::OkStatus();
}

absl::Status Complete(HttpClient& http, const WriteTarget& target, const OutgoingFile& file,
                      const UploadPlan& plan, const std::vector<std::string>& etags) {
  Json parts = Json::array();
  for (size_t i = 0; i < etags.size(); ++i)
    parts.push_back({{"partNumber", i + 1}, {"etag", etags[i]}});
  const HttpRequest request{.url = plan.upload,
                            .body = Json::object({{"oid", file.sha256}, {"parts", parts}}).dump(),
                            .content_type = kLfsJson,
                            .accept = kLfsJson,
                            .silence = kSilence};
  FTD_ASSIGN_OR_RETURN(const HttpResponse response, SendPatiently(http, request, target.patience));
  if (response.status / 100 == 2) return absl::OkStatus();
  return WriteError(response, target, absl::StrCat("the parts of ", file.path));
}

// Sends the file's parts one after the other: files go up at the same time, parts do not.
absl::Status SendFile(HttpClient& http, const WriteTarget& target, const OutgoingFile& file,
                      const UploadPlan& plan, const std::function<void(int64_t bytes)>& sent) {
  const bool whole = plan.parts.empty();
  const std::vector<std::string> addresses = whole ? std::vector{plan.upload} : plan.parts;
  const int64_t step = whole ? file.size : plan.part_size;
  std::vector<std::string> etags;
  int64_t first = 0;
  for (const std::string& address : addresses) {
    const HttpRequest request{
        .url = address,
        .part = FilePart{.fd = file.fd.get(),
                         .first_byte = first,
                         .size = std::min(step, file.size - first),
                         .sent = [&sent, first](int64_t bytes) { sent(first + bytes); }},
        .silence = kSilence};
    FTD_ASSIGN_OR_RETURN(const HttpResponse response,
                         SendPatiently(http, request, target.patience));
    if (response.status / 100 != 2)
      return WriteError(response, target, absl::StrCat("the bytes of ", file.path));
    etags.push_back(response.Header("etag"));
    if (!whole && etags.back().empty())
      return UploadProtocolError(target, "a part that was sent has no etag");
    first += step;
  }
  return whole ? absl::OkStatus() : Complete(http, target, file, plan, etags);
}

// The token goes along only to the hub itself.
absl::Status Verify(HttpClient& http, const WriteTarget& target, const OutgoingFile& file,
                    const std::string& url) {
  const HttpRequest request{
      .url = url,
      .bearer = SameOrigin(url, target.settings.endpoint) ? target.token : "",
      .body = Json::object({{"oid", file.sha256}, {"size", file.size}}).dump(),
      .silence = kSilence};
  FTD_ASSIGN_OR_RETURN(const HttpResponse response, SendPatiently(http, request, target.patience));
  if (response.status / 100 == 2) return absl::OkStatus();
  return WriteError(response, target, file.path);
}

absl::StatusOr<UploadPlan> GetUploadPlan(HttpClient& http, const WriteTarget& target,
                                         const OutgoingFile& file) {
  const Json known = {{"oid", file.sha256}, {"size", file.size}};
  const Json batch = {{"operation", "upload"},
                      {"transfers", {"basic", "multipart"}},
                      {"hash_algo", "sha256"},
                      {"ref", {{"name", target.branch}}},
                      {"objects", Json::array({known})}};
  const HttpRequest request{.url = absl::StrCat(target.settings.endpoint, "/", target.repo.name,
                                                ".git/info/lfs/objects/batch"),
                            .body = batch.dump(),
                            .content_type = kLfsJson,
                            .accept = kLfsJson};
  FTD_ASSIGN_OR_RETURN(const Json answer, CallHub(http, target, request, file.path));
  return ParseUploadPlan(target, answer, file.size);
}

}  // namespace

// {"objects": [{"oid", "size", "actions": {"upload": {"href", "header": {"chunk_size", "1", "2"}},
// "verify": {"href"}}}]}; without actions, the hub has the file; with "error", it does not take it.
absl::StatusOr<UploadPlan> ParseUploadPlan(const WriteTarget& target, const Json& answer,
                                           int64_t size) {
  const Json* objects = FindField(answer, "objects");
  if (objects == nullptr || !objects->is_array() || objects->size() != 1)
    return UploadProtocolError(target, "it is not about one file");
  const Json& object = objects->front();
  if (const Json* error = FindField(object, "error"); error != nullptr) {
    HttpResponse refusal;
    refusal.status = static_cast<int>(IntegerOr(*error, "code", 422));
    refusal.body = error->dump();
    return WriteError(refusal, target, "a large file");
  }
  UploadPlan plan;
  const Json* actions = FindField(object, "actions");
  const Json* upload = actions == nullptr ? nullptr : FindField(*actions, "upload");
  if (upload == nullptr) return plan;
  const Json none = Json::object();
  const auto field = [&](const Json& action, const char* name) -> const Json& {
    const Json* found = FindField(action, name);
    return found == nullptr ? none : *found;
  };
  FTD_ASSIGN_OR_RETURN(plan.upload, Address(target, field(*upload, "href")));
  FTD_RETURN_IF_ERROR(ReadParts(target, field(*upload, "header"), size, &plan));
  if (const Json* verify = FindField(*actions, "verify"); verify != nullptr) {
    FTD_ASSIGN_OR_RETURN(plan.verify, Address(target, field(*verify, "href")));
  }
  return plan;
}

// Signed addresses expire, and storage may have other bytes than were sent: either is tried again
// from the beginning, with new addresses.
absl::Status UploadBlob(HttpClient& http, const WriteTarget& target, const OutgoingFile& file,
                        const std::function<void(int64_t bytes)>& sent) {
  constexpr int kTries = 3;
  absl::Status status;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    FTD_ASSIGN_OR_RETURN(const UploadPlan plan, GetUploadPlan(http, target, file));
    if (!plan.upload.empty()) {
      sent(0);
      status = SendFile(http, target, file, plan, sent);
      if (status.ok() && !plan.verify.empty()) status = Verify(http, target, file, plan.verify);
    }
    if (status.ok()) {
      sent(file.size);
      return status;
    }
    if (ReasonOf(status) != Reason::kHubRefused) return status;
    FTD_RETURN_IF_ERROR(http.Sleep(RetryPause(nullptr, attempt)));
  }
  return status;
}

}  // namespace ftd::hub
