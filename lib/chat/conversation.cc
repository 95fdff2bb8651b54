#include "lib/chat/conversation.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "lib/base/concat.h"
#include "lib/base/error.h"

namespace ftd::chat {
namespace {

using jinja::Kind;
using jinja::Value;
using Members = std::vector<std::pair<Value, Value>>;

absl::Status Invalid(std::string_view message) {
  return absl::InvalidArgumentError(ForAbseil(message));
}

// ShareGPT's names of roles.
constexpr std::pair<std::string_view, std::string_view> kShareGptRoles[] = {
    {"human", "user"},
    {"user", "user"},
    {"gpt", "assistant"},
    {"chatgpt", "assistant"},
    {"bing", "assistant"},
    {"bard", "assistant"},
    {"model", "assistant"},
    {"assistant", "assistant"},
    {"function_call", "assistant"},
    {"system", "system"},
    {"tool", "tool"},
    {"observation", "tool"},
    {"function_response", "tool"},
};

// The names under which a message may hold its reasoning; the first that is there counts.
constexpr std::string_view kReasoning[] = {"reasoning_content", "thinking", "reasoning"};

// What an apply_chat_template that is called with a row's variables takes for its own arguments.
constexpr std::string_view kNotVariables[] = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "return_dict",
    "return_tensors",
    "tokenize",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
    "tools",
    "truncation",
};

const Value* FindText(const Value& dict, std::string_view name) {
  const Value* found = dict.Find(name);
  return found != nullptr && found->Is(Kind::kString) ? found : nullptr;
}

// A function_call of ShareGPT: {"name": …, "arguments": …} as text, one or a list of them.
absl::StatusOr<Value> ToolCallsOf(const Value& value) {
  FTD_ASSIGN_OR_RETURN(Value parsed, Value::FromJson(value.AsString()));
  const std::vector<Value> calls =
      parsed.Is(Kind::kList) ? parsed.Items() : std::vector<Value>{std::move(parsed)};
  std::vector<Value> tool_calls;
  for (const Value& call : calls) {
    if (!call.Is(Kind::kDict) || FindText(call, "name") == nullptr)
      return Invalid("it names no function");
    tool_calls.push_back(Value::Dict(
        {{Value::String("type"), Value::String("function")}, {Value::String("function"), call}}));
  }
  return Value::List(std::move(tool_calls));
}

// ShareGPT's {"from", "value"} in OpenAI's words; other members stay.
absl::StatusOr<Members> FromShareGpt(const Value& message) {
  const Value* from = FindText(message, "from");
  const Value* value = FindText(message, "value");
  if (from == nullptr) return Invalid(R"("from" must be a string)");
  if (value == nullptr) return Invalid(R"("value" must be a string)");
  const auto* const role =
      std::find_if(std::begin(kShareGptRoles), std::end(kShareGptRoles),
                   [&](const auto& known) { return known.first == from->AsString(); });
  if (role == std::end(kShareGptRoles)) {
    return Invalid(Concat(R"("from" is ")", from->AsString(),
                          R"(", which is none of human, gpt, system, tool, function_call, )"
                          "observation and their like"));
  }
  Members members = {{Value::String("role"), Value::String(std::string(role->second))}};
  if (from->AsString() == "function_call") {
    absl::StatusOr<Value> calls = ToolCallsOf(*value);
    if (!calls.ok()) {
      return Invalid(Concat(R"(the value of a function_call must be JSON, {"name": …, )"
                            R"("arguments": …}: )",
                            std::string(calls.status().message())));
    }
    members.emplace_back(Value::String("content"), Value::String(""));
    members.emplace_back(Value::String("tool_calls"), *std::move(calls));
  } else {
    members.emplace_back(Value::String("content"), *value);
  }
  for (const auto& [name, member] : message.Members()) {
    if (name.AsString() != "from" && name.AsString() != "value") members.emplace_back(name, member);
  }
  return members;
}

// As in OpenAI's files: 0 for a message that is not learned, 1 for any other.
absl::StatusOr<bool> IsLearned(const Value& weight) {
  const bool is_number = weight.Is(Kind::kInt) || weight.Is(Kind::kFloat);
  const double number = weight.Is(Kind::kInt)     ? static_cast<double>(weight.AsInt())
                        : weight.Is(Kind::kFloat) ? weight.AsFloat()
                                                  : -1;
  if (is_number && (number == 0 || number == 1)) return number == 1;
  return Invalid(R"("weight" must be 0 or 1)");
}

// Text parts; what models see or hear is refused by its name.
absl::Status JudgeParts(const std::vector<Value>& parts) {
  for (const Value& part : parts) {
    const Value* type = part.Is(Kind::kDict) ? FindText(part, "type") : nullptr;
    if (type == nullptr) return Invalid(R"(a part of "content" has no "type")");
    if (type->AsString() != "text") {
      return Invalid(Concat(R"("content" has a part of the type ")", type->AsString(),
                            R"("; only text is trained)"));
    }
    if (FindText(part, "text") == nullptr) return Invalid(R"(a part of "content" has no "text")");
  }
  return absl::OkStatus();
}

// Content is text, or a list of text parts; a tool may also answer with any other value, which
// templates print as JSON.
absl::Status JudgeContent(const Value& content, Message* message) {
  if (content.Is(Kind::kString)) return absl::OkStatus();
  const bool is_list = content.Is(Kind::kList);
  const auto is_part = [](const Value& item) {
    return item.Is(Kind::kDict) && item.Find("type") != nullptr;
  };
  const bool is_answer = message->role == "tool" || message->role == "function" ||
                         message->role == "ipython" || message->role == "observation";
  if (is_answer &&
      (!is_list || !std::all_of(content.Items().begin(), content.Items().end(), is_part)))
    return absl::OkStatus();
  if (!is_list) return Invalid(R"("content" must be a string or a list of parts)");
  message->is_parts = true;
  return JudgeParts(content.Items());
}

// Does what transformers does before it renders: the reasoning gets all names that templates read.
// The order of the members is transformers', for a template may print a message whole.
Value WithReasoning(Members members) {
  const auto place = [&](std::string_view name) {
    return std::find_if(members.begin(), members.end(),
                        [&](const auto& member) { return member.first.AsString() == name; });
  };
  Value reasoning;
  for (const std::string_view name : kReasoning) {
    const auto found = place(name);
    if (found == members.end()) continue;
    reasoning = found->second;
    break;
  }
  if (reasoning.Is(Kind::kNone)) return Value::Dict(std::move(members));
  const auto current = place("reasoning_content");
  if (current != members.end()) {
    current->second = reasoning;
  } else {
    members.emplace_back(Value::String("reasoning_content"), reasoning);
  }
  // "thinking" comes first, even where the message has it further behind: Dict gives it that place
  // and the message's own value.
  members.insert(members.begin(), {Value::String("thinking"), reasoning});
  return Value::Dict(std::move(members));
}

absl::StatusOr<Message> ReadMessage(const Value& json) {
  if (!json.Is(Kind::kDict)) return Invalid("it must be an object");
  Members members;
  if (json.Find("role") == nullptr && json.Find("from") != nullptr) {
    FTD_ASSIGN_OR_RETURN(members, FromShareGpt(json));
  } else {
    members = json.Members();
  }
  Message message;
  // Datasets that came through Arrow have all members in every message, null where there is none.
  std::erase_if(members, [](const auto& member) { return member.second.Is(Kind::kNone); });
  for (const auto& [key, value] : members) {
    if (key.AsString() == "role" && value.Is(Kind::kString)) message.role = value.AsString();
  }
  if (message.role.empty()) return Invalid(R"("role" must be a string, such as "user")");
  for (const auto& [key, value] : members) {
    const std::string& name = key.AsString();
    if (name == "content") {
      FTD_RETURN_IF_ERROR(JudgeContent(value, &message));
    } else if (name == "weight") {
      FTD_ASSIGN_OR_RETURN(message.is_learned, IsLearned(value));
    } else if (name == "tool_calls" && !value.Is(Kind::kList)) {
      return Invalid(R"("tool_calls" must be a list)");
    }
  }
  message.value = WithReasoning(std::move(members));
  return message;
}

absl::StatusOr<Value> ListOf(std::string_view json, std::string_view of) {
  FTD_ASSIGN_OR_RETURN(Value list, Value::FromJson(json));
  if (!list.Is(Kind::kList)) return Invalid(Concat("must be a list of ", of));
  return list;
}

}  // namespace

absl::Status AddMessages(std::string_view json, Conversation* conversation) {
  FTD_ASSIGN_OR_RETURN(const Value list, ListOf(json, "messages"));
  if (list.Items().empty()) return Invalid("has no messages");
  for (const Value& item : list.Items()) {
    absl::StatusOr<Message> message = ReadMessage(item);
    if (!message.ok()) {
      const size_t number = &item - list.Items().data() + 1;
      return Prefixed(message.status(), Concat("at message ", number, ": "));
    }
    conversation->messages.push_back(*std::move(message));
  }
  return absl::OkStatus();
}

absl::Status SetTools(std::string_view json, Conversation* conversation) {
  FTD_ASSIGN_OR_RETURN(Value list, ListOf(json, "tools"));
  for (const Value& tool : list.Items()) {
    if (!tool.Is(Kind::kDict))
      return Invalid("must be a list of objects, each the JSON schema of a function");
  }
  conversation->tools = std::move(list);
  return absl::OkStatus();
}

absl::Status SetTemplateVariables(std::string_view json, Conversation* conversation) {
  FTD_ASSIGN_OR_RETURN(const Value dict, Value::FromJson(json));
  if (!dict.Is(Kind::kDict)) return Invalid("must be an object");
  Members members;
  for (const auto& [key, value] : dict.Members()) {
    const std::string& name = key.AsString();
    if (std::find(std::begin(kNotVariables), std::end(kNotVariables), name) !=
        std::end(kNotVariables))
      return Invalid(Concat(R"(must not set ")", name, R"(")"));
    if (name == "documents") {
      conversation->documents = value;
    } else {
      members.emplace_back(key, value);
    }
  }
  conversation->variables = Value::Dict(std::move(members));
  return absl::OkStatus();
}

}  // namespace ftd::chat
