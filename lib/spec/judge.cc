#include "lib/spec/judge.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/model/architecture.h"
#include "lib/model/families.h"
#include "lib/model/model_on_disk.h"
#include "lib/model/nf4_view.h"
#include "lib/model/safetensors.h"
#include "lib/model/weights_digest.h"
#include "lib/spec/adapter_config.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

absl::Status CheckTensor(const fs::path& dir, const TensorView* view, const std::string& name,
                         const std::vector<int64_t>& shape) {
  if (view == nullptr) {
    return Error(Reason::kModelCorrupt,
                 absl::StrCat(dir.string(), ": tensor ", name, " is missing"));
  }
  if (view->shape != shape) {
    return Error(Reason::kModelCorrupt,
                 absl::StrCat(dir.string(), ": tensor ", name, " has shape [",
                              absl::StrJoin(view->shape, ", "), "], config.json says [",
                              absl::StrJoin(shape, ", "), "]"));
  }
  if (view->dtype != TensorDtype::kF32 && view->dtype != TensorDtype::kF16 &&
      view->dtype != TensorDtype::kBF16) {
    return Error(Reason::kModelUnsupported,
                 absl::StrCat(dir.string(), ": tensor ", name, " is ",
                              absl::string_view(TensorDtypeName(view->dtype).data(),
                                                TensorDtypeName(view->dtype).size()),
                              "; weights must be float32, float16 or bfloat16"));
  }
  return absl::OkStatus();
}

// A projection of a model that is quantised, which may have left some as they were.
absl::Status CheckProjection(const fs::path& dir, const ModelConfig& config,
                             const ModelWeights& weights, const TensorInfo& tensor) {
  if (!config.nf4 || !IsNf4(weights, tensor.name))
    return CheckTensor(dir, weights.Find(tensor.name), tensor.name, tensor.shape);
  const auto view = FindNf4(weights, tensor.name);
  if (!view.ok()) return Prefixed(view.status(), absl::StrCat(dir.string(), ": "));
  if (std::vector{view->rows, view->cols} == tensor.shape) return absl::OkStatus();
  return Error(Reason::kModelCorrupt,
               absl::StrCat(dir.string(), ": tensor ", tensor.name, " was quantised from [",
                            view->rows, ", ", view->cols, "], config.json says [",
                            absl::StrJoin(tensor.shape, ", "), "]"));
}

absl::Status CheckWeights(const fs::path& dir, const ModelConfig& config,
                          const ModelWeights& weights) {
  return VisitParameters(config, [&](const ParameterInfo& parameter) -> absl::Status {
    for (const TensorInfo& tensor : parameter.tensors) {
      FTD_RETURN_IF_ERROR(parameter.is_projection ? CheckProjection(dir, config, weights, tensor)
                                                  : CheckTensor(dir, weights.Find(tensor.name),
                                                                tensor.name, tensor.shape));
    }
    return absl::OkStatus();
  });
}

absl::Status AdapterMismatch(const fs::path& dir, const std::string& what) {
  return Error(Reason::kAdapterMismatch, absl::StrCat(dir.string(), ": ", what));
}

// Adapter and job must agree: the job's values end up in the result's adapter_config.json.
absl::Status CheckAgreement(const fs::path& dir, const LoraSpec& adapter, const LoraSpec& job) {
  if (adapter.rank != job.rank) {
    return AdapterMismatch(dir, absl::StrCat("its rank is ", adapter.rank, ", the job's is ",
                                             job.rank, "; pass --lora-rank ", adapter.rank));
  }
  if (std::abs(adapter.alpha - job.alpha) > 1e-9) {
    return AdapterMismatch(dir, absl::StrCat("its lora_alpha is ", adapter.alpha, ", the job's is ",
                                             job.alpha, "; pass --lora-alpha ", adapter.alpha));
  }
  if (adapter.use_rslora != job.use_rslora) {
    return AdapterMismatch(dir,
                           adapter.use_rslora
                               ? "it is an rsLoRA adapter, the job is not; pass --use-rslora"
                               : "it is not an rsLoRA adapter, the job is; leave out --use-rslora");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> JudgeModelWithoutWeights(const fs::path& model_dir) {
  FTD_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(model_dir));
  auto tokenizer = Tokenizer::Load(model_dir);
  if (!tokenizer.ok()) return tokenizer.status();
  if ((*tokenizer)->VocabSize() > config.vocab_size) {
    return Error(
        Reason::kModelCorrupt,
        absl::StrCat(
            model_dir.string(), ": the tokenizer has ", (*tokenizer)->VocabSize(),
            " tokens, with those that tokenizer_config.json adds; config.json's vocab_size is ",
            config.vocab_size));
  }
  return config;
}

absl::StatusOr<ModelConfig> JudgeModel(const fs::path& model_dir) {
  FTD_RETURN_IF_ERROR(JudgeModelWithoutWeights(model_dir).status());
  FTD_ASSIGN_OR_RETURN(const ModelOnDisk model, OpenModel(model_dir));
  FTD_RETURN_IF_ERROR(CheckWeights(model_dir, model.config, model.weights));
  return model.config;
}

absl::Status JudgeMode(const fs::path& model_dir, const ModelConfig& model, Mode mode) {
  if (!model.nf4 || mode == Mode::kQlora) return absl::OkStatus();
  return Error(Reason::kModelUnsupported,
               absl::StrCat(model_dir.string(), ": the model is quantised to nf4, which mode ",
                            std::string(ModeName(mode)),
                            " cannot train; use --mode qlora, or take the unquantised model"));
}

absl::Status BindTargetModules(const ModelConfig& model, LoraSpec* lora) {
  const std::vector<std::string> own = TargetModulesOf(*model.family);
  if (lora->target_modules == AllTargetModules()) {
    lora->target_modules = own;
    return absl::OkStatus();
  }
  for (const std::string& module : lora->target_modules) {
    if (std::find(own.begin(), own.end(), module) != own.end()) continue;
    return FieldError(
        {{"spec.lora.target_modules", absl::StrCat("has ", module, ", which a model of the type ",
                                                   std::string(model.family->model_type),
                                                   " lacks; it has ", absl::StrJoin(own, ", "))}});
  }
  return absl::OkStatus();
}

absl::Status JudgeAdapter(const fs::path& adapter_dir, const ModelConfig& model,
                          const LoraSpec& lora) {
  FTD_ASSIGN_OR_RETURN(const LoraSpec adapter, ReadAdapterConfig(adapter_dir));
  FTD_RETURN_IF_ERROR(CheckAgreement(adapter_dir, adapter, lora));
  auto file = SafetensorsFile::OpenContained(adapter_dir, "adapter_model.safetensors");
  if (!file.ok()) return file.status();
  std::set<std::string> expected;
  const auto check = [&](const std::string& name, int64_t rows, int64_t columns) {
    const auto it = file->tensors().find(name);
    expected.insert(name);
    return CheckTensor(adapter_dir, it == file->tensors().end() ? nullptr : &it->second, name,
                       {rows, columns});
  };
  FTD_RETURN_IF_ERROR(VisitParameters(model, [&](const ParameterInfo& parameter) -> absl::Status {
    if (!parameter.is_projection) return absl::OkStatus();
    for (const TensorInfo& tensor : parameter.tensors) {
      const auto& wanted = lora.target_modules;
      if (std::find(wanted.begin(), wanted.end(), ModuleOf(tensor.name)) == wanted.end()) continue;
      FTD_RETURN_IF_ERROR(
          check(AdapterTensorName(tensor.name, "lora_A"), lora.rank, tensor.shape[1]));
      FTD_RETURN_IF_ERROR(
          check(AdapterTensorName(tensor.name, "lora_B"), tensor.shape[0], lora.rank));
    }
    return absl::OkStatus();
  }));
  for (const auto& [name, view] : file->tensors()) {
    if (!expected.count(name)) {
      return AdapterMismatch(adapter_dir, absl::StrCat("tensor ", name,
                                                       " is of no module that the job trains; pass "
                                                       "--target-modules ",
                                                       absl::StrJoin(adapter.target_modules, ",")));
    }
  }
  return absl::OkStatus();
}

absl::Status JudgeBaseWeights(const fs::path& adapter_dir, const fs::path& model_dir) {
  const auto text = ReadContained(adapter_dir, "ftd_run.json");
  const auto record = text.ok() ? ParseJsonObject(*text) : std::nullopt;
  const auto* model = record.has_value() ? FindField(*record, "model") : nullptr;
  const auto* trained_on = model == nullptr ? nullptr : FindField(*model, "weights_digest");
  if (trained_on == nullptr || !trained_on->is_string()) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const std::string digest, WeightsDigest(model_dir));
  if (digest == trained_on->get<std::string>()) return absl::OkStatus();
  return Error(
      Reason::kModelCorrupt,
      absl::StrCat(model_dir.string(), " has other weights than those that the adapter in ",
                   adapter_dir.string(),
                   " was trained on; bring those back, or use a copy of the adapter "
                   "without its ftd_run.json"));
}

}  // namespace ftd
