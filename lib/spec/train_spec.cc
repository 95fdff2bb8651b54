#include "lib/spec/train_spec.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/base/field_reader.h"
#include "lib/base/json.h"
#include "lib/spec/job_fields.h"
#include "lib/spec/sample_prompts.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using Json = nlohmann::json;

// Returns the word that people write for a value of the field at `path`.
template <typename Enum>
std::string_view WordOf(std::string_view path, Enum value) {
  return FindField(path)->words.words[static_cast<size_t>(value)];
}

// The requested modules in the order of AllTargetModules, each once.
std::vector<std::string> ResolveTargetModules(FieldReader& lora) {
  const Json given = lora.Has("target_modules") ? lora.At("target_modules") : Json::array();
  if (given.empty()) return AllTargetModules();
  std::set<std::string> wanted;
  for (const Json& entry : given) {
    std::string name = entry.is_string() ? entry.get<std::string>() : entry.dump();
    if (name == "all-linear") return AllTargetModules();
    const auto& all = AllTargetModules();
    if (std::find(all.begin(), all.end(), name) == all.end()) {
      lora.Violate("target_modules", absl::StrCat("has ", name, ", which is not one of ",
                                                  absl::StrJoin(all, ", "), ", all-linear"));
    }
    wanted.insert(name);
  }
  std::vector<std::string> modules;
  for (const std::string& name : AllTargetModules()) {
    if (wanted.count(name)) modules.push_back(name);
  }
  return modules;
}

// Reads one field into the spec; an absent one leaves what is there. Its words and range are the
// table's.
class FieldFiller {
 public:
  FieldFiller(FieldReader& fields, const JobField& field, TrainSpec* spec)
      : fields_(fields), field_(field), name_(NameOf(field)), spec_(*spec) {}

  void operator()(std::monostate) const {}
  void operator()(JobField::Ref<bool> ref) const { fields_.Bool(name_, &ref(spec_)); }
  void operator()(JobField::Ref<int32_t> ref) const { Integer(&ref(spec_)); }
  void operator()(JobField::Ref<int64_t> ref) const { Integer(&ref(spec_)); }
  void operator()(JobField::Ref<double> ref) const {
    fields_.Number(
        name_, field_.range.Words(/*integer=*/false).c_str(),
        [this](double number) { return field_.range.Takes(number); }, &ref(spec_));
  }
  void operator()(JobField::Ref<std::string> ref) const { fields_.String(name_, &ref(spec_)); }
  void operator()(JobField::Ref<std::vector<std::string>> ref) const {
    ref(spec_) = ResolveTargetModules(fields_);
  }
  // A bool on the wire, three values here: absent means that the memory decides.
  void operator()(JobField::Ref<Checkpointing> ref) const {
    if (!fields_.Has(name_)) return;
    bool on = false;
    fields_.Bool(name_, &on);
    ref(spec_) = on ? Checkpointing::kOn : Checkpointing::kOff;
  }
  template <typename Enum>
  void operator()(JobField::Ref<Enum> ref) const {
    std::string given;
    fields_.String(name_, &given);
    const auto& words = field_.words.words;
    // protobuf's JSON names the zero value of an enum X_UNSPECIFIED, if it writes it at all.
    if (given.empty() || absl::EndsWith(given, "_UNSPECIFIED")) {
      if (field_.required) fields_.Violate(name_, absl::StrCat("is required: ", Choices(words)));
      return;
    }
    const auto* const found = std::find_if(
        words.begin(), words.end(), [&](const char* word) { return EnumWord(word) == given; });
    if (found == words.end())
      return fields_.Violate(name_, absl::StrCat("must be ", Choices(words), "; got ", given));
    ref(spec_) = static_cast<Enum>(found - words.begin() + field_.words.first);
  }

 private:
  // "lora.rank" → "rank".
  static const char* NameOf(const JobField& field) {
    const char* const dot = std::strrchr(field.path, '.');
    return dot == nullptr ? field.path : dot + 1;
  }
  template <typename Int>
  void Integer(Int* value) const {
    fields_.Integer(name_, field_.range.low, field_.range.high, value);
  }

  FieldReader& fields_;
  const JobField& field_;
  const char* const name_;
  TrainSpec& spec_;
};

// A micro-batch is measured in rows or in tokens, never in both; and divided ahead only where it
// has a given number of rows.
void JudgeBatch(FieldReader& fields, const TrainSpec& spec) {
  for (const auto& [other, given] :
       {std::pair("batch_tokens", spec.batch_tokens > 0), {"packing", spec.packing}}) {
    if (!spec.auto_batch_size || !given) continue;
    fields.Violate("auto_batch_size",
                   absl::StrCat("does not go with ", other, ": leave one of them out"));
  }
  if (spec.batch_tokens == 0) return;
  if (fields.Has("batch_size"))
    fields.Violate("batch_size", "does not go with batch_tokens: leave one of them out");
  if (spec.packing)
    fields.Violate("packing", "does not go with batch_tokens: leave one of them out");
  if (spec.batch_tokens < spec.seq_length) {
    fields.Violate("batch_tokens", absl::StrCat("must be at least seq_length, ", spec.seq_length,
                                                ", so that every row fits; got ", spec.batch_tokens,
                                                ": raise it or lower seq_length"));
  }
}

void JudgeSamples(FieldReader& fields, const TrainSpec& spec) {
  if (!spec.sample_prompts.empty()) return;
  for (const char* name : {"sample_steps", "sample_max_new_tokens"})
    if (fields.Has(name)) fields.Violate(name, "needs prompts to answer: sample_prompts");
}

// Judges fields that depend on each other; FieldFiller takes one at a time.
void JudgeTogether(FieldReader& fields, TrainSpec* spec) {
  if (spec->model.empty()) fields.Violate("model", "is required: a model directory or an alias");
  if (spec->precision == Precision::kHfParity && spec->mode != Mode::kFull) {
    fields.Violate("precision", "hf_parity is only for mode full; adapters are always float32");
  } else if (spec->precision == Precision::kHfParity && spec->dtype == Dtype::kFloat16) {
    fields.Violate("precision",
                   "hf_parity does not go with float16: AdamW's second moment vanishes in it; use "
                   "bfloat16, or fp32_master");
  }
  if (spec->merge && spec->mode == Mode::kFull)
    fields.Violate("merge",
                   "is only for adapter modes; the result of mode full is a model already");
  JudgeBatch(fields, *spec);
  JudgeSamples(fields, *spec);
  JudgeLrSchedule(fields, spec->learning_rate, &spec->lr_schedule);
  if (spec->eval_split > 0) {
    if (spec->seed < 0) fields.Violate("seed", "must not be negative: eval_split shuffles with it");
    return;
  }
  if (spec->eval_steps > 0) fields.Violate("eval_steps", "needs rows to evaluate on: eval_split");
  if (spec->load_best_model_at_end)
    fields.Violate("load_best_model_at_end", "needs rows to evaluate on: eval_split");
  if (spec->early_stopping_patience > 0)
    fields.Violate("early_stopping_patience", "needs rows to evaluate on: eval_split");
}

// Absent fields take their defaults; everything wrong is collected and reported at once.
absl::StatusOr<TrainSpec> Resolve(const Json& json, Dtype default_dtype) {
  std::vector<FieldViolation> violations;
  TrainSpec spec;
  spec.dtype = default_dtype;
  const Json lora_json = json.value("lora", Json::object());
  FieldReader fields(json, "", &violations), lora(lora_json, "lora.", &violations);
  // In the table's order: `mode` comes before the fields that it decides about.
  for (const JobField& field : JobFields()) {
    const bool of_lora = absl::StartsWith(field.path, "lora.");
    if (of_lora && spec.mode == Mode::kFull) continue;
    // Full fine-tuning has its own default for such a field; a given value then replaces it.
    if (field.for_full && spec.mode == Mode::kFull)
      std::get<JobField::Ref<double>>(field.binding)(spec) = *field.for_full;
    std::visit(FieldFiller(of_lora ? lora : fields, field, &spec), field.binding);
  }
  if (spec.mode == Mode::kFull && !lora_json.empty())
    fields.Violate("lora", "is only for adapter modes; mode is full, so leave it out");
  ReadDatasetSpec(json.value("dataset", Json::object()), &spec.dataset, &violations);
  ReadSamplePrompts(json, &spec.sample_prompts, &violations);
  JudgeTogether(fields, &spec);
  // All violations at once.
  if (!violations.empty()) return FieldError(violations);
  return spec;
}

}  // namespace

std::string_view ModeName(Mode mode) { return WordOf("mode", mode); }
std::string_view DtypeName(Dtype dtype) { return WordOf("dtype", dtype); }
std::string_view PrecisionName(Precision precision) { return WordOf("precision", precision); }

std::string_view CheckpointingName(Checkpointing checkpointing) {
  return WordOf("gradient_checkpointing", checkpointing);
}

std::string BatchSizeText(const TrainSpec& spec) {
  return spec.batch_tokens > 0 ? absl::StrCat("up to ", spec.batch_tokens, " tokens")
                               : absl::StrCat(spec.batch_size);
}

absl::StatusOr<TrainSpec> ResolveTrainSpec(std::string_view job_spec_json, Dtype default_dtype) {
  const auto spec = ParseJsonObject(job_spec_json);
  if (!spec) return FieldError({{"spec", "must be a JSON object"}});
  try {
    return Resolve(*spec, default_dtype);
  } catch (const Json::exception& error) {  // a field of another JSON type than its name promises
    return FieldError({{"spec", error.what()}});
  }
}

// The JSON that a resolved spec is stored as. Reading it again gives the same spec.
std::string TrainSpecToJson(const TrainSpec& spec) {
  nlohmann::ordered_json json;
  for (const JobField& field : JobFields()) {
    if (std::holds_alternative<std::monostate>(field.binding)) continue;
    if (field.when != nullptr && !field.when(spec)) continue;
    json[PointerTo(field)] = ValueJson(field, spec);
  }
  json["dataset"] = DatasetSpecToJson(spec.dataset);
  if (!spec.sample_prompts.empty()) json["sample_prompts"] = spec.sample_prompts;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ftd
