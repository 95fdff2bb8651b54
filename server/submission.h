// Judging and queueing a submit.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/train_spec.h"
#include "server/job_store.h"
#include "server/model_verdicts.h"
#include "server/state_dir.h"

namespace ftd {

// What was asked for.
struct Submission {
  std::string spec_json;  // a JobSpec in proto3 JSON with snake_case names
  std::string name;
  std::map<std::string, std::string> labels;
  int32_t priority = 0;
  std::string owner;
  std::optional<RequestKey> request;
};

struct SubmitRules {
  Dtype default_dtype = Dtype::kFloat32;
  std::map<std::string, std::string> models;  // alias → directory
  std::vector<std::string> dataset_roots;
  int64_t max_queued = 1000;
};

// Thread-safe.
class Submitter {
 public:
  // Both must outlive it.
  Submitter(JobStore& store, const StateDir& state_dir, SubmitRules rules)
      : store_(store), state_dir_(state_dir), rules_(std::move(rules)) {}

  // Judges everything that can be judged without reading weights or rows: fields, model headers,
  // adapter, that the dataset is there, that a result could be written. Returns the job that would
  // be queued, without an id. Errors: those of SubmitJob in fine_tuning.proto.
  absl::StatusOr<Job> Judge(const Submission& submission) const;

  // Judge, then one durable transaction. A submission whose request is known gives the job that it
  // made before.
  absl::StatusOr<Job> Submit(const Submission& submission);

 private:
  absl::StatusOr<std::filesystem::path> FindModel(const std::string& model) const;
  // Fill in what only the server knows: files and hashes.
  absl::Status FindDataset(DatasetSpec& dataset) const;
  absl::Status FindUpload(const std::string& sha256) const;
  absl::StatusOr<std::vector<DatasetFile>> FindServerFiles(const std::string& name) const;
  bool IsUnderARoot(const std::filesystem::path& path) const;

  JobStore& store_;
  const StateDir& state_dir_;
  const SubmitRules rules_;
  mutable ModelVerdicts models_;
};

}  // namespace ftd
