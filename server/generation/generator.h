// Answers calls of Generate: finds what answers, and where it runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/model/model_config.h"
#include "server/attempts/device.h"
#include "server/generation/model_hosts.h"
#include "server/jobs/job_store.h"
#include "server/requests/caller.h"
#include "server/requests/submission.h"

namespace ftd {

// Who made a call.
struct GenerateObserver {
  std::function<bool()> cancelled;  // asked ten times a second
  std::function<void(v1::GenerateResponse)> send;
};

// Thread-safe.
class Generator {
 public:
  // All must outlive it.
  Generator(JobStore& store, const Submitter& submitter, const Device& device, ModelHosts& hosts)
      : store_(store), submitter_(submitter), device_(device), hosts_(hosts) {}

  // Blocks until the request is answered, or the caller has gone. `job`: the id of the request's,
  // if it names one. Errors: those of Generate in fine_tuning.proto; CANCELLED.
  absl::Status Generate(const v1::GenerateRequest& request, const std::string& job,
                        const Caller& caller, const GenerateObserver& observer);

 private:
  struct Source {
    HostedModel model;
    ModelConfig config;
    std::string name;  // for messages
    Dtype gpu_dtype = Dtype::kBfloat16;
  };

  absl::StatusOr<Source> Find(const v1::GenerateRequest& request, const std::string& job,
                              const Caller& caller) const;
  absl::StatusOr<Source> FindJob(const std::string& job, bool base) const;
  // On the GPU while no job has it; else on the CPU, in float32 if there is memory for that.
  absl::StatusOr<HostPlace> Place(const Source& source) const;

  JobStore& store_;
  const Submitter& submitter_;
  const Device& device_;
  ModelHosts& hosts_;
};

}  // namespace ftd
