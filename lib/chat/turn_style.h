// How a chat template writes turns: found out once, by conversations of a word.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "lib/chat/conversation.h"
#include "lib/jinja/template.h"

namespace ftd::chat {

// What templates put around and between the parts of a turn.
inline constexpr std::string_view kSpace = " \t\r\n";

struct TurnStyle {
  bool marks_turns = false;  // by {% generation %}
  // What stands before an answer: "<|im_start|>assistant\n"; nullopt: that could not be found out.
  std::optional<std::string> header;
  std::string eos_token;     // may be empty
  bool takes_parts = false;  // content may be a list of parts
};

// Renders messages by the template in question; with `prompt_for_answer`, as a model gets them.
using RenderMessages = absl::FunctionRef<absl::StatusOr<jinja::Rendered>(
    const std::vector<Message>& messages, bool prompt_for_answer)>;

// `source` is the template's text.
TurnStyle FindTurnStyle(std::string_view source, std::string_view eos_token, RenderMessages render);

// Returns what `longer` should begin with when it continues `text`: some templates end a text with
// EOS, and leave that out when more follows.
std::string_view BeginningOf(std::string_view longer, std::string_view text,
                             std::string_view eos_token);

}  // namespace ftd::chat
