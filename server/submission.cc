#include "server/submission.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "artifacts/error.h"
#include "artifacts/hub/settings.h"
#include "artifacts/hub/sources.h"
#include "artifacts/judge.h"
#include "artifacts/sha256.h"
#include "server/id.h"
#include "server/result_publisher.h"
#include "server/uploads.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 63, kMaxLabels = 16, kMaxLabelKey = 64, kMaxLabelValue = 512;
constexpr int32_t kMaxPriority = 1000;

bool IsName(const std::string& name) {
  return name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

void CheckLabels(const std::map<std::string, std::string>& labels,
                 std::vector<FieldViolation>& bad) {
  if (labels.size() > kMaxLabels) {
    bad.push_back({"labels", absl::StrCat("may be at most ", kMaxLabels)});
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelKey) {
      bad.push_back(
          {"labels", absl::StrCat("has a key that is not 1 to ", kMaxLabelKey, " bytes long")});
    }
    if (value.size() > kMaxLabelValue) {
      bad.push_back({"labels", absl::StrCat("has a value longer than ", kMaxLabelValue, " bytes")});
    }
  }
}

bool IsUuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

absl::Status CheckFields(const Submission& submission) {
  std::vector<FieldViolation> bad;
  if (!IsName(submission.name)) {
    bad.push_back({"name", absl::StrCat("must be at most ", kMaxNameBytes, " of a-z, 0-9 and -")});
  }
  if (submission.name.rfind("ft-", 0) == 0) {
    bad.push_back({"name", "must not begin with ft-, as ids do"});
  }
  if (submission.priority < -kMaxPriority || submission.priority > kMaxPriority) {
    bad.push_back({"priority", absl::StrCat("must be -", kMaxPriority, " to ", kMaxPriority)});
  }
  if (submission.request.has_value() && !IsUuid(submission.request->request_id)) {
    bad.push_back({"request_id", "must be a UUID"});
  }
  CheckLabels(submission.labels, bad);
  return bad.empty() ? absl::OkStatus() : FieldError(bad);
}

bool LiesUnder(const fs::path& path, const fs::path& root) {
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return end == root.end();
}

// Without its trailing slash, which would count as an empty last part.
fs::path Trimmed(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

}  // namespace

absl::StatusOr<ModelConfig> Submitter::FindModel(TrainSpec& spec, Job& job) const {
  FTD_ASSIGN_OR_RETURN(const FoundModel found, finder_.Find(spec.model, spec.revision));
  spec.model = found.name;
  spec.revision = found.revision;
  job.model_dir = found.dir;
  if (found.source.has_value()) {
    const hub::Settings settings = hub::SettingsFromEnvironment();
    job.sources_json = hub::SourcesToJson({settings.endpoint, settings.cache_dir, {*found.source}});
  }
  return found.is_complete ? verdicts_.Judge(found.dir) : JudgeModelWithoutWeights(found.dir);
}

absl::StatusOr<fs::path> Submitter::FindServerPath(const std::string& name) const {
  const fs::path path(name);
  const absl::Status refused =
      FieldError({{"dataset.server_path",
                   absl::StrCat("\"", name,
                                "\" is not under a dataset root of the server; upload the file, "
                                "or have its folder added to dataset_roots")}});
  if (!path.is_absolute()) return refused;
  std::error_code error;
  // Links are resolved on both sides, so that none leads out of a root.
  const fs::path real = fs::weakly_canonical(path, error);
  if (error) return refused;
  const bool allowed =
      std::any_of(rules_.dataset_roots.begin(), rules_.dataset_roots.end(), [&](const auto& root) {
        std::error_code ignored;
        return LiesUnder(real, Trimmed(fs::weakly_canonical(root, ignored)));
      });
  if (!allowed) return refused;
  if (fs::is_regular_file(real, error) && access(real.c_str(), R_OK) == 0) return real;
  return Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
               absl::StrCat("dataset ", name, ": the server has no such file that it can read"));
}

absl::StatusOr<fs::path> Submitter::FindDataset(TrainSpec& spec) const {
  if (!spec.dataset_server_path.empty()) {
    FTD_ASSIGN_OR_RETURN(const fs::path path, FindServerPath(spec.dataset_server_path));
    if (spec.dataset_file_name.empty()) spec.dataset_file_name = path.filename();
    FTD_ASSIGN_OR_RETURN(spec.dataset_sha256, Sha256File(path));
    return path;
  }
  const std::string& sha256 = spec.dataset_upload_sha256;
  if (!IsSha256(sha256)) {
    return FieldError({{"dataset.upload_sha256", "must be 64 digits of lower-case hex"}});
  }
  std::error_code error;
  const fs::path path = state_dir_.Uploads() / sha256;
  if (!fs::is_regular_file(path, error)) {
    return Error(
        absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
        absl::StrCat("no file with sha256 ", sha256, " was uploaded; send it by UploadFile first"));
  }
  spec.dataset_sha256 = sha256;
  return path;
}

absl::StatusOr<Job> Submitter::Judge(const Submission& submission) const {
  FTD_RETURN_IF_ERROR(CheckFields(submission));
  FTD_ASSIGN_OR_RETURN(TrainSpec spec,
                       ResolveTrainSpec(submission.spec_json, rules_.default_dtype));
  Job job;
  FTD_ASSIGN_OR_RETURN(const ModelConfig model, FindModel(spec, job));
  if (!spec.lora.init_adapter.empty()) {
    if (!fs::path(spec.lora.init_adapter).is_absolute()) {
      return FieldError({{"lora.init_adapter", "must be an absolute path on the server"}});
    }
    FTD_RETURN_IF_ERROR(JudgeAdapter(spec.lora.init_adapter, model, spec.lora));
  }
  FTD_ASSIGN_OR_RETURN(job.dataset_path, FindDataset(spec));
  FTD_RETURN_IF_ERROR(state_dir_.CheckResultsWritable());
  job.name = submission.name;
  job.spec_json = TrainSpecToJson(spec);
  job.labels = submission.labels;
  job.priority = submission.priority;
  job.owner = submission.owner;
  std::error_code error;
  if (!job.name.empty() && fs::exists(PublishedResult(state_dir_, job), error)) {
    return Error(absl::StatusCode::kAlreadyExists, "NAME_IN_USE",
                 absl::StrCat("results of a job named \"", job.name,
                              "\" exist already; choose another name"));
  }
  return job;
}

absl::StatusOr<Job> Submitter::Submit(const Submission& submission) {
  if (submission.request.has_value()) {
    FTD_ASSIGN_OR_RETURN(auto known, store_.FindRequest(*submission.request));
    if (known.has_value()) return *std::move(known);
  }
  FTD_ASSIGN_OR_RETURN(Job job, Judge(submission));
  job.id = NewJobId();
  return store_.Insert(std::move(job), submission.request, rules_.max_queued);
}

}  // namespace ftd
