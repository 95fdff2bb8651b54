#include "worker/records/run_record.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/manifest.h"
#include "lib/runlog/step_metrics.h"
#include "lib/spec/repo_name.h"
#include "nlohmann/json.hpp"
#include "worker/records/logging_window.h"
#include "worker/records/version.h"

namespace ftd {
namespace {

using OrderedJson = nlohmann::ordered_json;

// A name or message with broken UTF-8 must not cost the run its record.
std::string DumpLines(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

// Returns which values are held in float32 whatever the dtype of the maths, and which in less.
std::string_view Numerics(const TrainSpec& spec) {
  switch (spec.mode) {
    case Mode::kFull:
      return PrecisionName(spec.precision);
    case Mode::kLora:
      return "fp32_adapter";
    case Mode::kQlora:
      return "fp32_adapter_nf4_base";
  }
  return "";
}

// The metrics that transformers' trainer_state.json has under these names, and ours beside them.
OrderedJson PointJson(const v1::StepMetrics& point) {
  OrderedJson json;
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.trainer_state != nullptr) json[metric.trainer_state] = JsonIn(point, metric);
  }
  return json;
}

// The names that transformers gives to evaluations: "eval_" before each metric.
OrderedJson EvaluationJson(const v1::Evaluation& evaluation) {
  return {{"epoch", evaluation.epoch()},
          {"eval_entropy", evaluation.entropy()},
          {"eval_loss", evaluation.loss()},
          {"eval_mean_token_accuracy", evaluation.mean_token_accuracy()},
          {"eval_rows", evaluation.rows()},
          {"eval_runtime", evaluation.seconds()},
          {"step", evaluation.step()}};
}

// Returns the log's points and the evaluations by step, an evaluation after its step's point.
OrderedJson LogHistory(const TrainSpec& spec, const RunHistory& history) {
  OrderedJson log = OrderedJson::array();
  ForEachLogEntry(
      history, spec.logging_steps,
      [&](const v1::StepMetrics& point) { log.push_back(PointJson(point)); },
      [&](const v1::Evaluation& evaluation, const v1::StepMetrics& /*step*/) {
        log.push_back(EvaluationJson(evaluation));
      });
  return log;
}

}  // namespace

// The fields of transformers' TrainerState, so that tools that plot a Hugging Face run read this
// one.
std::string TrainerStateJson(const TrainSpec& spec, const RunHistory& history,
                             int64_t steps_planned) {
  const std::vector<v1::StepMetrics>& steps = history.steps;
  const int64_t step = steps.empty() ? 0 : steps.back().step();
  const v1::Evaluation* best = BestOf(history.evaluations);
  const bool saved = best != nullptr && spec.load_best_model_at_end;
  return DumpLines(
      {{"best_global_step", best == nullptr ? OrderedJson(nullptr) : OrderedJson(best->step())},
       {"best_metric", best == nullptr ? OrderedJson(nullptr) : OrderedJson(best->loss())},
       {"best_model_checkpoint",
        saved ? OrderedJson(CheckpointName(best->step())) : OrderedJson(nullptr)},
       {"epoch", steps.empty() ? 0.0 : steps.back().epoch()},
       {"eval_steps", spec.eval_steps},
       {"global_step", step},
       {"is_hyper_param_search", false},
       {"is_local_process_zero", true},
       {"is_world_process_zero", true},
       {"log_history", LogHistory(spec, history)},
       {"logging_steps", spec.logging_steps},
       {"max_steps", steps_planned},
       {"num_input_tokens_seen", steps.empty() ? 0 : steps.back().tokens_total()},
       {"num_train_epochs", spec.num_epochs},
       {"save_steps", spec.save_steps},
       {"stateful_callbacks", OrderedJson::object()},
       {"train_batch_size",
        spec.batch_tokens > 0 ? OrderedJson(nullptr) : OrderedJson(spec.batch_size)},
       {"trial_name", nullptr},
       {"trial_params", nullptr}});
}

// One line per step. A step that was evaluated twice, before and after a resume, shows the later
// one.
std::string MetricsJsonl(const RunHistory& history) {
  std::string lines;
  auto evaluation = history.evaluations.begin();
  for (const v1::StepMetrics& step : history.steps) {
    const v1::Evaluation* last = nullptr;
    for (; evaluation != history.evaluations.end() && evaluation->step() <= step.step();
         ++evaluation)
      last = &*evaluation;
    absl::StrAppend(&lines, StepJson(step, last).dump(), "\n");
  }
  return lines;
}

// Fields of PEFT's LoraConfig.save_pretrained, sorted as PEFT sorts them, so that
// PeftModel.from_pretrained loads the adapter.
std::string AdapterConfigJson(const TrainSpec& spec, const std::string& base_model, bool is_part) {
  OrderedJson modules = spec.lora.target_modules;
  if (is_part) {  // PEFT takes a string for a regular expression of the whole path
    modules = absl::StrCat(R"(model\.language_model\.layers\..*\.()",
                           absl::StrJoin(spec.lora.target_modules, "|"), ")");
  }
  return DumpLines(
      {{"alpha_pattern", OrderedJson::object()},
       {"base_model_name_or_path", base_model},
       {"bias", "none"},
       {"fan_in_fan_out", false},
       {"inference_mode", true},
       {"init_lora_weights", true},
       {"layers_pattern", nullptr},
       {"layers_to_transform", nullptr},
       {"lora_alpha", spec.lora.alpha},
       {"lora_dropout", spec.lora.dropout},
       {"modules_to_save", nullptr},
       {"peft_type", "LORA"},
       {"r", spec.lora.rank},
       {"rank_pattern", OrderedJson::object()},
       {"revision", spec.revision.empty() ? OrderedJson(nullptr) : OrderedJson(spec.revision)},
       {"target_modules", modules},
       {"task_type", "CAUSAL_LM"},
       {"use_dora", false},
       {"use_rslora", spec.lora.use_rslora}});
}

std::string NameOfPath(const std::string& path) {
  const std::filesystem::path given(path);
  return (given.has_filename() ? given : given.parent_path()).filename().string();
}

namespace {

// The spec without paths of this machine: a result goes to others.
OrderedJson PortableSpec(const TrainSpec& spec) {
  OrderedJson json = OrderedJson::parse(TrainSpecToJson(spec));
  const auto shorten = [](OrderedJson& object, const char* name) {
    if (object.contains(name) && object[name].is_string() &&
        std::filesystem::path(object[name].get<std::string>()).is_absolute()) {
      object[name] = NameOfPath(object[name].get<std::string>());
    }
  };
  shorten(json, "model");
  if (json.contains("lora")) shorten(json["lora"], "init_adapter");
  OrderedJson& dataset = json["dataset"];
  shorten(dataset, "server_path");
  if (dataset.contains("files"))
    for (OrderedJson& file : dataset["files"]) shorten(file, "server_path");
  return json;
}

OrderedJson DatasetJson(const TrainSpec& spec, const RunFacts& facts) {
  OrderedJson json = {{"file_name", spec.dataset.file_name},
                      {"sha256", facts.dataset_sha256},
                      {"rows", facts.dataset_rows},
                      {"eval_rows", facts.eval_rows},
                      {"skipped_rows", facts.skipped_rows}};
  for (const auto& [name, member] : kRowCounts) json[name] = facts.row_counts.*member;
  return json;
}

}  // namespace

// Everything needed to repeat the run, or to tell why another one differs.
std::string RunRecordJson(const TrainSpec& spec, const RunFacts& facts) {
  return DumpLines(
      {{"job_id", facts.job_id},
       {"job_name", facts.job_name},
       {"attempt", facts.attempt},
       {"rollbacks", facts.rollbacks},
       {"end_time", absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone())},
       {"versions", {{"ftd", kVersion}, {"revision", kRevision}, {"torch", kTorchVersion}}},
       {"device", facts.device},
       {"threads", facts.threads},
       {"model",
        {{"name", hub::IsRepoName(spec.model) ? spec.model : NameOfPath(facts.model_dir)},
         {"revision", spec.revision},
         {"weights_digest", facts.weights_digest}}},
       {"dataset", DatasetJson(spec, facts)},
       {"numerics", Numerics(spec)},
       {"deterministic", spec.deterministic},
       {"gradient_checkpointing", CheckpointingName(spec.gradient_checkpointing)},
       {"recomputed_layers", facts.recomputed_layers},
       {"micro_batch_parts", facts.micro_batch_parts},
       {"steps", facts.steps},
       {"tokens_total", facts.tokens_total},
       {"trainable_parameters", facts.trainable_parameters},
       {"total_parameters", facts.total_parameters},
       {"spec", PortableSpec(spec)}});
}

}  // namespace ftd
