#include "lib/spec/sample_tokens.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/data/chat_source.h"
#include "lib/spec/sample_prompts.h"

namespace ftd {
namespace {

// Returns the text by which the model is asked to answer the messages.
absl::StatusOr<std::string> TextOfMessages(const std::string& messages, const ChatSource& chat) {
  const absl::StatusOr<chat::ChatTemplate>& chat_template = chat.Get();
  FTD_RETURN_IF_ERROR(Prefixed(chat_template.status(), "sample_prompts has messages: "));
  chat::Conversation conversation;
  FTD_RETURN_IF_ERROR(chat::AddMessages(messages, &conversation));
  return chat_template->RenderPrompt(conversation);
}

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> SamplePromptIds(
    const TrainSpec& spec, const std::filesystem::path& model_dir, const ModelConfig& model,
    const Tokenizer& tokenizer) {
  const ChatSource chat(model_dir, spec.dataset.rules.chat, &tokenizer);
  std::vector<std::vector<int32_t>> all;
  std::vector<FieldViolation> violations;
  for (const std::string& prompt : spec.sample_prompts) {
    const bool messages = IsMessages(prompt);
    absl::StatusOr<std::string> text = prompt;
    if (messages) text = TextOfMessages(prompt, chat);
    if (ReasonOf(text.status()) != Reason::kNone) return text.status();
    const std::string which = absl::StrCat("prompt ", all.size() + 1, ": ");
    // A chat template writes the special tokens itself.
    auto& ids = all.emplace_back();
    if (text.ok()) ids = tokenizer.Encode(*text, /*add_special_tokens=*/!messages);
    const auto tokens = static_cast<int64_t>(ids.size());
    if (!text.ok()) {
      violations.push_back({"sample_prompts", absl::StrCat(which, text.status().message())});
    } else if (tokens == 0 || tokens >= model.max_position_embeddings) {
      violations.push_back(
          {"sample_prompts", absl::StrCat(which, "has ", tokens, " tokens; the model takes 1 to ",
                                          model.max_position_embeddings - 1)});
    }
  }
  if (!violations.empty()) return FieldError(violations);
  return all;
}

absl::Status JudgeSamplePrompts(const TrainSpec& spec, const std::filesystem::path& model_dir,
                                const ModelConfig& model) {
  if (spec.sample_prompts.empty()) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(model_dir));
  return SamplePromptIds(spec, model_dir, model, *tokenizer).status();
}

}  // namespace ftd
