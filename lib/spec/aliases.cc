#include "lib/spec/aliases.h"

namespace ftd::hub {

// Never destroyed: other static objects may still use it as the program ends.
const std::map<std::string, std::string>& BuiltInAliases() {
  static const auto* const kAliases = new std::map<std::string, std::string>{
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
      {"smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"},
      {"smollm2-135m-base", "HuggingFaceTB/SmolLM2-135M"},
      {"smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct"},
      {"smollm2-360m-base", "HuggingFaceTB/SmolLM2-360M"},
      {"smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct"},
      {"smollm2-1.7b-base", "HuggingFaceTB/SmolLM2-1.7B"},
  };
  return *kAliases;
}

}  // namespace ftd::hub
