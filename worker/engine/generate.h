// Generation: a model continues prompts. Includes no torch.
//
// Errors: every call throws EngineError. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/generation/sampling.h"
#include "lib/spec/train_spec.h"
#include "worker/engine/error.h"

namespace ftd::engine {

struct GeneratorModel;  // model/inference.h

struct GeneratorOptions {
  std::filesystem::path model_dir;
  std::filesystem::path adapter_dir;  // PEFT's, used beside the base model; empty: none
  Dtype dtype = Dtype::kFloat32;
  bool nf4 = false;     // quantises the projections, as mode qlora does
  bool on_cpu = false;  // even where there is a GPU
};

struct SequenceOptions {
  std::vector<int32_t> prompt;    // not empty
  std::vector<int32_t> stop_ids;  // tokens that end it, ascending
  int64_t max_new_tokens = 0;     // at least 1
  SamplingOptions sampling;
};

// Why a sequence has ended.
enum class Finish {
  kNone,    // it has not
  kStop,    // by one of its stop_ids, which is its last token
  kLength,  // it has max_new_tokens, or as many tokens as the model has positions
};

struct NextToken {
  int64_t sequence = 0;
  int32_t token = 0;
  Finish finish = Finish::kNone;
};

// A model and the sequences that it continues. After an error of Step it must not be used.
// Sequences may come and go between any two steps. On the CPU a sequence's tokens do not depend on
// those beside it.
class Generator {
 public:
  // Loads the model.
  explicit Generator(const GeneratorOptions& options);
  // Returns one of a model that is in memory already: Trainer::NewGenerator.
  static std::unique_ptr<Generator> Of(GeneratorModel model);
  ~Generator();

  // Returns "cpu" or "cuda:0".
  std::string device() const;
  // Returns the most tokens that a sequence may have, prompt included.
  int64_t context() const;
  // Returns whether no sequence is left.
  bool idle() const;

  // Adds a sequence and returns its number, which no other gets. Throws EngineError kModel when the
  // prompt is not shorter than context(), or an id is outside the vocabulary.
  int64_t Add(SequenceOptions options);
  // Ends a sequence early; of one that has ended already, does nothing.
  void Remove(int64_t sequence);

  // Computes the next token of each sequence, in the order in which they were added; those that end
  // are removed. New sequences' prompts are computed first.
  std::vector<NextToken> Step();

 private:
  Generator();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ftd::engine
