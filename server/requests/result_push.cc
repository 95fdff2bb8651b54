#include "server/requests/result_push.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/hub/push.h"
#include "lib/spec/repo_name.h"
#include "server/host/log.h"
#include "server/requests/result_lookup.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr char kAdapterConfig[] = "adapter_config.json";
constexpr int kConnections = 4;

absl::Status CheckTarget(const v1::PushResultRequest& request) {
  std::vector<FieldViolation> violations;
  if (!hub::IsRepoName(request.repository()))
    violations.push_back({"repository", "must be OWNER/NAME, as in ann/my-adapter"});
  if (!request.revision().empty() && !hub::IsBranchName(request.revision()))
    violations.push_back({"revision", "must be the name of a branch, as in main"});
  return violations.empty() ? absl::OkStatus() : FieldError(violations);
}

// Returns the files below the result's directory, relative to it. Links are not followed: a result
// is made of files.
absl::StatusOr<std::vector<fs::path>> FilesBelow(const fs::path& dir) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(dir, error), end; !error && it != end;
       it.increment(error)) {
    const bool unfinished = it->path().filename().string().starts_with(kUnfinishedMark);
    if (unfinished && it->is_directory(error)) it.disable_recursion_pending();
    if (!unfinished && it->symlink_status(error).type() == fs::file_type::regular)
      files.push_back(it->path().lexically_relative(dir));
  }
  if (error)
    return Error(Reason::kResultMissing,
                 absl::StrCat("result ", dir.string(), ": ", error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

// An adapter calls a base that is a directory of the server by its path, by which PEFT finds it
// here; elsewhere its name has to do.
absl::StatusOr<hub::OutgoingFile> PortableAdapterConfig(const fs::path& file) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  auto json = ParseJsonObject<nlohmann::ordered_json>(text);
  constexpr char kBase[] = "base_model_name_or_path";
  const auto* base = json.has_value() ? FindField(*json, kBase) : nullptr;
  if (base == nullptr || !base->is_string() || !fs::path(base->get<std::string>()).is_absolute())
    return hub::OpenOutgoing(file, kAdapterConfig);
  const fs::path path(base->get<std::string>());
  (*json)[kBase] = (path.has_filename() ? path : path.parent_path()).filename().string();
  return hub::MakeOutgoing(json->dump(2) + "\n", kAdapterConfig);
}

// All are opened before the first byte goes: what is pruned from then on stays readable here.
absl::StatusOr<std::vector<hub::OutgoingFile>> OpenResult(const fs::path& dir) {
  std::vector<hub::OutgoingFile> opened;
  FTD_ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesBelow(dir));
  for (const fs::path& path : files) {
    auto file = path == kAdapterConfig ? PortableAdapterConfig(dir / path)
                                       : hub::OpenOutgoing(dir / path, path.generic_string());
    if (absl::IsNotFound(file.status()))
      return Error(Reason::kResultMissing, std::string(file.status().message()));
    FTD_RETURN_IF_ERROR(file.status());
    opened.push_back(*std::move(file));
  }
  return opened;
}

}  // namespace

absl::StatusOr<v1::Push> PushResult(JobStore& store, const std::string& id,
                                    const v1::PushResultRequest& request,
                                    const ClientTaskControls& controls) {
  FTD_RETURN_IF_ERROR(CheckTarget(request));
  FTD_ASSIGN_OR_RETURN(const Job job, store.Get(id));
  FTD_RETURN_IF_ERROR(CheckNotPruned(store, job));
  FTD_RETURN_IF_ERROR(CheckHasResult(job));
  hub::PushOrder order{.repo = request.repository(),
                       .is_private = request.private_(),
                       .summary = absl::StrCat("Result of job ", job.DisplayName(), ", by ftd")};
  if (!request.revision().empty()) order.branch = request.revision();
  FTD_ASSIGN_OR_RETURN(order.files, OpenResult(job.result_dir));
  // As of now, so that a login counts at once.
  const hub::Settings settings = hub::SettingsFromEnvironment();
  FTD_ASSIGN_OR_RETURN(hub::Pushed pushed,
                       hub::PushFiles(settings, hub::FindToken(settings), std::move(order),
                                      {.connections = kConnections,
                                       .progress = controls.progress,
                                       .cancelled = controls.cancelled}));
  if (!pushed.unchanged) LogInfo(About{.job = id}, "its result was pushed to ", pushed.url);
  v1::Push outcome;
  outcome.set_url(std::move(pushed.url));
  outcome.set_commit(std::move(pushed.commit));
  outcome.set_unchanged(pushed.unchanged);
  return outcome;
}

}  // namespace ftd
