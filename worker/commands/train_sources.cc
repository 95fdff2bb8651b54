#include "worker/commands/train_sources.h"

#include <cstdio>
#include <filesystem>

#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/data/dataset_files.h"
#include "lib/hub/dataset_finder.h"
#include "lib/hub/model_finder.h"
#include "lib/hub/plan.h"
#include "lib/runlog/message_json.h"
#include "lib/spec/judge.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

void Warn(const std::string& message) { std::fprintf(stderr, "warning: %s\n", message.c_str()); }

// Finds the dataset. Here one that is not the hub's is read in place.
absl::StatusOr<FoundDataset> FindDataset(DatasetSpec& dataset) {
  if (dataset.server_path.empty()) return FindHubDataset(dataset, Warn);
  FTD_ASSIGN_OR_RETURN(const auto files, FindDatasetFiles(dataset.server_path));
  for (const LocalDatasetFile& file : files) {
    std::error_code error;
    const fs::path path = fs::absolute(file.path, error);
    FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256File(path));
    dataset.files.push_back({std::move(sha256), file.name, path.string()});
  }
  if (dataset.file_name.empty()) dataset.file_name = fs::path(dataset.server_path).filename();
  return FoundDataset{.path = dataset.server_path};
}

}  // namespace

// The same plan as for a job of the daemon, so the same run has the same spec on both ways.
absl::StatusOr<v1::AttemptRequest> FindTrainSources(const std::string& spec_json,
                                                    Dtype default_dtype) {
  FTD_ASSIGN_OR_RETURN(TrainSpec spec, ResolveTrainSpec(spec_json, default_dtype));
  std::error_code error;
  // Absolute: the request is read again by --resume, from another directory perhaps.
  if (fs::is_directory(spec.model, error)) spec.model = fs::absolute(spec.model, error).string();
  if (!spec.lora.init_adapter.empty())
    spec.lora.init_adapter = fs::absolute(spec.lora.init_adapter, error).string();
  const ModelFinder finder({}, Warn);
  FTD_ASSIGN_OR_RETURN(const Plan plan,
                       MakePlan(std::move(spec), {finder, JudgeModel, FindDataset}));
  v1::AttemptRequest request;
  request.set_model_dir(plan.model_dir.string());
  request.set_sources_json(plan.sources_json);
  for (const DatasetFile& file : plan.spec.dataset.files) {
    auto* entry = request.add_dataset_files();
    entry->set_path(file.server_path);
    entry->set_name(file.name);
    entry->set_sha256(file.sha256);
    // The hub's blobs are verified as they are fetched.
    entry->set_verify(!plan.spec.dataset.server_path.empty());
  }
  const absl::Status parsed =
      MessageFromJson(TrainSpecToJson(plan.spec), UnknownFields::kRefused, request.mutable_spec());
  if (!parsed.ok()) return absl::InternalError(parsed.message());
  return request;
}

}  // namespace ftd
