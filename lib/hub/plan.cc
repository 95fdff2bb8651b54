#include "lib/hub/plan.h"

#include <algorithm>
#include <utility>

#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/data/chat_source.h"
#include "lib/hub/sources.h"
#include "lib/hub/transport/settings.h"
#include "lib/spec/judge.h"
#include "lib/spec/sample_prompts.h"
#include "lib/spec/sample_tokens.h"

namespace ftd {
namespace {

// Judged by its config, and by the headers of its weights if they are here.
absl::StatusOr<ModelConfig> FindModel(const PlanMeans& means, Plan& plan, hub::Sources& sources) {
  TrainSpec& spec = plan.spec;
  FTD_ASSIGN_OR_RETURN(const FoundModel found,
                       FindAllowedModel(means.models, spec.model, spec.revision, means.check_dir));
  spec.model = found.name;
  spec.revision = found.revision;
  plan.model_dir = found.dir;
  if (found.source.has_value()) sources.repos.push_back(*found.source);
  FTD_ASSIGN_OR_RETURN(const ModelConfig model, found.is_complete
                                                    ? means.judge_model(found.dir)
                                                    : JudgeModelWithoutWeights(found.dir));
  FTD_RETURN_IF_ERROR(JudgeMode(found.dir, model, spec.mode));
  FTD_RETURN_IF_ERROR(BindTargetModules(model, &spec.lora));
  return model;
}

// Judges the adapter that the job starts from, and binds the spec to where it is: a link may point
// elsewhere tomorrow.
absl::Status FindAdapter(const PlanMeans& means, const ModelConfig& model, LoraSpec& lora) {
  if (lora.init_adapter.empty()) return absl::OkStatus();
  const std::filesystem::path dir = WithoutLinks(lora.init_adapter);
  if (means.check_dir) FTD_RETURN_IF_ERROR(means.check_dir(dir));
  lora.init_adapter = dir.string();
  return JudgeAdapter(dir, model, lora);
}

// What is trained must not depend on the day on which a job runs, or is resumed.
void PinDate(const std::filesystem::path& model_dir, bool has_messages, RowRules* rules) {
  std::string& date = rules->chat.chat_template_date;
  const bool asked = MayHoldConversations(*rules) || has_messages;
  if (date.empty() && asked && PrintsDate(model_dir, rules->chat)) date = Today();
}

}  // namespace

absl::StatusOr<FoundModel> FindAllowedModel(
    const ModelFinder& models, const std::string& name, const std::string& revision,
    const std::function<absl::Status(const std::filesystem::path& dir)>& check_dir) {
  FTD_ASSIGN_OR_RETURN(FoundModel found, models.Find(name, revision));
  if (!check_dir || found.source.has_value() || found.is_configured) return found;
  const absl::Status checked = check_dir(found.dir);
  // In the words for one that is not there, so that nobody can feel about for directories.
  if (absl::IsNotFound(checked)) return models.Unknown(found.name);
  FTD_RETURN_IF_ERROR(checked);
  return found;
}

absl::StatusOr<Plan> MakePlan(TrainSpec spec, const PlanMeans& means) {
  // Each step binds the spec to what it found. The adapter is judged by its model, so it comes
  // second.
  Plan plan{.spec = std::move(spec)};
  const hub::Settings settings = hub::SettingsFromEnvironment();
  hub::Sources sources{settings.endpoint, settings.cache_dir, {}};
  FTD_ASSIGN_OR_RETURN(plan.model, FindModel(means, plan, sources));
  FTD_RETURN_IF_ERROR(FindAdapter(means, plan.model, plan.spec.lora));
  const auto& prompts = plan.spec.sample_prompts;
  PinDate(plan.model_dir, std::any_of(prompts.begin(), prompts.end(), IsMessages),
          &plan.spec.dataset.rules);
  FTD_RETURN_IF_ERROR(JudgeSamplePrompts(plan.spec, plan.model_dir, plan.model));
  FTD_ASSIGN_OR_RETURN(FoundDataset dataset, means.find_dataset(plan.spec.dataset));
  plan.spec.dataset.sha256 = DatasetSha256(FilesOf(plan.spec.dataset));
  plan.dataset_path = dataset.path;
  if (dataset.source.has_value()) sources.repos.push_back(*std::move(dataset.source));
  if (!sources.repos.empty()) plan.sources_json = hub::SourcesToJson(sources);
  return plan;
}

}  // namespace ftd
