#include "lib/spec/adapter_config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "lib/base/concat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/base/utf8.h"
#include "lib/model/architecture.h"
#include "lib/model/safetensors.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kQuotedBytes = 100;  // of a value, in a message

// Fields of PEFT 0.21's LoraConfig that say nothing about how a trained adapter is applied, or are
// read below.
constexpr std::string_view kKnownFields[] = {"auto_mapping",      "base_model_name_or_path",
                                             "eva_config",        "exclude_modules",
                                             "inference_mode",    "init_lora_weights",
                                             "layers_pattern",    "lora_alpha",
                                             "lora_dropout",      "megatron_core",
                                             "peft_type",         "peft_version",
                                             "qalora_group_size", "r",
                                             "revision",          "runtime_config",
                                             "target_modules",    "task_type",
                                             "use_rslora"};

// Ways to draw the first weights that leave the model's own alone. Others, such as pissa, take from
// them what the adapter begins with.
constexpr std::string_view kPureInits[] = {"gaussian", "eva", "orthogonal"};

absl::Status Mismatch(const fs::path& dir, std::string_view problem) {
  return Error(Reason::kAdapterMismatch, Concat(dir.string(), ": adapter_config.json: ", problem));
}

absl::Status CheckFields(const fs::path& dir, const Json& json) {
  const Json* init = FindField(json, "init_lora_weights");
  const bool pure =
      init == nullptr || init->is_boolean() ||
      std::find(std::begin(kPureInits), std::end(kPureInits), *init) != std::end(kPureInits);
  if (!pure) {
    return Mismatch(dir, Concat("init_lora_weights ", init->dump(),
                                " changes the model's own weights, which is not supported; "
                                "convert the adapter with PEFT's "
                                "save_pretrained(path_initial_model_for_weight_conversion=…)"));
  }
  const auto unknown = FindUnknownSetting(json, kKnownFields);
  if (!unknown) return absl::OkStatus();
  return Mismatch(dir, Concat(*unknown, " is not supported; its value is ",
                              Shortened(json.at(*unknown).dump(), kQuotedBytes)));
}

// "q_proj" of "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight".
absl::StatusOr<std::vector<std::string>> ModulesOf(const fs::path& dir) {
  FTD_ASSIGN_OR_RETURN(const SafetensorsFile file,
                       SafetensorsFile::OpenContained(dir, "adapter_model.safetensors"));
  const std::vector<std::string>& all = AllTargetModules();
  std::vector<std::string> modules;
  for (const auto& [name, view] : file.tensors()) {
    std::string_view path = name;
    for (const std::string_view end : {".lora_A.weight", ".lora_B.weight"}) {
      if (path.ends_with(end)) path.remove_suffix(end.size());
    }
    const std::string module(path.substr(path.rfind('.') + 1));
    if (path.size() == name.size() || std::find(all.begin(), all.end(), module) == all.end()) {
      return Error(Reason::kAdapterMismatch, absl::StrCat(dir.string(), ": tensor ", name,
                                                          " is not of an adapter that ftd has"));
    }
    if (std::find(modules.begin(), modules.end(), module) == modules.end())
      modules.push_back(module);
  }
  return modules;
}

}  // namespace

absl::StatusOr<LoraSpec> ReadAdapterConfig(const fs::path& adapter_dir) {
  const auto text = ReadContained(adapter_dir, "adapter_config.json");
  if (!text.ok()) {
    return Error(
        Reason::kModelNotFound,
        absl::StrCat(adapter_dir.string(),
                     ": adapter_config.json cannot be read; it must be a PEFT adapter directory"));
  }
  const auto json = ParseJsonObject(*text);
  if (!json) return Mismatch(adapter_dir, "it is not a JSON object");
  const Json* type = FindField(*json, "peft_type");
  if (type == nullptr || *type != "LORA") return Mismatch(adapter_dir, "peft_type is not LORA");
  const int64_t rank = IntegerOr(*json, "r", 0);
  if (rank < 1 || rank > 4096) return Mismatch(adapter_dir, "r is not a rank from 1 to 4096");
  const Json* alpha = FindField(*json, "lora_alpha");
  if (alpha == nullptr || !alpha->is_number() || !std::isfinite(alpha->get<double>()))
    return Mismatch(adapter_dir, "lora_alpha is not a number");
  const Json* rslora = FindField(*json, "use_rslora");
  if (rslora != nullptr && !rslora->is_boolean())
    return Mismatch(adapter_dir, "use_rslora must be true or false");
  FTD_RETURN_IF_ERROR(CheckFields(adapter_dir, *json));
  LoraSpec lora;
  lora.rank = static_cast<int32_t>(rank);
  lora.alpha = alpha->get<double>();
  lora.use_rslora = rslora != nullptr && rslora->get<bool>();
  lora.init_adapter = adapter_dir.string();
  FTD_ASSIGN_OR_RETURN(lora.target_modules, ModulesOf(adapter_dir));
  return lora;
}

}  // namespace ftd
