// What a submit says of other jobs: the one whose weights it begins with, and those it comes after.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/requests/access.h"
#include "server/requests/caller.h"

namespace ftd {

// The job that SubmitJobRequest.start_from names.
struct Origin {
  Job job;
  // The one that is judged by: `job`, or if that trains what others are still to make, the first of
  // those.
  Job root;
  std::filesystem::path checkpoint;  // empty: its result
  int64_t step = 0;                  // of the checkpoint

  v1::JobSpec::Mode mode() const;
  bool from_checkpoint() const { return !checkpoint.empty(); }
  // The result of mode FULL is a model, any other an adapter.
  bool is_model() const { return mode() == v1::JobSpec::FULL; }
  // As Job::start_from has it.
  std::string Name() const;
};

// Finds the job that `start_from` ("JOB" or "JOB@STEP") names, if the caller may read its result.
// Errors: FIELD_INVALID; JOB_NOT_FOUND; CHECKPOINT_NOT_FOUND; RESULT_PRUNED; RESULT_MISSING;
// STATE_CONFLICT where it ended without a result.
absl::StatusOr<Origin> FindOrigin(JobStore& store, const StateDir& state_dir, const Access& access,
                                  const Caller& caller, const std::string& start_from);

// Returns the ids of the jobs that `names` says, each once, if the caller may see them.
absl::StatusOr<std::vector<std::string>> FindAfter(const Access& access, const Caller& caller,
                                                   const std::vector<std::string>& names);

// Returns a submitted spec (JSON) with what it does not say taken from the origin: model and mode,
// and for an adapter rank, alpha, rsLoRA and target modules. FIELD_INVALID: the modes do not fit.
absl::StatusOr<std::string> WithDefaultsOf(const Origin& origin, const std::string& spec_json);

// Makes a job that was judged on its own begin with the origin's weights: by its spec if they are a
// result. ADAPTER_MISMATCH: it trains another model or an adapter of another form.
absl::Status BindTo(const Origin& origin, const StateDir& state_dir, Job& job);

// Keeps the weights of a checkpoint in StateDir::StartWeights of the job that begins with them, by
// links where the file system has them, so that they outlast the job that wrote them.
absl::Status KeepStartWeights(const StateDir& state_dir, const std::filesystem::path& checkpoint,
                              const std::string& job_id);
// Removes them again, for a job that was not queued.
void DropStartWeights(const StateDir& state_dir, const std::string& job_id);

}  // namespace ftd
