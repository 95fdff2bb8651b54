// `ft-worker generate`: the texts with which a model continues prompts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/run/generation.h"

namespace ftd {

struct GenerateOptions {
  engine::GeneratorOptions model;
  std::string dtype = "float32";
  // One of the three. `input`: JSON, an array of texts, of token ids or of arrays of them;
  // `messages`: JSON, an array of messages for the model's chat template.
  std::vector<std::string> prompts;
  std::filesystem::path input, messages;
  AnswerRequest request;        // but for the prompt
  std::string output = "text";  // or "json": a line for each prompt
};

// Generates for all prompts at once and writes the answers in the order of the prompts: the text of
// a single one as it comes.
absl::Status Generate(GenerateOptions options, std::ostream& out);

}  // namespace ftd
