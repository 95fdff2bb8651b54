// The models RPCs: what the cache has, and what is done to it on a client's behalf.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/hub/model_finder.h"
#include "server/jobs/job_store.h"
#include "server/requests/client_task.h"

namespace ftd {

// Thread-safe.
class ModelCatalog {
 public:
  // Both must outlive it.
  ModelCatalog(JobStore& store, const ModelFinder& finder) : store_(store), finder_(finder) {}

  // From the cache's directory and the alias table; no request to the hub.
  absl::StatusOr<v1::ListModelsResponse> List() const;
  // Refused with STATE_CONFLICT while a job that has not ended needs the repository.
  absl::StatusOr<v1::DeleteModelResponse> Delete(const v1::DeleteModelRequest& request) const;
  // Both take as long as they take.
  absl::StatusOr<v1::PullModelResponse> Pull(const v1::PullModelRequest& request,
                                             const ClientTaskControls& controls) const;
  absl::StatusOr<v1::VerifyModelResponse> Verify(const v1::VerifyModelRequest& request,
                                                 const ClientTaskControls& controls) const;

 private:
  // The repository that a name or alias stands for.
  absl::StatusOr<hub::RepoId> Named(const std::string& name, v1::Model::Type type) const;
  // Ids of the jobs that have not ended, by the repository's kind and name.
  absl::StatusOr<std::map<std::string, std::vector<std::string>>> JobsByRepo() const;

  JobStore& store_;
  const ModelFinder& finder_;
};

}  // namespace ftd
