#include "server/submission.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "artifacts/dataset/dataset_files.h"
#include "artifacts/error.h"
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

absl::StatusOr<fs::path> Submitter::FindModel(const std::string& model) const {
  const auto alias = rules_.models.find(model);
  const fs::path path = alias == rules_.models.end() ? fs::path(model) : fs::path(alias->second);
  std::error_code error;
  if (path.is_absolute() && fs::is_directory(path, error)) return fs::canonical(path, error);
  std::vector<std::string> aliases;
  for (const auto& [name, unused] : rules_.models) aliases.push_back(name);
  const std::string known = aliases.empty() ? "none are configured" : absl::StrJoin(aliases, ", ");
  return Error(
      absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
      absl::StrCat("model \"", model, "\": ",
                   path.is_absolute() ? "the server has no such directory"
                                      : "neither an absolute path on the server nor an alias",
                   " (aliases: ", known, ")"));
}

// Links are resolved on both sides, so that none leads out of a root.
bool Submitter::IsUnderARoot(const fs::path& path) const {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(path, error);
  if (error) return false;
  return std::any_of(rules_.dataset_roots.begin(), rules_.dataset_roots.end(),
                     [&](const std::string& root) {
                       std::error_code ignored;
                       return LiesUnder(real, Trimmed(fs::weakly_canonical(root, ignored)));
                     });
}

absl::StatusOr<std::vector<DatasetFile>> Submitter::FindServerFiles(const std::string& name) const {
  const auto refused = [&](const fs::path& path) {
    return FieldError({{"dataset.server_path",
                        absl::StrCat("\"", path.string(),
                                     "\" is not under a dataset root of the server; upload the "
                                     "file, or have its folder added to dataset_roots")}});
  };
  // What lies outside the roots must not even be searched.
  fs::path searched(name);
  while (IsGlob(searched.string())) searched = searched.parent_path();
  if (!searched.is_absolute() || !IsUnderARoot(searched)) return refused(name);
  FTD_ASSIGN_OR_RETURN(const auto found, FindDatasetFiles(name));
  std::vector<DatasetFile> files;
  for (const LocalDatasetFile& file : found) {
    if (!IsUnderARoot(file.path)) return refused(file.path);
    std::error_code error;
    const fs::path real = fs::canonical(file.path, error);
    if (error || !fs::is_regular_file(real, error) || access(real.c_str(), R_OK) != 0) {
      return Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                   absl::StrCat("dataset ", file.path.string(),
                                ": the server has no such file that it can read"));
    }
    FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256File(real));
    files.push_back({std::move(sha256), file.name, real});
  }
  return files;
}

absl::Status Submitter::FindDataset(DatasetSpec& dataset) const {
  if (!dataset.server_path.empty()) {
    FTD_ASSIGN_OR_RETURN(dataset.files, FindServerFiles(dataset.server_path));
    if (dataset.file_name.empty()) dataset.file_name = Trimmed(dataset.server_path).filename();
  } else {
    // A client must not say where an upload lies: that would lead past the roots.
    for (DatasetFile& file : dataset.files) file.server_path.clear();
    for (const DatasetFile& file : FilesOf(dataset)) FTD_RETURN_IF_ERROR(FindUpload(file.sha256));
  }
  dataset.sha256 = DatasetSha256(FilesOf(dataset));
  return absl::OkStatus();
}

absl::Status Submitter::FindUpload(const std::string& sha256) const {
  if (!IsSha256(sha256)) {
    return FieldError({{"dataset.upload_sha256", "must be 64 digits of lower-case hex"}});
  }
  std::error_code error;
  if (fs::is_regular_file(state_dir_.Uploads() / sha256, error)) return absl::OkStatus();
  return Error(
      absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
      absl::StrCat("no file with sha256 ", sha256, " was uploaded; send it by UploadFile first"));
}

absl::StatusOr<Job> Submitter::Judge(const Submission& submission) const {
  FTD_RETURN_IF_ERROR(CheckFields(submission));
  FTD_ASSIGN_OR_RETURN(TrainSpec spec,
                       ResolveTrainSpec(submission.spec_json, rules_.default_dtype));
  Job job;
  FTD_ASSIGN_OR_RETURN(job.model_dir, FindModel(spec.model));
  FTD_ASSIGN_OR_RETURN(const ModelConfig model, models_.Judge(job.model_dir));
  if (!spec.lora.init_adapter.empty()) {
    if (!fs::path(spec.lora.init_adapter).is_absolute()) {
      return FieldError({{"lora.init_adapter", "must be an absolute path on the server"}});
    }
    FTD_RETURN_IF_ERROR(JudgeAdapter(spec.lora.init_adapter, model, spec.lora));
  }
  FTD_RETURN_IF_ERROR(FindDataset(spec.dataset));
  job.dataset_path = spec.dataset.server_path;
  if (job.dataset_path.empty())
    job.dataset_path = state_dir_.Uploads() / FilesOf(spec.dataset).front().sha256;
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
