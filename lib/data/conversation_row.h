// Rows that hold conversations.
#pragma once

#include "absl/status/statusor.h"
#include "lib/chat/conversation.h"
#include "lib/data/rows/row.h"

namespace ftd {

// The columns of such a row.
struct ConversationCells {
  const Cell* messages = nullptr;    // or ShareGPT's conversations; of a row of prompt and
  const Cell* completion = nullptr;  // completion, the prompt
  const Cell* tools = nullptr;
  const Cell* template_variables = nullptr;  // chat_template_kwargs
};

// Reads a conversation. DATASET_INVALID, naming the column: what is not a list of messages, tools
// or variables; and a row that has images or sounds beside its messages.
absl::StatusOr<chat::Conversation> ReadConversation(const Row& row, const ConversationCells& cells);

}  // namespace ftd
