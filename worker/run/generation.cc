#include "worker/run/generation.h"

#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/error.h"
#include "lib/chat/chat_template.h"
#include "lib/data/row_encoder.h"
#include "lib/spec/judge.h"
#include "worker/engine/train.h"
#include "worker/run/failure.h"

namespace ftd {

absl::Status JudgeAnswerRequest(const AnswerRequest& request) {
  std::vector<FieldViolation> violations = ViolationsOf(JudgeSampling(request.sampling));
  if (request.max_new_tokens < 1) violations.push_back({"max_new_tokens", "must be at least 1"});
  for (const std::string& stop : request.stops)
    if (stop.empty()) violations.push_back({"stop", "must not be empty"});
  return violations.empty() ? absl::OkStatus() : FieldError(violations);
}

absl::StatusOr<std::unique_ptr<Generation>> Generation::Load(
    const engine::GeneratorOptions& options) {
  FTD_RETURN_IF_ERROR(JudgeModel(options.model_dir).status());
  FTD_ASSIGN_OR_RETURN(auto generation, Over(nullptr, options.model_dir));
  try {
    engine::InitializeProcess();
    generation->generator_ = std::make_unique<engine::Generator>(options);
  } catch (const engine::EngineError& error) {
    return StatusOf(error);
  }
  return generation;
}

absl::StatusOr<std::unique_ptr<Generation>> Generation::Over(
    std::unique_ptr<engine::Generator> generator, const std::filesystem::path& model_dir) {
  std::unique_ptr<Generation> generation(new Generation);
  generation->model_dir_ = model_dir;
  FTD_ASSIGN_OR_RETURN(generation->tokenizer_, Tokenizer::Load(model_dir));
  // A model that names no end of a sequence has none.
  const auto encoder = MakeRowEncoder(model_dir, *generation->tokenizer_, /*seq_length=*/0);
  if (encoder.ok()) generation->stop_ids_ = encoder->stop_ids;
  generation->generator_ = std::move(generator);
  return generation;
}

std::vector<int32_t> Generation::PromptOf(std::string_view text) const {
  return tokenizer_->Encode(text, /*add_special_tokens=*/true);
}

absl::StatusOr<std::vector<int32_t>> Generation::PromptOfMessages(std::string_view messages) const {
  chat::Conversation conversation;
  FTD_RETURN_IF_ERROR(chat::AddMessages(messages, &conversation));
  const absl::CivilDay today = absl::ToCivilDay(absl::Now(), absl::LocalTimeZone());
  FTD_ASSIGN_OR_RETURN(
      const chat::ChatTemplate chat_template,
      chat::ChatTemplate::Load(model_dir_, {{}, tokenizer_->SpecialTokens(), today}));
  FTD_ASSIGN_OR_RETURN(const std::string text, chat_template.RenderPrompt(conversation));
  // A chat template writes the special tokens itself.
  return tokenizer_->Encode(text, /*add_special_tokens=*/false);
}

absl::StatusOr<int64_t> Generation::Ask(const AnswerRequest& request) {
  FTD_RETURN_IF_ERROR(JudgeAnswerRequest(request));
  try {
    const int64_t answer =
        generator_->Add({request.prompt, request.ignore_eos ? std::vector<int32_t>() : stop_ids_,
                         request.max_new_tokens, request.sampling});
    answers_.emplace(answer, TextStream(*tokenizer_, request.prompt, request.stops));
    return answer;
  } catch (const engine::EngineError& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

void Generation::Drop(int64_t answer) {
  generator_->Remove(answer);
  answers_.erase(answer);
}

absl::StatusOr<std::vector<AnswerPiece>> Generation::Step() {
  std::vector<AnswerPiece> pieces;
  try {
    for (const engine::NextToken& next : generator_->Step()) pieces.push_back(Take(next));
  } catch (const engine::EngineError& error) {
    return StatusOf(error);
  }
  return pieces;
}

// A stop token has no text. The answer ends by a stop string before the engine knows of it.
AnswerPiece Generation::Take(const engine::NextToken& next) {
  TextStream& stream = answers_.at(next.sequence);
  AnswerPiece piece{next.sequence, next.token, {}, {}};
  if (next.finish != engine::Finish::kStop) piece.text = stream.Add(next.token);
  if (next.finish != engine::Finish::kNone) piece.text += stream.Finish();
  if (stream.stopped() || next.finish == engine::Finish::kStop) {
    piece.finish_reason = "stop";
  } else if (next.finish == engine::Finish::kLength) {
    piece.finish_reason = "length";
  }
  if (!piece.finish_reason.empty()) Drop(next.sequence);
  return piece;
}

}  // namespace ftd
