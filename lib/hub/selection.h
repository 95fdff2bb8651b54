// The choice of a repository's files that a job needs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/hub/transport/repo.h"

namespace ftd::hub {

// Configuration, tokenizer and safetensors of a model; not the same weights in other formats
// (*.bin, original/, GGUF, ONNX). FAILED_PRECONDITION MODEL_UNSUPPORTED when it has no config.json,
// no tokenizer.json or no safetensors.
absl::StatusOr<RepoRevision> ModelFiles(const RepoRevision& revision);

// The same without the weights: what is judged before they are fetched.
RepoRevision WithoutWeights(const RepoRevision& model_files);

}  // namespace ftd::hub
