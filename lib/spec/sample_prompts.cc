#include "lib/spec/sample_prompts.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/chat/conversation.h"

namespace ftd {
namespace {

// A template may print a message's members in their order.
using OrderedJson = nlohmann::ordered_json;

constexpr const char* kField = "sample_prompts";

bool IsMessagesJson(const OrderedJson& value) {
  return value.is_array() && !value.empty() && value[0].is_object();
}

// Returns the prompt that a value of a file is; nullopt when it is none.
std::optional<std::string> PromptOf(const OrderedJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (IsMessagesJson(value))
    return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  if (!value.is_object()) return std::nullopt;
  for (const char* key : {"messages", "prompt"})
    if (value.contains(key) && !value.at(key).is_object()) return PromptOf(value.at(key));
  return std::nullopt;
}

// Returns the values of a JSON file, a list, or of JSON lines. What does not parse is discarded
// among them.
std::vector<OrderedJson> ValuesOf(const std::string& text, bool lines) {
  const auto parsed = [](std::string_view json) {
    return OrderedJson::parse(json, nullptr, /*allow_exceptions=*/false);
  };
  if (!lines) {
    OrderedJson document = parsed(text);
    // One conversation alone is a list too.
    if (!document.is_array() || (IsMessagesJson(document) && document[0].contains("role")))
      return std::vector<OrderedJson>(1, std::move(document));
    return std::vector<OrderedJson>(document.begin(), document.end());
  }
  std::vector<OrderedJson> values;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace()))
    values.push_back(parsed({line.data(), line.size()}));
  return values;
}

absl::StatusOr<std::vector<std::string>> PromptsOfJson(const std::string& text, bool lines) {
  std::vector<std::string> prompts;
  for (const OrderedJson& value : ValuesOf(text, lines)) {
    auto prompt = PromptOf(value);
    if (!prompt) {
      return Error(Reason::kUsage, absl::StrCat(lines ? "line " : "prompt ", prompts.size() + 1,
                                                " is neither a text nor a list of messages"));
    }
    prompts.push_back(*std::move(prompt));
  }
  return prompts;
}

// Returns what is wrong with a prompt; empty when nothing is.
std::string Fault(const std::string& prompt) {
  if (prompt.empty()) return "is empty";
  if (!IsMessages(prompt)) return "";
  chat::Conversation conversation;
  return std::string(chat::AddMessages(prompt, &conversation).message());
}

}  // namespace

bool IsMessages(std::string_view prompt) {
  return prompt.starts_with('[') &&
         IsMessagesJson(OrderedJson::parse(prompt, nullptr, /*allow_exceptions=*/false));
}

absl::StatusOr<std::vector<std::string>> ReadSamplePrompts(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const std::string extension = absl::AsciiStrToLower(path.extension().string());
  std::vector<std::string> prompts;
  if (extension == ".json" || extension == ".jsonl") {
    auto read = PromptsOfJson(text, extension == ".jsonl");
    FTD_RETURN_IF_ERROR(Prefixed(read.status(), absl::StrCat(path.string(), ": ")));
    prompts = *std::move(read);
  } else {
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace()))
      prompts.emplace_back(absl::StripSuffix(line, "\r"));
  }
  if (prompts.empty()) return Error(Reason::kUsage, absl::StrCat(path.string(), ": has no prompt"));
  return prompts;
}

void ReadSamplePrompts(const nlohmann::json& job_spec, std::vector<std::string>* prompts,
                       std::vector<FieldViolation>* violations) {
  const auto violate = [&](std::string what) { violations->push_back({kField, std::move(what)}); };
  const nlohmann::json* given = FindField(job_spec, kField);
  if (given == nullptr) return;
  if (!given->is_array()) return violate("must be a list of texts");
  if (given->size() > kMostSamplePrompts) {
    return violate(
        absl::StrCat("may have at most ", kMostSamplePrompts, " prompts; got ", given->size()));
  }
  for (const nlohmann::json& prompt : *given) {
    if (!prompt.is_string()) return violate("must be a list of texts");
    prompts->push_back(prompt.get<std::string>());
    if (const std::string fault = Fault(prompts->back()); !fault.empty())
      violate(absl::StrCat("prompt ", prompts->size(), ": ", fault));
  }
}

}  // namespace ftd
