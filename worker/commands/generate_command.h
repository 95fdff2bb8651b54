// `ft-worker generate`: the texts with which a model continues prompts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/generation/sampling.h"

namespace ftd {

struct GenerateOptions {
  std::filesystem::path model_dir;
  std::filesystem::path adapter_dir;  // may be empty
  bool nf4 = false;                   // quantise the projections, as mode qlora does
  std::string dtype = "float32";
  bool on_cpu = false;  // even where there is a GPU
  // One of the three. `input`: JSON, an array of texts, of token ids or of arrays of them;
  // `messages`: JSON, an array of messages for the model's chat template.
  std::vector<std::string> prompts;
  std::filesystem::path input, messages;
  SamplingOptions sampling;
  int64_t max_new_tokens = 256;
  std::vector<std::string> stops;  // texts at which an answer ends, without them
  bool ignore_eos = false;         // the model's stop tokens do not end an answer
  std::string output = "text";     // or "json": a line for each prompt
};

// Generates for all prompts at once and writes the answers in the order of the prompts.
absl::Status Generate(const GenerateOptions& options, std::ostream& out);

}  // namespace ftd
