#include "client/text/sample_text.h"

#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

constexpr int kPromptColumns = 40;

// Returns the content of the last of a prompt's messages, or the prompt where it is a text.
std::string AskedIn(const std::string& prompt) {
  if (!prompt.starts_with('[')) return prompt;
  const auto messages = nlohmann::json::parse(prompt, nullptr, /*allow_exceptions=*/false);
  if (!messages.is_array() || messages.empty() || !messages.back().is_object()) return prompt;
  for (const char* key : {"content", "value"}) {
    const auto content = messages.back().find(key);
    if (content != messages.back().end() && content->is_string())
      return content->get<std::string>();
  }
  return prompt;
}

}  // namespace

std::string SampleText(const ftd::v1::GeneratedSample& sample, int columns) {
  return absl::StrCat("\"", Shorten(Printable(AskedIn(sample.prompt())), kPromptColumns),
                      "\" -> \"", Shorten(Printable(sample.text()), columns), "\"");
}

}  // namespace ftd
