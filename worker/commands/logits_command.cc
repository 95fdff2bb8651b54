#include "worker/commands/logits_command.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/spec/judge.h"
#include "nlohmann/json.hpp"
#include "worker/engine/logits.h"
#include "worker/engine/train.h"

namespace ftd {
namespace {

struct Sequences {
  std::vector<std::vector<int32_t>> ids;
  bool single = false;
};

// `single`: the input was one sequence, not a list of them; the output has the same form.
absl::StatusOr<Sequences> ReadSequences(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  // The output of a Hugging Face tokenizer is taken as it is.
  if (json.is_object() && json.contains("input_ids")) json = nlohmann::json(json["input_ids"]);
  Sequences sequences;
  try {
    if (!json.is_array() || json.empty()) throw std::invalid_argument("");
    // [1, 2, 3], or [[1, 2], [3]].
    sequences.single = !json[0].is_array();
    if (sequences.single) {
      sequences.ids.push_back(json.get<std::vector<int32_t>>());
    } else {
      sequences.ids = json.get<std::vector<std::vector<int32_t>>>();
    }
    for (const auto& ids : sequences.ids) {
      if (ids.empty()) throw std::invalid_argument("");
    }
  } catch (const std::exception&) {
    return absl::InvalidArgumentError(absl::StrCat(
        path.string(),
        ": must be a JSON array of token ids, or an array of such arrays, none empty"));
  }
  return sequences;
}

}  // namespace

// In float32 always: this is for comparing with a reference, not for speed.
absl::Status Logits(const LogitsOptions& options) {
  FTD_ASSIGN_OR_RETURN(Sequences sequences, ReadSequences(options.input));
  const auto model = JudgeModel(options.model_dir);
  if (!model.ok()) return model.status();
  try {
    engine::InitializeProcess();
    engine::WriteLogits(options.model_dir, options.adapter_dir, Dtype::kFloat32, options.nf4,
                        sequences.ids, sequences.single, options.output);
  } catch (const engine::EngineError& error) {
    return absl::FailedPreconditionError(error.what());
  }
  return absl::OkStatus();
}

}  // namespace ftd
