// Where the turns of the assistant lie in a rendered conversation.
//
// Templates say it themselves by {% generation %}, or it is found out: a template writes a message
// while it loops over the messages, so the iteration's output is the message with its header, and
// the header is what the template writes to prompt the model for an answer.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "lib/chat/chat_template.h"
#include "lib/chat/turn_style.h"
#include "lib/jinja/template.h"

namespace ftd::chat {

// A conversation as it was rendered, with its messages watched.
struct RenderedMessages {
  const std::vector<Message>& messages;
  const jinja::Rendered& rendered;
  // Renders the conversation with other messages.
  absl::FunctionRef<absl::StatusOr<jinja::Rendered>(const std::vector<Message>&)> render;
};

// Returns the spans that the wanted messages of the assistant have for themselves: each without its
// header, and with the tokens that end it. INVALID_ARGUMENT when the place of one cannot be proved;
// it is named by its number, from 1.
absl::StatusOr<std::vector<Span>> FindTurns(const RenderedMessages& chat, const TurnStyle& style,
                                            const std::vector<bool>& wanted);

}  // namespace ftd::chat
