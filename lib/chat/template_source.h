// Where a chat template comes from: a model's folder, or ftd's own for models without one.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd::chat {

// A template and the name that the folder gives it: "default", "tool_use", ….
struct NamedSource {
  std::string name;
  std::string text;
};

// The chat templates of a model's folder, as AutoTokenizer of transformers 5 finds them:
// chat_template.jinja and additional_chat_templates/, else "chat_template" of
// tokenizer_config.json, a text or a list of named ones; and what only processors read,
// chat_template.json. Empty when there is none. MODEL_CORRUPT for a damaged file.
absl::StatusOr<std::vector<NamedSource>> ReadTemplates(const std::filesystem::path& model_dir);

// Returns whether a template asks for the date.
bool PrintsDate(std::string_view text);

// Names of ftd's own templates: "chatml", ….
std::vector<std::string> BuiltInNames();
// The text of one of them; empty for another name.
std::string_view BuiltIn(std::string_view name);

}  // namespace ftd::chat
