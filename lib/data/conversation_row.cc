#include "lib/data/conversation_row.h"

#include <string>

#include "absl/status/status.h"
#include "lib/base/concat.h"

namespace ftd {
namespace {

// What the datasets of models that see and hear have beside the messages.
constexpr std::string_view kMedia[] = {"image", "images", "audio", "audios", "video", "videos"};

// Reads one column into the conversation by `read`, a function of lib/chat.
absl::Status Read(const Cell* cell, absl::Status (*read)(std::string_view, chat::Conversation*),
                  chat::Conversation* conversation) {
  if (cell == nullptr) return absl::OkStatus();
  // A text is taken for the JSON that files without nested columns hold there.
  const bool is_json = cell->kind == Cell::Kind::kNested || cell->kind == Cell::Kind::kText;
  absl::Status status =
      is_json ? read(cell->text, conversation) : absl::InvalidArgumentError("must be a list");
  if (status.ok()) return status;
  return DatasetInvalid(Concat(QuotedName(cell->name), " ", std::string(status.message())));
}

}  // namespace

absl::StatusOr<chat::Conversation> ReadConversation(const Row& row,
                                                    const ConversationCells& cells) {
  for (const std::string_view name : kMedia) {
    const Cell* media = row.Find(name);
    if (media == nullptr || media->kind == Cell::Kind::kNull || media->text == "[]") continue;
    return DatasetInvalid(Concat(QuotedName(name), " has images, audio or video; only text is ",
                                 "trained: leave the column out to train on the text alone"));
  }
  chat::Conversation conversation;
  FTD_RETURN_IF_ERROR(Read(cells.messages, &chat::AddMessages, &conversation));
  if (cells.completion != nullptr) {
    conversation.prompt_messages = conversation.messages.size();
    FTD_RETURN_IF_ERROR(Read(cells.completion, &chat::AddMessages, &conversation));
  }
  FTD_RETURN_IF_ERROR(Read(cells.tools, &chat::SetTools, &conversation));
  FTD_RETURN_IF_ERROR(Read(cells.template_variables, &chat::SetTemplateVariables, &conversation));
  return conversation;
}

}  // namespace ftd
