// Any bytes as a row of JSON with a conversation, rendered by one of several templates and learned
// in one of several ways. What is learned lies within the text, in order, and cuts no character.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/utf8.h"
#include "lib/data/conversation_row.h"
#include "lib/data/row_shape.h"
#include "lib/data/rows/json_row.h"

namespace {

using ftd::chat::ChatTemplate;
using ftd::chat::Learned;

// The built-in ones, and what they do not do: marks, tools, reasoning, answers of tools within a
// turn, a conversation that ends in EOS.
constexpr const char* kSources[] = {
    "chatml",
    "llama3",
    "gemma",
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ "
    "m.content }}</s>"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ '<A>' if m.role == "
    "'assistant' else '<U>' }}{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>"
    "{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}"
    "{% endfor %}{{ '<A>' if add_generation_prompt else eos_token }}",
    "{% for m in messages %}{% if m.role != 'tool' %}<|turn>{{ 'model' if m.role == "
    "'assistant' else m.role }}\n{{ m.content }}{% for k in "
    "range(loop.index, messages | length) %}{% if messages[k].role == 'tool' %}<|tool_response>"
    "{{ messages[k].content }}<tool_response|>{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|turn>model\n{% endif %}"};

void Check(bool holds) {
  if (!holds) std::abort();
}

const std::vector<ChatTemplate>& Templates() {
  static const auto* const all = [] {
    auto* made = new std::vector<ChatTemplate>;
    for (const char* source : kSources) {
      auto loaded = ChatTemplate::Load(
          "/nowhere", {.source = source,
                       .special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}},
                       .date = absl::CivilDay(2024, 2, 29)});
      Check(loaded.ok());
      made->push_back(*std::move(loaded));
    }
    return made;
  }();
  return *all;
}

bool IsBoundary(std::string_view text, size_t at) {
  return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
}

void Render(const ChatTemplate& chat_template, const ftd::chat::Conversation& conversation,
            Learned learned) {
  const auto rendered = chat_template.Render(conversation, learned);
  if (!rendered.ok()) {
    const auto message = rendered.status().message();
    return Check(!message.empty() && ftd::IsValidUtf8({message.data(), message.size()}));
  }
  const std::string& text = rendered->text;
  Check(ftd::IsValidUtf8(text));
  size_t end = 0;
  for (const auto& span : rendered->learned.spans) {
    Check(span.begin < span.end && span.end <= text.size());
    Check(end == 0 || end < span.begin);
    Check(IsBoundary(text, span.begin) && IsBoundary(text, span.end));
    end = span.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view json(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::vector<std::string> nested = ftd::NestedColumns({});
  ftd::Row row;
  if (ftd::ParseJsonRow(json, nested, &row).has_value() || !row.problem.ok()) return 0;
  const bool is_pair = row.Find("completion") != nullptr;
  const auto* messages = row.Find(is_pair ? "prompt" : "messages");
  if (messages == nullptr) messages = row.Find("conversations");
  if (messages == nullptr) return 0;
  const auto conversation =
      ftd::ReadConversation(row, {.messages = messages,
                                  .completion = is_pair ? row.Find("completion") : nullptr,
                                  .tools = row.Find("tools"),
                                  .template_variables = row.Find("chat_template_kwargs")});
  if (!conversation.ok()) {
    const auto message = conversation.status().message();
    Check(!message.empty() && ftd::IsValidUtf8({message.data(), message.size()}));
    return 0;
  }
  constexpr std::array kLearned = {Learned::kAssistant, Learned::kLast, Learned::kCompletion,
                                   Learned::kAll};
  Render(Templates()[data[0] % Templates().size()], *conversation,
         kLearned[data[1] % kLearned.size()]);
  return 0;
}
