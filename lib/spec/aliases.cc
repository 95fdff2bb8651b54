#include "lib/spec/aliases.h"

namespace ftd::hub {

namespace {

struct Alias {
  const char* alias;
  const char* repository;
};

constexpr Alias kAliases[] = {
    {"llama3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"},
    {"llama3.1-8b-base", "meta-llama/Llama-3.1-8B"},
    {"llama3.1-70b", "meta-llama/Llama-3.1-70B-Instruct"},
    {"llama3.1-70b-base", "meta-llama/Llama-3.1-70B"},
    {"llama3.2-1b", "meta-llama/Llama-3.2-1B-Instruct"},
    {"llama3.2-1b-base", "meta-llama/Llama-3.2-1B"},
    {"llama3.2-3b", "meta-llama/Llama-3.2-3B-Instruct"},
    {"llama3.2-3b-base", "meta-llama/Llama-3.2-3B"},
    {"llama3.3-70b", "meta-llama/Llama-3.3-70B-Instruct"},
    {"qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct"},
    {"qwen2.5-0.5b-base", "Qwen/Qwen2.5-0.5B"},
    {"qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B-Instruct"},
    {"qwen2.5-1.5b-base", "Qwen/Qwen2.5-1.5B"},
    {"qwen2.5-3b", "Qwen/Qwen2.5-3B-Instruct"},
    {"qwen2.5-3b-base", "Qwen/Qwen2.5-3B"},
    {"qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct"},
    {"qwen2.5-7b-base", "Qwen/Qwen2.5-7B"},
    {"qwen2.5-14b", "Qwen/Qwen2.5-14B-Instruct"},
    {"qwen2.5-14b-base", "Qwen/Qwen2.5-14B"},
    {"qwen2.5-32b", "Qwen/Qwen2.5-32B-Instruct"},
    {"qwen2.5-32b-base", "Qwen/Qwen2.5-32B"},
    {"qwen2.5-72b", "Qwen/Qwen2.5-72B-Instruct"},
    {"qwen2.5-72b-base", "Qwen/Qwen2.5-72B"},
    {"qwen3-0.6b", "Qwen/Qwen3-0.6B"},
    {"qwen3-0.6b-base", "Qwen/Qwen3-0.6B-Base"},
    {"qwen3-1.7b", "Qwen/Qwen3-1.7B"},
    {"qwen3-1.7b-base", "Qwen/Qwen3-1.7B-Base"},
    {"qwen3-4b", "Qwen/Qwen3-4B"},
    {"qwen3-4b-base", "Qwen/Qwen3-4B-Base"},
    {"qwen3-8b", "Qwen/Qwen3-8B"},
    {"qwen3-8b-base", "Qwen/Qwen3-8B-Base"},
    {"qwen3-14b", "Qwen/Qwen3-14B"},
    {"qwen3-14b-base", "Qwen/Qwen3-14B-Base"},
    {"qwen3-32b", "Qwen/Qwen3-32B"},
    {"qwen3.5-0.8b", "Qwen/Qwen3.5-0.8B"},
    {"qwen3.5-0.8b-base", "Qwen/Qwen3.5-0.8B-Base"},
    {"qwen3.5-2b", "Qwen/Qwen3.5-2B"},
    {"qwen3.5-2b-base", "Qwen/Qwen3.5-2B-Base"},
    {"qwen3.5-4b", "Qwen/Qwen3.5-4B"},
    {"qwen3.5-4b-base", "Qwen/Qwen3.5-4B-Base"},
    {"qwen3.5-9b", "Qwen/Qwen3.5-9B"},
    {"qwen3.5-9b-base", "Qwen/Qwen3.5-9B-Base"},
    {"qwen3.5-27b", "Qwen/Qwen3.5-27B"},
    {"qwen3.6-27b", "Qwen/Qwen3.6-27B"},
    {"mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3"},
    {"mistral-7b-base", "mistralai/Mistral-7B-v0.3"},
    {"mistral-nemo", "mistralai/Mistral-Nemo-Instruct-2407"},
    {"mistral-nemo-base", "mistralai/Mistral-Nemo-Base-2407"},
    {"mistral-small", "mistralai/Mistral-Small-24B-Instruct-2501"},
    {"mistral-small-base", "mistralai/Mistral-Small-24B-Base-2501"},
    {"ministral-8b", "mistralai/Ministral-8B-Instruct-2410"},
    {"gemma2-2b", "google/gemma-2-2b-it"},
    {"gemma2-2b-base", "google/gemma-2-2b"},
    {"gemma2-9b", "google/gemma-2-9b-it"},
    {"gemma2-9b-base", "google/gemma-2-9b"},
    {"gemma2-27b", "google/gemma-2-27b-it"},
    {"gemma2-27b-base", "google/gemma-2-27b"},
    {"gemma3-270m", "google/gemma-3-270m-it"},
    {"gemma3-270m-base", "google/gemma-3-270m"},
    {"gemma3-1b", "google/gemma-3-1b-it"},
    {"gemma3-1b-base", "google/gemma-3-1b-pt"},
    {"gemma3-4b", "google/gemma-3-4b-it"},
    {"gemma3-4b-base", "google/gemma-3-4b-pt"},
    {"gemma3-12b", "google/gemma-3-12b-it"},
    {"gemma3-12b-base", "google/gemma-3-12b-pt"},
    {"gemma3-27b", "google/gemma-3-27b-it"},
    {"gemma3-27b-base", "google/gemma-3-27b-pt"},
    {"phi3-mini", "microsoft/Phi-3-mini-4k-instruct"},
    {"phi3.5-mini", "microsoft/Phi-3.5-mini-instruct"},
    {"phi4", "microsoft/phi-4"},
    {"phi4-mini", "microsoft/Phi-4-mini-instruct"},
    {"granite3.3-2b", "ibm-granite/granite-3.3-2b-instruct"},
    {"granite3.3-2b-base", "ibm-granite/granite-3.3-2b-base"},
    {"granite3.3-8b", "ibm-granite/granite-3.3-8b-instruct"},
    {"granite3.3-8b-base", "ibm-granite/granite-3.3-8b-base"},
    {"olmo2-1b", "allenai/OLMo-2-0425-1B-Instruct"},
    {"olmo2-1b-base", "allenai/OLMo-2-0425-1B"},
    {"olmo2-7b", "allenai/OLMo-2-1124-7B-Instruct"},
    {"olmo2-7b-base", "allenai/OLMo-2-1124-7B"},
    {"olmo2-13b", "allenai/OLMo-2-1124-13B-Instruct"},
    {"olmo2-13b-base", "allenai/OLMo-2-1124-13B"},
    {"olmo2-32b", "allenai/OLMo-2-0325-32B-Instruct"},
    {"olmo2-32b-base", "allenai/OLMo-2-0325-32B"},
    {"olmo3-7b", "allenai/Olmo-3-7B-Instruct"},
    {"olmo3-7b-base", "allenai/Olmo-3-1025-7B"},
    {"glm4-9b", "zai-org/GLM-4-9B-0414"},
    {"glm4-32b", "zai-org/GLM-4-32B-0414"},
    {"glm4-32b-base", "zai-org/GLM-4-32B-Base-0414"},
    {"smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"},
    {"smollm2-135m-base", "HuggingFaceTB/SmolLM2-135M"},
    {"smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct"},
    {"smollm2-360m-base", "HuggingFaceTB/SmolLM2-360M"},
    {"smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct"},
    {"smollm2-1.7b-base", "HuggingFaceTB/SmolLM2-1.7B"},
    {"smollm3-3b", "HuggingFaceTB/SmolLM3-3B"},
    {"smollm3-3b-base", "HuggingFaceTB/SmolLM3-3B-Base"},
};

std::map<std::string, std::string> AliasMap() {
  std::map<std::string, std::string> aliases;
  for (const Alias& row : kAliases) aliases.emplace(row.alias, row.repository);
  return aliases;
}

}  // namespace

// Never destroyed: other static objects may still use it as the program ends.
const std::map<std::string, std::string>& BuiltInAliases() {
  static const auto* const kMap = new std::map<std::string, std::string>(AliasMap());
  return *kMap;
}

}  // namespace ftd::hub
