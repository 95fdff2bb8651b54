// The flags that describe a job, shared by `submit` and `run`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/command/flags.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/spec/job_fields.h"

namespace ftd {

// The values of the flags. Only what the user gave is set in the request; the server resolves the
// rest.
struct SubmitFlags {
  ftd::v1::SubmitJobRequest request;
  std::string file;                 // job_file.h; what flags say comes before what it says
  std::string dataset;              // a local file, directory or glob, or a repository of the hub
  GivenFields given;                // of the spec
  std::vector<std::string> labels;  // "k=v"
  std::optional<std::string> name;
  std::optional<int32_t> priority;
  std::vector<std::string> after;  // AddJobLinks
  std::optional<std::string> start_from, time_limit;
  // Where neither flags nor file have one; unspecified: they must.
  ftd::v1::JobSpec::Mode default_mode = ftd::v1::JobSpec::MODE_UNSPECIFIED;
};

// Declares them. `flags` and `submit` must live until Parse has returned.
void AddSubmitFlags(Flags& flags, SubmitFlags* submit);

// Declares the flags that need other jobs, or a queue: --after, --start-from, --time-limit.
void AddJobLinks(Flags& flags, SubmitFlags* submit);

// "90m" as seconds; "none" is 0. INVALID_ARGUMENT reason USAGE for what does not read.
absl::StatusOr<int64_t> ParseTimeLimit(const std::string& text);

// "k=v" each. INVALID_ARGUMENT reason USAGE for one that is not.
absl::Status ParseLabels(const std::vector<std::string>& labels,
                         google::protobuf::Map<std::string, std::string>* parsed);

// Turns what was parsed into a request as the server wants it: the job file below the flags, paths
// of existing local directories made absolute, enums and labels set, a request_id where none was
// given. The dataset is not in it yet (upload.h). INVALID_ARGUMENT reason USAGE for a label that is
// not k=v, or a column map that does not read; errors of ReadJobFile.
absl::Status CompleteRequest(SubmitFlags* submit);

}  // namespace ftd
