// The model and data of `train`, found and pinned as a daemon does at submit.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Resolves a JobSpec's JSON whose model is a directory, an alias or OWNER/NAME, and whose dataset's
// server_path is a file, directory or glob. The request carries the resolved spec, the files and
// what has to be fetched. Errors: ResolveTrainSpec's, those of ModelFinder and FindDatasetFiles.
absl::StatusOr<v1::AttemptRequest> FindTrainSources(const std::string& spec_json,
                                                    Dtype default_dtype);

}  // namespace ftd
