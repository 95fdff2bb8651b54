// A model that answers requests: token ids in, pieces of text out, several answers at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/generation/sampling.h"
#include "lib/generation/text_stream.h"
#include "lib/tokenizer/tokenizer.h"
#include "worker/engine/generate.h"

namespace ftd {

struct AnswerRequest {
  std::vector<int32_t> prompt;
  SamplingOptions sampling;
  int64_t max_new_tokens = 256;
  std::vector<std::string> stops;  // texts at which the answer ends, without them
  bool ignore_eos = false;         // the model's own stop tokens do not end it
};

// INVALID_ARGUMENT FIELD_INVALID names each field that is out of its range. The prompt is judged by
// Generation::Ask.
absl::Status JudgeAnswerRequest(const AnswerRequest& request);

// One token of an answer and the text that is certain with it, which may be empty.
struct AnswerPiece {
  int64_t answer = 0;
  int32_t token = 0;
  std::string text;
  std::string_view finish_reason;  // "stop" or "length" of the last piece, else empty
};

// Not thread-safe.
class Generation {
 public:
  // Errors: those of JudgeModel and Tokenizer::Load, and the engine's (failure.h).
  static absl::StatusOr<std::unique_ptr<Generation>> Load(const engine::GeneratorOptions& options);
  // Asks a generator of the folder's model. Errors: those of Tokenizer::Load.
  static absl::StatusOr<std::unique_ptr<Generation>> Over(
      std::unique_ptr<engine::Generator> generator, const std::filesystem::path& model_dir);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  std::string device() const { return generator_->device(); }
  bool idle() const { return answers_.empty(); }

  // Returns the ids of a text, or of the text by which the model's chat template asks for an answer
  // to the messages, a JSON list. INVALID_ARGUMENT or MODEL_UNSUPPORTED: see chat_template.h.
  std::vector<int32_t> PromptOf(std::string_view text) const;
  absl::StatusOr<std::vector<int32_t>> PromptOfMessages(std::string_view messages) const;

  // Begins an answer; returns its number. INVALID_ARGUMENT when the model cannot take the prompt.
  absl::StatusOr<int64_t> Ask(const AnswerRequest& request);
  // Ends an answer early; of one that has ended already, does nothing.
  void Drop(int64_t answer);
  // Computes a token of each answer, in the order in which they were asked for. After an error
  // nothing more can be had.
  absl::StatusOr<std::vector<AnswerPiece>> Step();

 private:
  Generation() = default;
  AnswerPiece Take(const engine::NextToken& next);

  std::filesystem::path model_dir_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<int32_t> stop_ids_;
  std::unique_ptr<engine::Generator> generator_;
  std::map<int64_t, TextStream> answers_;
};

}  // namespace ftd
