#include "worker/records/run_history.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using Json = nlohmann::json;

// Returns a number of the entry. JSON cannot express NaN or infinity; both are written as null.
double NumberOf(const Json& entry, const char* key) {
  const Json& value = entry.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

}  // namespace

// The lowest evaluation loss; the earlier one of two equals, as transformers keeps it.
const v1::Evaluation* BestOf(const std::vector<v1::Evaluation>& evaluations) {
  const v1::Evaluation* best = nullptr;
  for (const v1::Evaluation& evaluation : evaluations) {
    if (std::isnan(evaluation.loss())) continue;
    if (best == nullptr || evaluation.loss() < best->loss()) best = &evaluation;
  }
  return best;
}

absl::StatusOr<std::vector<v1::Evaluation>> ReadEvaluations(
    const std::filesystem::path& trainer_state_json) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(trainer_state_json));
  std::vector<v1::Evaluation> evaluations;
  try {
    const Json state = Json::parse(text);
    // log_history mixes two kinds of entries, as in transformers: only evaluations have eval_loss.
    for (const Json& entry : state.at("log_history")) {
      if (!entry.contains("eval_loss")) continue;
      v1::Evaluation& evaluation = evaluations.emplace_back();
      evaluation.set_step(entry.at("step").get<int64_t>());
      evaluation.set_epoch(NumberOf(entry, "epoch"));
      evaluation.set_loss(NumberOf(entry, "eval_loss"));
      evaluation.set_entropy(NumberOf(entry, "eval_entropy"));
      evaluation.set_mean_token_accuracy(NumberOf(entry, "eval_mean_token_accuracy"));
      evaluation.set_rows(entry.at("eval_rows").get<int64_t>());
      evaluation.set_seconds(NumberOf(entry, "eval_runtime"));
    }
  } catch (const Json::exception& error) {
    return Error(Reason::kCheckpointCorrupt,
                 absl::StrCat(trainer_state_json.string(), ": ", error.what()));
  }
  return evaluations;
}

}  // namespace ftd
