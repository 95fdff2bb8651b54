#include "lib/spec/judge.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json_number.h"
#include "lib/model/nf4_view.h"
#include "lib/model/safetensors.h"
#include "lib/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Shape2 {
  int64_t out, in;
};

// The weight of a projection of a layer, [out, in].
Shape2 ProjectionShape(const ModelConfig& c, std::string_view module) {
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  if (module == "q_proj") return {q, c.hidden_size};
  if (module == "k_proj" || module == "v_proj") return {kv, c.hidden_size};
  if (module == "o_proj") return {c.hidden_size, q};
  if (module == "down_proj") return {c.hidden_size, c.intermediate_size};
  return {c.intermediate_size, c.hidden_size};
}

std::string ProjectionName(int64_t layer, std::string_view module) {
  const bool attention =
      module == "q_proj" || module == "k_proj" || module == "v_proj" || module == "o_proj";
  return absl::StrCat("layers.", layer, attention ? ".self_attn." : ".mlp.",
                      absl::string_view(module.data(), module.size()));
}

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
                             const ModelWeights& weights, const std::string& name,
                             const Shape2& shape) {
  if (!config.nf4 || !IsNf4(weights, name))
    return CheckTensor(dir, weights.Find(name), name, {shape.out, shape.in});
  const auto view = FindNf4(weights, name);
  if (!view.ok()) return Prefixed(view.status(), absl::StrCat(dir.string(), ": "));
  if (view->rows == shape.out && view->cols == shape.in) return absl::OkStatus();
  return Error(
      Reason::kModelCorrupt,
      absl::StrCat(dir.string(), ": tensor ", name, " was quantised from [", view->rows, ", ",
                   view->cols, "], config.json says [", shape.out, ", ", shape.in, "]"));
}

absl::Status CheckWeights(const fs::path& dir, const ModelConfig& config,
                          const ModelWeights& weights) {
  auto check = [&](const std::string& name, const std::vector<int64_t>& shape) {
    return CheckTensor(dir, weights.Find(name), name, shape);
  };
  FTD_RETURN_IF_ERROR(check("model.embed_tokens.weight", {config.vocab_size, config.hidden_size}));
  FTD_RETURN_IF_ERROR(check("model.norm.weight", {config.hidden_size}));
  if (!config.tie_word_embeddings) {
    FTD_RETURN_IF_ERROR(check("lm_head.weight", {config.vocab_size, config.hidden_size}));
  }
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    for (const char* module : kAllTargetModules) {
      FTD_RETURN_IF_ERROR(CheckProjection(
          dir, config, weights, absl::StrCat("model.", ProjectionName(i, module), ".weight"),
          ProjectionShape(config, module)));
    }
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      FTD_RETURN_IF_ERROR(
          check(absl::StrCat("model.layers.", i, ".", norm, ".weight"), {config.hidden_size}));
    }
  }
  return absl::OkStatus();
}

absl::Status Mismatch(const fs::path& dir, const std::string& what) {
  return Error(Reason::kAdapterMismatch, absl::StrCat(dir.string(), ": ", what));
}

absl::Status CheckAdapterConfig(const fs::path& dir, const Json& json, const LoraSpec& lora) {
  if (json.value("peft_type", "") != "LORA")
    return Mismatch(dir, "adapter_config.json: peft_type is not LORA");
  const int64_t rank = IntegerOr(json, "r", 0);
  if (rank < 1) return Mismatch(dir, "adapter_config.json: r is not a rank");
  if (rank != lora.rank) {
    return Mismatch(dir, absl::StrCat("its rank is ", rank, ", the job's is ", lora.rank,
                                      "; pass --lora-rank ", rank));
  }
  if (std::abs(json.value("lora_alpha", 0.0) - lora.alpha) > 1e-9) {
    return Mismatch(
        dir, absl::StrCat("its lora_alpha is ", json.value("lora_alpha", 0.0), ", the job's is ",
                          lora.alpha, "; pass --lora-alpha ", json.value("lora_alpha", 0.0)));
  }
  if (const bool rslora = json.value("use_rslora", false); rslora != lora.use_rslora) {
    return Mismatch(dir, rslora
                             ? "it is an rsLoRA adapter, the job is not; pass --use-rslora"
                             : "it is not an rsLoRA adapter, the job is; leave out --use-rslora");
  }
  if (json.value("use_dora", false)) return Mismatch(dir, "DoRA adapters are not supported");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> JudgeModelWithoutWeights(const fs::path& model_dir) {
  FTD_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(model_dir));
  auto tokenizer = Tokenizer::Load(model_dir / "tokenizer.json");
  if (!tokenizer.ok()) return tokenizer.status();
  if ((*tokenizer)->VocabSize() > config.vocab_size) {
    return Error(
        Reason::kModelCorrupt,
        absl::StrCat(model_dir.string(), ": tokenizer.json has ", (*tokenizer)->VocabSize(),
                     " tokens, config.json's vocab_size is ", config.vocab_size));
  }
  return config;
}

absl::StatusOr<ModelConfig> JudgeModel(const fs::path& model_dir) {
  FTD_ASSIGN_OR_RETURN(ModelConfig config, JudgeModelWithoutWeights(model_dir));
  FTD_ASSIGN_OR_RETURN(ModelWeights weights, ModelWeights::Open(model_dir));
  FTD_RETURN_IF_ERROR(CheckWeights(model_dir, config, weights));
  return config;
}

absl::Status JudgeMode(const fs::path& model_dir, const ModelConfig& model, Mode mode) {
  if (!model.nf4 || mode == Mode::kQlora) return absl::OkStatus();
  return Error(Reason::kModelUnsupported,
               absl::StrCat(model_dir.string(), ": the model is quantised to nf4, which mode ",
                            std::string(ModeName(mode)),
                            " cannot train; use --mode qlora, or take the unquantised model"));
}

absl::Status JudgeAdapter(const fs::path& adapter_dir, const ModelConfig& model,
                          const LoraSpec& lora) {
  auto text = ReadFile(adapter_dir / "adapter_config.json");
  if (!text.ok()) {
    return Error(Reason::kModelNotFound,
                 absl::StrCat("--init-adapter ", adapter_dir.string(),
                              ": adapter_config.json cannot be read; it must "
                              "be a PEFT adapter directory"));
  }
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Mismatch(adapter_dir, "adapter_config.json is not a JSON object");
  try {
    FTD_RETURN_IF_ERROR(CheckAdapterConfig(adapter_dir, json, lora));
  } catch (const Json::exception& error) {
    return Mismatch(adapter_dir, absl::StrCat("adapter_config.json: ", error.what()));
  }
  auto file = SafetensorsFile::Open(adapter_dir / "adapter_model.safetensors");
  if (!file.ok()) return file.status();
  std::set<std::string> expected;
  for (int64_t i = 0; i < model.num_hidden_layers; ++i) {
    for (const std::string& module : lora.target_modules) {
      const Shape2 shape = ProjectionShape(model, module);
      const std::string base = absl::StrCat("base_model.model.model.", ProjectionName(i, module));
      for (const auto& [name, wanted] :
           {std::make_pair(base + ".lora_A.weight", Shape2{lora.rank, shape.in}),
            std::make_pair(base + ".lora_B.weight", Shape2{shape.out, lora.rank})}) {
        auto it = file->tensors().find(name);
        FTD_RETURN_IF_ERROR(CheckTensor(adapter_dir,
                                        it == file->tensors().end() ? nullptr : &it->second, name,
                                        {wanted.out, wanted.in}));
        expected.insert(name);
      }
    }
  }
  for (const auto& [name, view] : file->tensors()) {
    if (!expected.count(name)) {
      return Mismatch(adapter_dir, absl::StrCat("tensor ", name,
                                                " is of no module that the job trains; set "
                                                "--target-modules as in adapter_config.json"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ftd
