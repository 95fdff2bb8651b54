#include "lib/chat/turn_style.h"

#include <algorithm>
#include <utility>

#include "lib/chat/known_headers.h"

namespace ftd::chat {
namespace {

using jinja::Value;

// What opens the reasoning in the templates of today.
constexpr std::string_view kReasoningOpeners[] = {
    "<think>",   "<thinking>", "<thought>",          "<reasoning>",       "<seed:think>",
    "<|think|>", "[THINK]",    "<|START_THINKING|>", "<|channel>thought",
};

Value Text(std::string_view text) { return Value::String(std::string(text)); }

Message MessageOf(std::string_view role, Value content) {
  Message message;
  message.role = std::string(role);
  message.value = Value::Dict({{Text("role"), Text(role)}, {Text("content"), std::move(content)}});
  return message;
}

// Returns whether a template marks turns, as transformers finds out.
bool MarksTurns(std::string_view source) {
  constexpr std::string_view kOpen = "{%", kClose = "%}", kName = "generation";
  for (size_t at = source.find(kOpen); at != std::string_view::npos;
       at = source.find(kOpen, at + 1)) {
    std::string_view rest = source.substr(at + kOpen.size());
    if (rest.starts_with('-')) rest.remove_prefix(1);
    rest.remove_prefix(std::min(rest.find_first_not_of(kSpace), rest.size()));
    if (!rest.starts_with(kName)) continue;
    rest.remove_prefix(kName.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(kSpace), rest.size()));
    if (rest.starts_with('-')) rest.remove_prefix(1);
    if (rest.starts_with(kClose)) return true;
  }
  return false;
}

// Cuts off what opens a reasoning, such as "<think>\n", and all after it: a model writes that
// itself.
std::string_view WithoutReasoning(std::string_view header) {
  size_t end = header.size();
  for (const std::string_view opener : kReasoningOpeners) end = std::min(end, header.find(opener));
  return header.substr(0, end);
}

// What the template writes for an answer, header and all.
std::optional<std::string> AnswerTo(std::vector<Message> messages, std::string_view answer,
                                    RenderMessages render) {
  messages.push_back(MessageOf("assistant", Text(answer)));
  const auto rendered = render(messages, /*prompt_for_answer=*/false);
  if (!rendered.ok()) return std::nullopt;
  for (const jinja::Visit& visit : rendered->visits) {
    if (visit.watched + 1 == messages.size() && visit.end > visit.begin)
      return rendered->text.substr(visit.begin, visit.end - visit.begin);
  }
  return std::nullopt;
}

// What the template writes when it is asked to prompt for an answer. A template that does not know
// the question shows its header in what two different answers have in common.
std::optional<std::string> FindHeader(const std::vector<Message>& question,
                                      std::string_view eos_token, RenderMessages render) {
  const auto asked = render(question, /*prompt_for_answer=*/true);
  const auto told = render(question, /*prompt_for_answer=*/false);
  if (!asked.ok() || !told.ok()) return std::nullopt;
  const std::string_view before = BeginningOf(asked->text, told->text, eos_token);
  if (!asked->text.starts_with(before)) return std::nullopt;
  const std::string_view header = std::string_view(asked->text).substr(before.size());
  if (!header.empty()) return std::string(WithoutReasoning(header));
  const auto yes = AnswerTo(question, "Yes", render), zero = AnswerTo(question, "0", render);
  if (!yes.has_value() || !zero.has_value()) return std::nullopt;
  const auto end = std::mismatch(yes->begin(), yes->end(), zero->begin(), zero->end()).first;
  const std::string common(yes->begin(), end);
  const std::string_view shown = WithoutReasoning(common);
  const bool is_blank = shown.find_first_not_of(kSpace) == std::string_view::npos;
  return is_blank ? "" : std::string(shown);
}

// Templates for text alone fail at a list, or print it as Python would.
bool TakesParts(RenderMessages render) {
  const Value part = Value::Dict({{Text("type"), Text("text")}, {Text("text"), Text("xyzzy")}});
  const auto rendered =
      render({MessageOf("user", Value::List({part}))}, /*prompt_for_answer=*/false);
  if (!rendered.ok()) return false;
  const std::string_view text = rendered->text;
  return text.find("xyzzy") != std::string_view::npos &&
         text.find("'xyzzy'") == std::string_view::npos &&
         text.find(R"("xyzzy")") == std::string_view::npos;
}

}  // namespace

TurnStyle FindTurnStyle(std::string_view source, std::string_view eos_token,
                        RenderMessages render) {
  TurnStyle style;
  style.marks_turns = MarksTurns(source);
  style.eos_token = eos_token;
  style.takes_parts = TakesParts(render);
  if (const std::optional<std::string_view> known = KnownHeader(source)) {
    style.header = std::string(*known);
    return style;
  }
  const Message system = MessageOf("system", Text("a")), user = MessageOf("user", Text("a"));
  style.header = FindHeader({user}, eos_token, render);
  // Some templates demand a system's message.
  if (!style.header.has_value()) style.header = FindHeader({system, user}, eos_token, render);
  return style;
}

std::string_view BeginningOf(std::string_view longer, std::string_view text,
                             std::string_view eos_token) {
  if (!longer.starts_with(text) && text.ends_with(eos_token)) text.remove_suffix(eos_token.size());
  return text;
}

}  // namespace ftd::chat
