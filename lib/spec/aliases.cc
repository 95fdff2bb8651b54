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
