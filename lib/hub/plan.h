// The model and data that a job will train on: found, judged and pinned, once for the daemon's
// submit and for ft-train.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "lib/hub/dataset_finder.h"
#include "lib/hub/model_finder.h"
#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"

namespace ftd {

struct Plan {
  // Resolved, and bound to what was found: the repository instead of an alias, commits instead of
  // branches, the dataset's files with their digests.
  TrainSpec spec;
  std::filesystem::path model_dir;
  ModelConfig model;
  std::filesystem::path dataset_path;  // for people
  std::string sources_json;            // what has to be fetched first (sources.h); empty: nothing
};

// The parts that differ between the callers.
struct PlanMeans {
  const ModelFinder& models;
  // JudgeModel, or one that remembers.
  std::function<absl::StatusOr<ModelConfig>(const std::filesystem::path&)> judge_model;
  // Names the files in `dataset.files` and returns where they are.
  std::function<absl::StatusOr<FoundDataset>(DatasetSpec& dataset)> find_dataset;
  // Whether a directory that the client named by its path may be read for it, asked before anything
  // of it is. Empty: all that this process can read.
  std::function<absl::Status(const std::filesystem::path& dir)> check_dir;
};

// Finds a model by its name. `check_dir` as of PlanMeans. Errors: ModelFinder::Find's, and those of
// `check_dir`; NOT_FOUND MODEL_NOT_FOUND for a directory of which it says NOT_FOUND.
absl::StatusOr<FoundModel> FindAllowedModel(
    const ModelFinder& models, const std::string& name, const std::string& revision,
    const std::function<absl::Status(const std::filesystem::path& dir)>& check_dir);

// Finds model and dataset, asks whether the model can be trained as `spec` says and whether the
// adapter to start from fits it, and pins the spec. Reads headers only. Requires: paths in `spec`
// are absolute. Errors: those of SubmitJob about model, adapter and dataset.
absl::StatusOr<Plan> MakePlan(TrainSpec spec, const PlanMeans& means);

}  // namespace ftd
