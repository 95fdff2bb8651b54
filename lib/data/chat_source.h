// The chat template of a dataset's model, loaded when the first conversation asks for it.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "lib/chat/chat_template.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd {

// Which template renders the conversations of a dataset: Dataset's fields of the same names in
// proto/ftd/v1/job.proto.
struct ChatRules {
  std::string chat_template;       // a text, or the name of a built-in; empty: the model's
  std::string chat_template_date;  // YYYY-MM-DD; empty: 1970-01-01
};

// Thread-safe.
class ChatSource {
 public:
  // `tokenizer` is that of the folder, where the caller has it; nullptr: it is loaded as well.
  ChatSource(std::filesystem::path model_dir, ChatRules rules, const Tokenizer* tokenizer)
      : model_dir_(std::move(model_dir)), rules_(std::move(rules)), tokenizer_(tokenizer) {}

  // Errors: those of ChatTemplate::Load and Tokenizer::Load, each time.
  const absl::StatusOr<chat::ChatTemplate>& Get() const;

 private:
  absl::StatusOr<chat::ChatTemplate> Load() const;

  const std::filesystem::path model_dir_;
  const ChatRules rules_;
  const Tokenizer* const tokenizer_;
  mutable std::once_flag loaded_;
  mutable std::optional<absl::StatusOr<chat::ChatTemplate>> template_;
};

// Returns whether the template prints the date, so that the day matters. False when there is none.
bool PrintsDate(const std::filesystem::path& model_dir, const ChatRules& rules);

// Returns today's day where this machine is, as YYYY-MM-DD.
std::string Today();

// Returns the day that `text` names; nullopt unless it is YYYY-MM-DD.
std::optional<absl::CivilDay> ParseDay(std::string_view text);

}  // namespace ftd
