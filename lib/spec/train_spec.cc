#include "lib/spec/train_spec.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/base/field_reader.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using Json = nlohmann::json;

std::vector<std::string> AllTargetModules() {
  return {std::begin(kAllTargetModules), std::end(kAllTargetModules)};
}

// The requested modules in the order of kAllTargetModules, each once.
std::vector<std::string> ResolveTargetModules(const Json& lora,
                                              std::vector<FieldViolation>* violations) {
  if (!lora.contains("target_modules") || lora["target_modules"].empty()) return AllTargetModules();
  std::set<std::string> wanted;
  for (const Json& entry : lora["target_modules"]) {
    std::string name = entry.is_string() ? entry.get<std::string>() : entry.dump();
    if (name == "all-linear") return AllTargetModules();
    const auto all = AllTargetModules();
    if (std::find(all.begin(), all.end(), name) == all.end()) {
      violations->push_back(
          {"lora.target_modules", absl::StrCat("has ", name, ", which is not one of ",
                                               absl::StrJoin(all, ", "), ", all-linear")});
    }
    wanted.insert(name);
  }
  std::vector<std::string> modules;
  for (const std::string& name : AllTargetModules()) {
    if (wanted.count(name)) modules.push_back(name);
  }
  return modules;
}

void ReadLora(const Json& spec, TrainSpec* out, std::vector<FieldViolation>* violations) {
  const Json lora = spec.value("lora", Json::object());
  FieldReader fields(lora, "lora.", violations);
  if (out->mode == Mode::kFull && !lora.empty()) {
    violations->push_back({"lora", "is only for adapter modes; mode is full, so leave it out"});
    return;
  }
  fields.Integer("rank", 1, 4096, &out->lora.rank);
  fields.Number(
      "alpha", "greater than 0", [](double x) { return x > 0; }, &out->lora.alpha);
  fields.Number(
      "dropout", "from 0 to below 1", [](double x) { return x >= 0 && x < 1; }, &out->lora.dropout);
  fields.String("init_adapter", &out->lora.init_adapter);
  fields.Bool("use_rslora", &out->lora.use_rslora);
  out->lora.target_modules = ResolveTargetModules(lora, violations);
}

void ReadSchedule(FieldReader& fields, TrainSpec* out) {
  auto positive = [](double x) { return x > 0; };
  fields.Number(
      "num_epochs", "greater than 0 and at most 100000", [](double x) { return x > 0 && x <= 1e5; },
      &out->num_epochs);
  fields.Integer("max_steps", 0, int64_t{1} << 40, &out->max_steps);
  fields.Integer("batch_size", 1, 4096, &out->batch_size);
  fields.Integer("gradient_accumulation_steps", 1, 65536, &out->gradient_accumulation_steps);
  fields.Integer("seq_length", 2, 1 << 20, &out->seq_length);
  fields.Number(
      "learning_rate", "greater than 0 and at most 10", [](double x) { return x > 0 && x <= 10; },
      &out->learning_rate);
  fields.Number(
      "weight_decay", "from 0 to 1", [](double x) { return x >= 0 && x <= 1; }, &out->weight_decay);
  fields.Number("max_grad_norm", "greater than 0", positive, &out->max_grad_norm);
  fields.Integer("seed", std::numeric_limits<int64_t>::min() / 2,
                 std::numeric_limits<int64_t>::max() / 2, &out->seed);
  fields.Bool("shuffle", &out->shuffle);
  if (fields.Has("gradient_checkpointing")) {
    bool on = false;
    fields.Bool("gradient_checkpointing", &on);
    out->gradient_checkpointing = on ? Checkpointing::kOn : Checkpointing::kOff;
  }
  fields.Bool("deterministic", &out->deterministic);
  fields.Integer("logging_steps", 1, 1 << 30, &out->logging_steps);
  fields.Integer("save_steps", 0, 1 << 30, &out->save_steps);
  fields.Integer("save_total_limit", 1, 1 << 20, &out->save_total_limit);
  fields.Bool("playbook_warmup", &out->playbook_warmup);
}

void ReadEvaluation(FieldReader& fields, TrainSpec* out) {
  fields.Number(
      "eval_split", "of rows, or a share of all rows below 1",
      [](double x) { return x >= 0 && x <= 1e12 && (x < 1 || x == std::floor(x)); },
      &out->eval_split);
  fields.Integer("eval_steps", 0, 1 << 30, &out->eval_steps);
  fields.Bool("load_best_model_at_end", &out->load_best_model_at_end);
  if (out->eval_split > 0) {
    if (out->seed < 0) fields.Violate("seed", "must not be negative: eval_split shuffles with it");
    return;
  }
  if (out->eval_steps > 0) fields.Violate("eval_steps", "needs rows to evaluate on: eval_split");
  if (out->load_best_model_at_end)
    fields.Violate("load_best_model_at_end", "needs rows to evaluate on: eval_split");
}

void ReadDtype(const Json& spec, Dtype default_dtype, TrainSpec* out,
               std::vector<FieldViolation>* violations) {
  const std::string name = spec.value("dtype", std::string("DTYPE_UNSPECIFIED"));
  if (name == "FLOAT32") {
    out->dtype = Dtype::kFloat32;
  } else if (name == "BFLOAT16") {
    out->dtype = Dtype::kBfloat16;
  } else if (name == "FLOAT16") {
    out->dtype = Dtype::kFloat16;
  } else if (name == "DTYPE_UNSPECIFIED") {
    out->dtype = default_dtype;
  } else {
    violations->push_back(
        {"dtype", absl::StrCat("must be float32, bfloat16 or float16; got ", name)});
  }
}

void ReadPrecision(FieldReader& fields, TrainSpec* out) {
  std::string name = "PRECISION_UNSPECIFIED";
  fields.String("precision", &name);
  if (name == "PRECISION_UNSPECIFIED" || name == "FP32_MASTER") return;
  if (name != "HF_PARITY") {
    return fields.Violate("precision", "must be fp32_master or hf_parity; got " + name);
  }
  out->precision = Precision::kHfParity;
  if (out->mode != Mode::kFull) {
    fields.Violate("precision", "hf_parity is only for mode full; adapters are always float32");
  } else if (out->dtype == Dtype::kFloat16) {
    fields.Violate("precision",
                   "hf_parity does not go with float16: AdamW's second moment vanishes in it; use "
                   "bfloat16, or fp32_master");
  }
}

Json CheckpointingJson(Checkpointing checkpointing) {
  if (checkpointing == Checkpointing::kAuto) return nullptr;
  return checkpointing == Checkpointing::kOn;
}

absl::StatusOr<TrainSpec> Resolve(const Json& spec, Dtype default_dtype) {
  std::vector<FieldViolation> violations;
  TrainSpec out;
  const std::string mode = spec.value("mode", std::string());
  if (mode == "FULL") {
    out.mode = Mode::kFull;
    out.learning_rate = 5e-5;
  } else if (mode == "QLORA") {
    out.mode = Mode::kQlora;
  } else if (mode != "LORA") {
    violations.push_back({"mode", "is required: lora, full or qlora"});
  }
  FieldReader fields(spec, "", &violations);
  fields.String("model", &out.model);
  if (out.model.empty())
    violations.push_back({"model", "is required: a model directory or an alias"});
  fields.String("revision", &out.revision);
  ReadDatasetSpec(spec.value("dataset", Json::object()), &out.dataset, &violations);
  ReadSchedule(fields, &out);
  ReadEvaluation(fields, &out);
  out.lr_schedule = ReadLrSchedule(spec, out.learning_rate, &violations);
  ReadDtype(spec, default_dtype, &out, &violations);
  ReadPrecision(fields, &out);
  ReadLora(spec, &out, &violations);
  if (!violations.empty()) return FieldError(violations);
  return out;
}

}  // namespace

std::string_view ModeName(Mode mode) {
  switch (mode) {
    case Mode::kLora:
      return "lora";
    case Mode::kFull:
      return "full";
    case Mode::kQlora:
      return "qlora";
  }
  return "";
}

std::string_view DtypeName(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      return "float32";
    case Dtype::kBfloat16:
      return "bfloat16";
    case Dtype::kFloat16:
      return "float16";
  }
  return "";
}

std::string_view PrecisionName(Precision precision) {
  return precision == Precision::kHfParity ? "hf_parity" : "fp32_master";
}

std::string_view CheckpointingName(Checkpointing checkpointing) {
  switch (checkpointing) {
    case Checkpointing::kAuto:
      return "auto";
    case Checkpointing::kOn:
      return "on";
    case Checkpointing::kOff:
      return "off";
  }
  return "";
}

absl::StatusOr<TrainSpec> ResolveTrainSpec(std::string_view job_spec_json, Dtype default_dtype) {
  const Json spec = Json::parse(job_spec_json, nullptr, /*allow_exceptions=*/false);
  if (!spec.is_object()) return FieldError({{"spec", "must be a JSON object"}});
  try {
    return Resolve(spec, default_dtype);
  } catch (const Json::exception& error) {  // a field of another JSON type than its name promises
    return FieldError({{"spec", error.what()}});
  }
}

std::string TrainSpecToJson(const TrainSpec& spec) {
  nlohmann::ordered_json json = {
      {"mode", absl::AsciiStrToUpper(std::string(ModeName(spec.mode)))},
      {"model", spec.model},
      {"revision", spec.revision},
      {"dataset", DatasetSpecToJson(spec.dataset)},
      {"num_epochs", spec.num_epochs},
      {"max_steps", spec.max_steps},
      {"batch_size", spec.batch_size},
      {"gradient_accumulation_steps", spec.gradient_accumulation_steps},
      {"seq_length", spec.seq_length},
      {"learning_rate", spec.learning_rate},
      {"weight_decay", spec.weight_decay},
      {"max_grad_norm", spec.max_grad_norm},
      {"seed", spec.seed},
      {"shuffle", spec.shuffle},
      {"dtype", absl::AsciiStrToUpper(std::string(DtypeName(spec.dtype)))},
      {"gradient_checkpointing", CheckpointingJson(spec.gradient_checkpointing)},
      {"deterministic", spec.deterministic},
      {"logging_steps", spec.logging_steps},
      {"save_steps", spec.save_steps},
      {"save_total_limit", spec.save_total_limit},
      {"eval_split", spec.eval_split},
      {"eval_steps", spec.eval_steps},
      {"load_best_model_at_end", spec.load_best_model_at_end},
      {"playbook_warmup", spec.playbook_warmup}};
  json.update(LrScheduleToJson(spec.lr_schedule));
  if (spec.mode == Mode::kFull)
    json["precision"] = absl::AsciiStrToUpper(std::string(PrecisionName(spec.precision)));
  if (spec.mode != Mode::kFull) {
    json["lora"] = {{"rank", spec.lora.rank},
                    {"alpha", spec.lora.alpha},
                    {"dropout", spec.lora.dropout},
                    {"target_modules", spec.lora.target_modules},
                    {"init_adapter", spec.lora.init_adapter},
                    {"use_rslora", spec.lora.use_rslora}};
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ftd
