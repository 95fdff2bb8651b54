#include "worker/commands/logits_command.h"

#include "lib/base/error.h"
#include "lib/spec/judge.h"
#include "worker/commands/prompt_file.h"
#include "worker/engine/logits.h"
#include "worker/engine/train.h"

namespace ftd {

// In float32 always: this is for comparing with a reference, not for speed.
absl::Status Logits(const LogitsOptions& options) {
  FTD_ASSIGN_OR_RETURN(const TokenLists lists, ReadTokenLists(options.input));
  const auto model = JudgeModel(options.model_dir);
  if (!model.ok()) return model.status();
  try {
    engine::InitializeProcess();
    engine::WriteLogits(options.model_dir, options.adapter_dir, Dtype::kFloat32, options.nf4,
                        lists.ids, lists.single, options.output);
  } catch (const engine::EngineError& error) {
    return absl::FailedPreconditionError(error.what());
  }
  return absl::OkStatus();
}

}  // namespace ftd
