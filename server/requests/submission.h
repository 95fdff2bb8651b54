// Judging and queueing a submit.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/hub/model_finder.h"
#include "lib/plan/fit.h"
#include "lib/spec/train_spec.h"
#include "server/host/log.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/lookahead/row_check.h"
#include "server/requests/caller.h"
#include "server/requests/client_task.h"
#include "server/requests/dataset_finder.h"
#include "server/requests/job_origin.h"
#include "server/requests/model_verdicts.h"
#include "server/requests/recent_judgements.h"
#include "server/requests/source_access.h"

namespace ftd {

// The request, without its wire format.
struct Submission {
  std::string spec_json;  // a JobSpec in proto3 JSON with snake_case names
  std::string name;
  std::map<std::string, std::string> labels;
  int32_t priority = 0;
  std::vector<std::string> after;  // ids or names
  std::string start_from;          // JOB or JOB@STEP; empty: the model's own weights
  int64_t time_limit_seconds = 0;  // 0: none
  Caller caller;                   // its owner
  std::optional<RequestKey> request;
};

// The part of Options that submits are judged by.
struct SubmitRules {
  Dtype default_dtype = Dtype::kFloat32;
  std::map<std::string, std::string> models;  // alias → directory or repository
  std::vector<std::string> dataset_roots, model_roots;
  Visibility visibility = Visibility::kGroup;
  int64_t max_queued = 1000;
  int64_t max_queued_per_owner = 500;
  std::string worker;                // program
  std::function<MemoryRoom()> room;  // that jobs may have on the device
};

// Thread-safe.
class Submitter {
 public:
  // Both must outlive it.
  Submitter(JobStore& store, const StateDir& state_dir, SubmitRules rules)
      : store_(store),
        state_dir_(state_dir),
        rules_(std::move(rules)),
        finder_(rules_.models, LogHubTrouble),
        datasets_(state_dir, rules_.dataset_roots),
        access_(store, rules_.visibility),
        source_access_(store, state_dir, rules_.model_roots, rules_.visibility),
        recent_(state_dir, finder_) {}

  // Judges everything that can be judged without reading weights or many rows: fields, model
  // headers, adapter, the dataset's first rows, that a result could be written. Returns the job
  // that would be queued, without an id. Errors: those of SubmitJob in fine_tuning.proto.
  absl::StatusOr<Job> Judge(const Submission& submission) const;

  struct Checked {
    Job job;
    std::optional<v1::DataReport> report;
    std::vector<std::string> warnings;
  };
  // Judge, and a worker that reads all rows; without its report where `go_on` returned false or 20
  // s did not suffice, or where the data would have to be fetched. FAILED_PRECONDITION DOES_NOT_FIT
  // also when a row is too long for the device's memory.
  absl::StatusOr<Checked> Validate(const Submission& submission,
                                   const std::function<bool()>& go_on) const;
  // Judge, and a worker that reads all rows, however long that takes; it always has the report.
  // What is missing of the data is fetched from the hub. A row that is too long for the device's
  // memory is in the report's plan.
  absl::StatusOr<Checked> CheckData(const Submission& submission,
                                    const ClientTaskControls& controls) const;

  // Judge, then one durable transaction. A submission whose request is known gives the job that it
  // made before. `done` is called on this thread or later on the store's, which it must not keep.
  void Submit(const Submission& submission, JobStore::Done done);

  // Queues another job that is as one that has ended was: bound to the same model and data.
  // FAILED_PRECONDITION STATE_CONFLICT: it has not ended.
  absl::StatusOr<Job> Retry(const std::string& job, const Caller& caller,
                            const std::optional<RequestKey>& request);

  // Returns the directory of a model that the caller may use, with all of its files. Errors: those
  // of SubmitJob about models; NOT_FOUND MODEL_NOT_FOUND also for one that has to be fetched first.
  absl::StatusOr<std::filesystem::path> FindModel(const std::string& model,
                                                  const Caller& caller) const;

  const ModelFinder& model_finder() const { return finder_; }

 private:
  // The job that the submission begins with the weights of, if it names one.
  absl::StatusOr<std::optional<Origin>> OriginOf(const Submission& submission) const;
  absl::StatusOr<Job> Judge(const Submission& submission,
                            const std::optional<Origin>& origin) const;
  // What of Judge depends on the spec and its caller alone.
  absl::StatusOr<Job> JudgeSpec(const std::string& spec_json, const Caller& caller) const;
  // Has a job that repeats another come after the same jobs, and begin with the same weights.
  absl::Status RepeatLinks(const Job& ended, const Caller& caller, Job& job);
  // How many jobs of the caller may wait.
  int64_t MostOf(const Caller& caller) const;
  absl::StatusOr<SideWork> ReadRows(const Job& judged, const SideWorkObserver& observer) const;

  JobStore& store_;
  const StateDir& state_dir_;
  const SubmitRules rules_;
  const ModelFinder finder_;
  const DatasetFinder datasets_;
  const Access access_;
  const SourceAccess source_access_;
  mutable ModelVerdicts verdicts_;
  mutable RecentJudgements recent_;
};

}  // namespace ftd
