// The content of a row: the text that is made of its columns.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/chat/chat_template.h"
#include "lib/data/prompt_template.h"
#include "lib/data/row_rules.h"
#include "lib/data/rows/row.h"

namespace ftd {

// A row's text for training; without EOS, unless it is a conversation.
struct Example {
  std::string text;
  size_t completion_begin = 0;   // in text; 0 when the row has no prompt of its own
  bool completion_only = false;  // nothing before completion_begin is learned
  // Of a conversation, whose text has all special tokens: what is learned, instead of the above.
  std::optional<chat::LearnedParts> chat;
};

// Returns whether there is nothing but white space to learn.
bool IsBlank(const Example& example);

// Makes examples by rules. May be used from many threads at once.
class RowRenderer {
 public:
  // Requires: JudgeRowRules(rules) is empty. Without `chat` no conversation is rendered.
  explicit RowRenderer(const RowRules& rules, std::shared_ptr<const ChatSource> chat = nullptr);

  // DATASET_INVALID: a column is missing or has the wrong type, no shape fits, or the chat template
  // refuses the conversation. Other reasons are the model's: a conversation without a template.
  absl::StatusOr<Example> Render(const Row& row) const;

 private:
  absl::StatusOr<RowShape> ShapeOf(const Row& row) const;
  absl::Status NoShape(const Row& row) const;
  // The column that a field is mapped to.
  std::string_view Column(const char* field) const;
  const Cell* Field(const Row& row, const char* field) const;
  bool IsConversation(const Row& row, const char* field) const;
  absl::Status Missing(const Row& row, RowShape shape, const char* field) const;
  absl::StatusOr<std::string_view> Text(const Row& row, RowShape shape, const char* field) const;
  absl::StatusOr<Example> RenderPair(const Row& row, RowShape shape) const;
  absl::StatusOr<Example> RenderConversation(const Row& row, RowShape shape) const;

  RowRules rules_;
  std::optional<PromptTemplate> template_;
  std::shared_ptr<const ChatSource> chat_;
};

}  // namespace ftd
