#include "worker/records/model_card.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "lib/spec/repo_name.h"
#include "nlohmann/json.hpp"
#include "worker/records/version.h"

namespace ftd {
namespace {

// A JSON string is a YAML string, whatever is in it.
std::string Quoted(const std::string& text) {
  using Json = nlohmann::json;
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The evaluation of the weights that the result has; null: there was none.
const v1::Evaluation* EvaluationOf(const TrainSpec& spec, const RunHistory& history) {
  if (history.evaluations.empty()) return nullptr;
  return spec.load_best_model_at_end ? BestOf(history.evaluations) : &history.evaluations.back();
}

// The hub's schema of results: a task, a dataset, metrics.
std::string EvaluationYaml(const TrainSpec& spec, const std::string& name,
                           const v1::Evaluation& evaluation) {
  const bool on_hub = !spec.dataset.hub.name.empty();
  return absl::StrFormat(
      "model-index:\n- name: %s\n  results:\n  - task:\n      type: text-generation\n"
      "    dataset:\n      name: %s\n      type: %s\n    metrics:\n"
      "    - type: loss\n      value: %.6g\n"
      "    - type: accuracy\n      name: token accuracy\n      value: %.6g\n",
      Quoted(name), Quoted(spec.dataset.file_name),
      Quoted(on_hub ? spec.dataset.hub.name : "private"), evaluation.loss(),
      evaluation.mean_token_accuracy());
}

// What is made of a model is under its license. A path in its repository leads nowhere in another.
std::string LicenseYaml(const TrainSpec& spec, const hub::License& license, bool base_on_hub) {
  std::string yaml;
  if (license.ids.size() == 1) absl::StrAppend(&yaml, "license: ", license.ids[0], "\n");
  if (license.ids.size() > 1)
    absl::StrAppend(&yaml, "license:\n- ", absl::StrJoin(license.ids, "\n- "), "\n");
  if (!license.name.empty()) absl::StrAppend(&yaml, "license_name: ", Quoted(license.name), "\n");
  const bool is_url = absl::StartsWith(license.link, "https://");
  if (is_url || (base_on_hub && !license.link.empty())) {
    const std::string repo =
        is_url ? "" : absl::StrCat("https://huggingface.co/", spec.model, "/blob/main/");
    absl::StrAppend(&yaml, "license_link: ", Quoted(repo + license.link), "\n");
  }
  return yaml;
}

std::string Metadata(const TrainSpec& spec, const std::string& name, bool base_on_hub,
                     const hub::License& license, const v1::Evaluation* evaluation) {
  const bool full = spec.mode == Mode::kFull;
  std::string yaml;
  if (base_on_hub) {
    absl::StrAppend(&yaml, "base_model: ", Quoted(spec.model),
                    "\nbase_model_relation: ", full ? "finetune" : "adapter", "\n");
  }
  yaml += LicenseYaml(spec, license, base_on_hub);
  absl::StrAppend(&yaml, "library_name: ", full ? "transformers" : "peft",
                  "\npipeline_tag: text-generation\ntags:\n- ftd\n- sft\n");
  if (!full) absl::StrAppend(&yaml, "- ", std::string(ModeName(spec.mode)), "\n");
  if (!spec.dataset.hub.name.empty())
    absl::StrAppend(&yaml, "datasets:\n- ", Quoted(spec.dataset.hub.name), "\n");
  if (evaluation != nullptr) yaml += EvaluationYaml(spec, name, *evaluation);
  return yaml;
}

std::string WhatWasTrained(const TrainSpec& spec, const std::string& base) {
  if (spec.mode == Mode::kFull)
    return absl::StrFormat("`%s`, all weights fine-tuned by ftd %s.\n", base, kVersion);
  return absl::StrFormat("%s adapter (rank %d, alpha %g) for `%s`, trained by ftd %s.\n",
                         spec.mode == Mode::kQlora ? "QLoRA" : "LoRA", spec.lora.rank,
                         spec.lora.alpha, base, kVersion);
}

std::string HowToLoad(const TrainSpec& spec, const std::string& base) {
  if (spec.mode == Mode::kFull) {
    return "\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
           "model = AutoModelForCausalLM.from_pretrained(\".\")\n"
           "tokenizer = AutoTokenizer.from_pretrained(\".\")\n```\n";
  }
  const char* const merged =
      "\nIn `merged` is the model with the adapter merged into it, which needs no PEFT:\n"
      "\n```python\nfrom transformers import AutoModelForCausalLM\n"
      "model = AutoModelForCausalLM.from_pretrained(\"merged\")\n```\n";
  return absl::StrFormat(
      "\n```python\nfrom transformers import AutoModelForCausalLM\nfrom peft import PeftModel\n"
      "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(\"%s\"), "
      "\".\")\n```\n%s",
      base, spec.merge ? merged : "");
}

}  // namespace

std::string ModelCard(const TrainSpec& spec, const RunFacts& facts, const hub::License& license,
                      const RunHistory& history) {
  const bool base_on_hub = hub::IsRepoName(spec.model);
  const std::string base = base_on_hub ? spec.model : NameOfPath(facts.model_dir);
  const std::string name = facts.job_name.empty() ? NameOfPath(base) : facts.job_name;
  const v1::Evaluation* evaluation = EvaluationOf(spec, history);
  std::string card = absl::StrCat("---\n", Metadata(spec, name, base_on_hub, license, evaluation),
                                  "---\n\n", WhatWasTrained(spec, base));
  if (const auto& steps = history.steps; !steps.empty()) {
    absl::StrAppendFormat(&card,
                          "\n%d steps, %d tokens; loss %.4f at the first step, %.4f at the last.\n",
                          steps.back().step(), steps.back().tokens_total(), steps.front().loss(),
                          steps.back().loss());
  }
  if (evaluation != nullptr) {
    absl::StrAppendFormat(&card, "\nEvaluated on %d rows: loss %.4f, at step %d.\n",
                          evaluation->rows(), evaluation->loss(), evaluation->step());
  }
  return card + HowToLoad(spec, base);
}

}  // namespace ftd
