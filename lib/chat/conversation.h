// Conversations, as the columns of a row spell them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/jinja/value.h"

namespace ftd::chat {

struct Message {
  // A dict, as a template sees it: without members that are null, and with the reasoning under
  // each of the names that templates read.
  jinja::Value value;
  std::string role;
  bool is_learned = true;  // false: its weight is 0
  bool is_parts = false;   // its content is a list of text parts
};

struct Conversation {
  std::vector<Message> messages;
  // Of a row of prompt and completion: the messages of the prompt, which come first.
  std::optional<size_t> prompt_messages;
  jinja::Value tools;      // a list of dicts, or None
  jinja::Value documents;  // a list of dicts, or None
  // What else the template gets: chat_template_kwargs, a dict.
  jinja::Value variables = jinja::Value::Dict({});
};

// What follows reads the JSON of a row's columns. INVALID_ARGUMENT without a reason, for the
// caller knows the column's name; a message is named by its number, from 1.

// Appends the messages of a list, in OpenAI's form ("role", "content", "tool_calls", …, "weight")
// or in ShareGPT's ("from", "value").
absl::Status AddMessages(std::string_view json, Conversation* conversation);

// Sets the tools, from a list of JSON schemas.
absl::Status SetTools(std::string_view json, Conversation* conversation);

// Sets what the row hands to the template.
absl::Status SetTemplateVariables(std::string_view json, Conversation* conversation);

}  // namespace ftd::chat
