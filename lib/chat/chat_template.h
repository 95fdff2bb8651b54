// Conversations as the text that a model learns, and the stretches of it that are learned.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "lib/chat/conversation.h"
#include "lib/chat/spans.h"

namespace ftd::chat {

// What of a conversation is learned.
enum class Learned {
  kAssistant,   // each turn of the assistant; of a row of prompt and completion, the completion's
  kLast,        // the last of those turns
  kCompletion,  // all that follows the prompt
  kAll,
};

// What of a text is learned.
struct LearnedParts {
  std::vector<Span> spans;  // ascending, none empty, none touching another
  // Of kCompletion: the prompt as the model gets it when it is to answer. What the text has in
  // common with it is not learned.
  std::optional<std::string> prompt;
};

struct RenderedChat {
  std::string text;
  LearnedParts learned;
};

struct TemplateOptions {
  // A template's text, or the name of one of ftd's own; empty: the model's.
  std::string source;
  // The model's special tokens by their names (eos_token, …).
  std::vector<std::pair<std::string, std::string>> special_tokens;
  absl::CivilDay date;  // what strftime_now prints
};

// A model's chat template, with all that its output depends on besides the conversation.
// Immutable; may be used from many threads at once.
class ChatTemplate {
 public:
  // MODEL_UNSUPPORTED: the folder has no template, or one with what lib/jinja lacks;
  // INVALID_ARGUMENT FIELD_INVALID: options.source does not parse.
  static absl::StatusOr<ChatTemplate> Load(const std::filesystem::path& model_dir,
                                           TemplateOptions options);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // The text is that of transformers' apply_chat_template. INVALID_ARGUMENT without a reason: the
  // template refuses the conversation, or it cannot be proved which bytes are a turn that is to be
  // learned.
  absl::StatusOr<RenderedChat> Render(const Conversation& conversation, Learned learned) const;

  // Returns the text by which a model is asked for the next turn: with add_generation_prompt.
  // INVALID_ARGUMENT without a reason: the template refuses the conversation.
  absl::StatusOr<std::string> RenderPrompt(const Conversation& conversation) const;

  // A SHA-256, in hex, of all that the text of a conversation depends on.
  const std::string& fingerprint() const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ftd::chat
