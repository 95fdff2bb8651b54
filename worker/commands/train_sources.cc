#include "worker/commands/train_sources.h"

#include <cstdio>
#include <filesystem>

#include "google/protobuf/util/json_util.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/data/dataset_files.h"
#include "lib/hub/dataset_finder.h"
#include "lib/hub/model_finder.h"
#include "lib/hub/sources.h"
#include "lib/hub/transport/settings.h"
#include "lib/spec/judge.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

void Warn(const std::string& message) { std::fprintf(stderr, "warning: %s\n", message.c_str()); }

absl::Status FindModel(TrainSpec& spec, v1::AttemptRequest& request, hub::Sources& sources) {
  std::error_code error;
  if (fs::is_directory(spec.model, error)) spec.model = fs::absolute(spec.model, error).string();
  const ModelFinder finder({}, Warn);
  FTD_ASSIGN_OR_RETURN(const FoundModel found, finder.Find(spec.model, spec.revision));
  spec.model = found.name;
  spec.revision = found.revision;
  request.set_model_dir(found.dir.string());
  if (found.source.has_value()) sources.repos.push_back(*found.source);
  const auto judged =
      found.is_complete ? JudgeModel(found.dir) : JudgeModelWithoutWeights(found.dir);
  FTD_RETURN_IF_ERROR(judged.status());
  FTD_RETURN_IF_ERROR(JudgeMode(found.dir, *judged, spec.mode));
  if (spec.lora.init_adapter.empty()) return absl::OkStatus();
  spec.lora.init_adapter = fs::absolute(spec.lora.init_adapter, error).string();
  return JudgeAdapter(spec.lora.init_adapter, *judged, spec.lora);
}

absl::Status FindDataset(DatasetSpec& dataset, v1::AttemptRequest& request, hub::Sources& sources) {
  const bool local = !dataset.server_path.empty();
  if (local) {
    FTD_ASSIGN_OR_RETURN(const auto files, FindDatasetFiles(dataset.server_path));
    for (const LocalDatasetFile& file : files) {
      std::error_code error;
      const fs::path path = fs::absolute(file.path, error);
      FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256File(path));
      dataset.files.push_back({std::move(sha256), file.name, path.string()});
    }
    if (dataset.file_name.empty()) dataset.file_name = fs::path(dataset.server_path).filename();
  } else {
    FTD_ASSIGN_OR_RETURN(FoundDataset found, FindHubDataset(dataset, Warn));
    if (found.source.has_value()) sources.repos.push_back(*std::move(found.source));
  }
  dataset.sha256 = DatasetSha256(dataset.files);
  for (const DatasetFile& file : dataset.files) {
    auto* entry = request.add_dataset_files();
    entry->set_path(file.server_path);
    entry->set_name(file.name);
    entry->set_sha256(file.sha256);
    entry->set_verify(local);  // the hub's blobs are checked as they come
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::AttemptRequest> FindTrainSources(const std::string& spec_json,
                                                    Dtype default_dtype) {
  FTD_ASSIGN_OR_RETURN(TrainSpec spec, ResolveTrainSpec(spec_json, default_dtype));
  const hub::Settings settings = hub::SettingsFromEnvironment();
  hub::Sources sources{settings.endpoint, settings.cache_dir, {}};
  v1::AttemptRequest request;
  FTD_RETURN_IF_ERROR(FindModel(spec, request, sources));
  FTD_RETURN_IF_ERROR(FindDataset(spec.dataset, request, sources));
  if (!sources.repos.empty()) request.set_sources_json(hub::SourcesToJson(sources));
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(TrainSpecToJson(spec), request.mutable_spec());
  if (!parsed.ok()) return absl::InternalError(parsed.ToString());
  return request;
}

}  // namespace ftd
