#include "lib/chat/chat_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/chat/template_source.h"
#include "lib/chat/turns.h"
#include "lib/jinja/template.h"

namespace ftd::chat {
namespace {

using jinja::Kind;
using jinja::Rendered;
using jinja::Template;
using jinja::Value;

// A template with what is found out about it once.
struct Parsed {
  std::string name;  // "default", "tool_use", …
  Template parsed;
  TurnStyle style;
};

// A list of text parts as the one text that templates for text alone expect.
Value WithJoinedParts(const Value& message) {
  std::vector<std::pair<Value, Value>> members = message.Members();
  for (auto& [name, value] : members) {
    if (name.AsString() != "content") continue;
    std::string text;
    for (const Value& part : value.Items()) text += part.Find("text")->AsString();
    value = Value::String(std::move(text));
  }
  return Value::Dict(std::move(members));
}

absl::Status Named(const absl::Status& status) {
  return Prefixed(status, jinja::IsRaisedByTemplate(status) ? "the chat template refuses it: "
                                                            : "the chat template fails: ");
}

// The turns of an assistant that have a weight of 0.
std::vector<bool> NotLearned(const std::vector<Message>& messages) {
  std::vector<bool> chosen(messages.size());
  for (size_t i = 0; i < messages.size(); ++i)
    chosen[i] = messages[i].role == "assistant" && !messages[i].is_learned;
  return chosen;
}

std::vector<bool> Wanted(const Conversation& conversation, Learned learned) {
  std::vector<bool> wanted(conversation.messages.size());
  for (size_t i = conversation.prompt_messages.value_or(0); i < wanted.size(); ++i) {
    const Message& message = conversation.messages[i];
    wanted[i] = message.role == "assistant" && message.is_learned;
  }
  if (learned == Learned::kLast) {
    const auto last = std::find(wanted.rbegin(), wanted.rend(), true);
    if (last != wanted.rend()) std::fill(last + 1, wanted.rend(), false);
  }
  return wanted;
}

// Returns the messages in the form that the template takes.
std::vector<Message> MessagesFor(const Parsed& parsed, const Conversation& conversation) {
  std::vector<Message> messages = conversation.messages;
  for (Message& message : messages) {
    if (message.is_parts && !parsed.style.takes_parts)
      message.value = WithJoinedParts(message.value);
  }
  return messages;
}

}  // namespace

struct ChatTemplate::State {
  std::vector<Parsed> templates;
  TemplateOptions options;
  std::vector<std::pair<Value, Value>> special_tokens;  // options.special_tokens as variables
  std::string fingerprint;

  absl::Status Add(const NamedSource& source);
  absl::StatusOr<Rendered> Render(const Parsed& parsed, const std::vector<Message>& messages,
                                  const Conversation& conversation, bool prompt_for_answer) const;
  absl::StatusOr<const Parsed*> Choose(const Conversation& conversation) const;
  absl::StatusOr<std::string> PromptOf(const Parsed& parsed, const Conversation& conversation,
                                       const std::vector<Message>& messages,
                                       std::string_view text) const;
};

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

const std::string& ChatTemplate::fingerprint() const { return state_->fingerprint; }

absl::Status ChatTemplate::State::Add(const NamedSource& source) {
  FTD_ASSIGN_OR_RETURN(Template parsed, Template::Parse(source.text));
  Parsed added{source.name, std::move(parsed), {}};
  std::string_view eos_token;
  for (const auto& [name, text] : options.special_tokens) {
    if (name == "eos_token") eos_token = text;
  }
  const auto render = [&](const std::vector<Message>& messages, bool prompt_for_answer) {
    return Render(added, messages, Conversation{}, prompt_for_answer);
  };
  added.style = FindTurnStyle(source.text, eos_token, render);
  templates.push_back(std::move(added));
  return absl::OkStatus();
}

absl::StatusOr<Rendered> ChatTemplate::State::Render(const Parsed& parsed,
                                                     const std::vector<Message>& messages,
                                                     const Conversation& conversation,
                                                     bool prompt_for_answer) const {
  jinja::Options limits;
  limits.now = absl::CivilSecond(options.date);
  limits.watched.reserve(messages.size());
  for (const Message& message : messages) limits.watched.push_back(message.value);
  std::vector<std::pair<Value, Value>> variables = special_tokens;
  // Of equal names the last one counts: a row may replace a special token.
  for (const auto& member : conversation.variables.Members()) variables.push_back(member);
  variables.emplace_back(Value::String("messages"), Value::List(limits.watched));
  variables.emplace_back(Value::String("tools"), conversation.tools);
  variables.emplace_back(Value::String("documents"), conversation.documents);
  variables.emplace_back(Value::String("add_generation_prompt"), Value::Bool(prompt_for_answer));
  return parsed.parsed.Render(Value::Dict(std::move(variables)), limits);
}

// As transformers chooses: a template for tools where there are any.
absl::StatusOr<const Parsed*> ChatTemplate::State::Choose(const Conversation& conversation) const {
  const auto named = [&](std::string_view name) -> const Parsed* {
    const auto found = std::find_if(templates.begin(), templates.end(),
                                    [&](const Parsed& parsed) { return parsed.name == name; });
    return found == templates.end() ? nullptr : &*found;
  };
  const Parsed* chosen = conversation.tools.Is(Kind::kNone) ? nullptr : named("tool_use");
  if (chosen == nullptr) chosen = named("default");
  if (chosen != nullptr) return chosen;
  return absl::InvalidArgumentError(
      "the model has several chat templates and none is the default: give one by chat_template");
}

// The prompt alone, as the model gets it.
absl::StatusOr<std::string> ChatTemplate::State::PromptOf(const Parsed& parsed,
                                                          const Conversation& conversation,
                                                          const std::vector<Message>& messages,
                                                          std::string_view text) const {
  if (!conversation.prompt_messages.has_value())
    return absl::InvalidArgumentError("without a prompt of its own it has no completion");
  const std::vector<Message> prompt(
      messages.begin(), messages.begin() + static_cast<ptrdiff_t>(*conversation.prompt_messages));
  const absl::StatusOr<Rendered> told = Render(parsed, prompt, conversation, false);
  absl::StatusOr<Rendered> asked = Render(parsed, prompt, conversation, true);
  for (const auto* rendered : {&told, &std::as_const(asked)}) {
    if (!rendered->ok()) return Prefixed(Named(rendered->status()), "the prompt by itself: ");
  }
  // The header may differ, as where a template opens a reasoning that the answer lacks; what comes
  // before it must not.
  if (text.starts_with(BeginningOf(text, told->text, parsed.style.eos_token)))
    return std::move(asked->text);
  return absl::InvalidArgumentError(
      "the chat template writes the prompt in another way once an answer follows; so it is not "
      "known where the completion begins. Choose --train-on assistant, or another chat template");
}

absl::StatusOr<ChatTemplate> ChatTemplate::Load(const std::filesystem::path& model_dir,
                                                TemplateOptions options) {
  auto state = std::make_unique<State>();
  std::vector<NamedSource> sources;
  const bool is_given = !options.source.empty();
  if (is_given) {
    const std::string_view own = BuiltIn(options.source);
    sources.push_back({"default", own.empty() ? options.source : std::string(own)});
  } else {
    FTD_ASSIGN_OR_RETURN(sources, ReadTemplates(model_dir));
  }
  if (sources.empty()) {
    return Error(Reason::kModelUnsupported,
                 Concat(model_dir.string(), ": the model has no chat template, and the rows are ",
                        "conversations: give one by --chat-template, a file or one of ",
                        absl::StrJoin(BuiltInNames(), ", ")));
  }
  state->options = std::move(options);
  for (const auto& [name, text] : state->options.special_tokens)
    state->special_tokens.emplace_back(Value::String(name), Value::String(text));
  Sha256 hash;
  bool prints_date = false;
  for (const NamedSource& source : sources) {
    const absl::Status added = state->Add(source);
    if (!added.ok()) {
      if (is_given) {
        return FieldError({{"dataset.chat_template",
                            Concat("is not a template: ", std::string(added.message()))}});
      }
      return Error(Reason::kModelUnsupported,
                   Concat(model_dir.string(), ": the chat template \"", source.name,
                          "\": ", std::string(added.message())));
    }
    for (const std::string& part : {source.name, source.text})
      hash.Update(Concat(part.size(), ":", part));
    prints_date = prints_date || PrintsDate(source.text);
  }
  for (const auto& [name, text] : state->options.special_tokens)
    hash.Update(Concat(name.size(), ":", name, text.size(), ":", text));
  // Only what prints the date depends on it: tokens of yesterday are as good as today's.
  if (prints_date) hash.Update(absl::FormatCivilTime(state->options.date));
  state->fingerprint = hash.HexDigest();
  return ChatTemplate(std::move(state));
}

absl::StatusOr<RenderedChat> ChatTemplate::Render(const Conversation& conversation,
                                                  Learned learned) const {
  FTD_ASSIGN_OR_RETURN(const Parsed* parsed, state_->Choose(conversation));
  const std::vector<Message> messages = MessagesFor(*parsed, conversation);
  absl::StatusOr<Rendered> rendered =
      state_->Render(*parsed, messages, conversation, /*prompt_for_answer=*/false);
  if (!rendered.ok()) return Named(rendered.status());
  RenderedChat chat;
  const bool all = learned == Learned::kAll || learned == Learned::kCompletion;
  if (learned == Learned::kCompletion) {
    FTD_ASSIGN_OR_RETURN(chat.learned.prompt,
                         state_->PromptOf(*parsed, conversation, messages, rendered->text));
  }
  const auto render = [&](const std::vector<Message>& others) {
    return state_->Render(*parsed, others, conversation, /*prompt_for_answer=*/false);
  };
  // The turns that are learned; or, where all is learned, those that are not.
  FTD_ASSIGN_OR_RETURN(std::vector<Span> turns,
                       FindTurns({messages, *rendered, render}, parsed->style,
                                 all ? NotLearned(messages) : Wanted(conversation, learned)));
  chat.text = std::move(rendered->text);
  chat.learned.spans =
      all ? Without(std::move(turns), {0, chat.text.size()}) : Joined(std::move(turns));
  return chat;
}

absl::StatusOr<std::string> ChatTemplate::RenderPrompt(const Conversation& conversation) const {
  FTD_ASSIGN_OR_RETURN(const Parsed* parsed, state_->Choose(conversation));
  absl::StatusOr<Rendered> rendered = state_->Render(*parsed, MessagesFor(*parsed, conversation),
                                                     conversation, /*prompt_for_answer=*/true);
  if (!rendered.ok()) return Named(rendered.status());
  return std::move(rendered->text);
}

}  // namespace ftd::chat
