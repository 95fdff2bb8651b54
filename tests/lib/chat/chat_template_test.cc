#include "lib/chat/chat_template.h"

#include "lib/base/concat.h"
#include "lib/chat/template_source.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd::chat {
namespace {

absl::StatusOr<ChatTemplate> Load(const std::string& source) {
  return ChatTemplate::Load("/nowhere",
                            {.source = source,
                             .special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}},
                             .date = absl::CivilDay(2026, 11, 29)});
}

Conversation Messages(std::string_view json) {
  Conversation conversation;
  EXPECT_OK(AddMessages(json, &conversation));
  return conversation;
}

// The text with brackets around what is learned.
absl::StatusOr<std::string> Marked(const std::string& source, const Conversation& conversation,
                                   Learned learned = Learned::kAssistant) {
  FTD_ASSIGN_OR_RETURN(const ChatTemplate parsed, Load(source));
  FTD_ASSIGN_OR_RETURN(const RenderedChat chat, parsed.Render(conversation, learned));
  std::string text = chat.text;
  for (size_t i = chat.learned.spans.size(); i-- > 0;) {
    text.insert(chat.learned.spans[i].end, "]");
    text.insert(chat.learned.spans[i].begin, "[");
  }
  return text;
}

constexpr char kTwoTurns[] =
    R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
        {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}])";
constexpr char kOneTurn[] =
    R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])";

TEST(ChatTemplate, TurnsOfTheAssistant) {
  const struct {
    const char* what;
    const char* source;
    const char* marked;
  } cases[] = {
      {"a header that the generation prompt shows",
       "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
       "{% if add_generation_prompt %}<assistant>{% endif %}",
       "<user>q</><assistant>[a</>]"},
      {"a header that only answers show",
       "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}",
       "<user>q</><assistant>[a</>]"},
      {"no header",
       "{% for m in messages %}{{ '[INST]' + m.content + '[/INST]' if m.role == 'user' else "
       "m.content + eos_token }}{% endfor %}",
       "[INST]q[/INST][a</s>]"},
      {"a header at the end of the turn before",
       "{% for m in messages %}{{ m.content }}{{ '<A>' if m.role == 'user' else '</s>' }}"
       "{% endfor %}",
       "q<A>[a</s>]"},
      {"an opened reasoning is the answer's",
       "{% for m in messages %}<{{ m.role }}>{{ '<think>x</think>' if m.role == 'assistant' }}"
       "{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}",
       "<user>q</><assistant>[<think>x</think>a</>]"},
      {"white space before the header",
       "{% for m in messages %}\n\n<{{ m.role }}>{{ m.content }}{% endfor %}"
       "{% if add_generation_prompt %}<assistant>{% endif %}",
       "\n<user>q\n<assistant>[a]"},
      {"EOS behind the loop",
       "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
       "{{ '<assistant>' if add_generation_prompt else eos_token }}",
       "<user>q</><assistant>[a</></s>]"},
      {"what the template marks itself",
       "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}"
       "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}</>{% endfor %}",
       "<user>q</><assistant>[a]</>"},
      {"ChatML", "chatml", "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>\n]"},
      {"Llama 3", "llama3",
       "<s><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>"
       "<|start_header_id|>assistant<|end_header_id|>\n\n[a<|eot_id|>]"},
      {"Gemma", "gemma",
       "<s><start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\n[a<end_of_turn>\n]"},
  };
  for (const auto& row : cases) {
    const auto marked = Marked(row.source, Messages(kOneTurn));
    EXPECT_OK(marked) << row.what;
    if (marked.ok()) {
      EXPECT_EQ(*marked, row.marked) << row.what;
    }
  }
}

TEST(ChatTemplate, WhatIsLearned) {
  constexpr char kPlain[] =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}";
  EXPECT_EQ(*Marked(kPlain, Messages(kTwoTurns)), "<user>q<assistant>[a]<user>r<assistant>[b]");
  EXPECT_EQ(*Marked(kPlain, Messages(kTwoTurns), Learned::kLast),
            "<user>q<assistant>a<user>r<assistant>[b]");
  EXPECT_EQ(*Marked(kPlain, Messages(kTwoTurns), Learned::kAll),
            "[<user>q<assistant>a<user>r<assistant>b]");
  const Conversation weighted = Messages(R"([{"role": "user", "content": "q"},
                   {"role": "assistant", "content": "a"},
                   {"role": "assistant", "content": "b", "weight": 0},
                   {"role": "user", "content": "r", "weight": 1}])");
  EXPECT_EQ(*Marked(kPlain, weighted), "<user>q<assistant>[a]<assistant>b<user>r");
  EXPECT_EQ(*Marked(kPlain, weighted, Learned::kLast), "<user>q<assistant>[a]<assistant>b<user>r");
  EXPECT_EQ(*Marked(kPlain, weighted, Learned::kAll), "[<user>q<assistant>a<assistant>]b[<user>r]");
  EXPECT_ERROR(Marked(kPlain, weighted, Learned::kCompletion), kInvalid, "", "has no completion");

  Conversation pair = Messages(kTwoTurns);
  pair.prompt_messages = 3;
  EXPECT_EQ(*Marked(kPlain, pair), "<user>q<assistant>a<user>r<assistant>[b]");
  const auto rendered = Load(kPlain)->Render(pair, Learned::kCompletion);
  ASSERT_OK(rendered);
  EXPECT_EQ(rendered->learned.prompt, "<user>q<assistant>a<user>r<assistant>");
}

TEST(ChatTemplate, AnswersOfToolsAreNotLearned) {
  const Conversation tools =
      Messages(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                   {"role": "tool", "content": "t"}, {"role": "assistant", "content": "b"}])");
  const std::string own =
      "{% for m in messages %}{% if m.role != 'tool' %}<|turn>"
      "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}";
  const std::string end =
      "{% endif %}{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}";
  const std::string answers =
      "{% for k in range(loop.index, messages | length) if m.role == 'assistant' and "
      "messages[k].role == 'tool' %}";
  EXPECT_EQ(*Marked(own + end, tools), "<|turn>user\nq<|turn>model\n[a]<|turn>model\n[b]")
      << "left out";
  EXPECT_EQ(*Marked(own + answers +
                        "<|tool_response>{{ messages[k].content }}<tool_response|>"
                        "{% endfor %}" +
                        end,
                    tools),
            "<|turn>user\nq<|turn>model\n[a]<|tool_response>t<tool_response|><|turn>model\n[b]");
  EXPECT_ERROR(Marked(own + answers + "<t>{{ messages[k].content }}</t>{% endfor %}" + end, tools),
               kInvalid, "", "message 2: the chat template writes the answers of tools into it");
}

TEST(ChatTemplate, GlmStopsAtTheNextRole) {
  constexpr char kGlm[] =
      "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}<|assistant|>{% endif %}";
  EXPECT_EQ(*Marked(kGlm, Messages(kTwoTurns)),
            "<|user|>q<|assistant|>[a<|user|>]r<|assistant|>[b]");
}

TEST(ChatTemplate, WhatCannotBeProvedIsRefused) {
  const struct {
    const char* what;
    const char* source;
    const char* message;
  } cases[] = {
      {"text that is kept first",
       "{% set t %}{% for m in messages %}{{ m.content }}{% endfor %}{% endset %}{{ t }}",
       "message 2: the chat template does not write it in a loop over the messages"},
      {"no loop", "{{ messages[0].content }}{{ messages[1].content }}",
       "does not write it in a loop"},
      {"several loops",
       "{% for m in messages %}{{ m.content }}{% endfor %}{% for m in messages %}{{ m.role }}"
       "{% endfor %}",
       "writes it in several places"},
      {"another header",
       "{% for m in messages %}<{{ m.content }}>{% endfor %}"
       "{% if add_generation_prompt %}<assistant>{% endif %}",
       "does not begin with \"<assistant>\""},
      {"a marked turn that is kept first",
       "{% set t %}{% generation %}{{ messages[1].content }}{% endgeneration %}{% endset %}{{ t }}",
       "{% generation %} within a macro"},
      {"the template's own words", "{{ raise_exception('no system') }}",
       "the chat template refuses it: no system"},
      {"an error", "{{ messages + 1 }}", "the chat template fails: line 1, column"},
  };
  for (const auto& row : cases) {
    SCOPED_TRACE(row.what);
    EXPECT_ERROR(Marked(row.source, Messages(kOneTurn)), kInvalid, "", row.message);
  }
}

TEST(ChatTemplate, PartsBecomeTextWhereATemplateTakesText) {
  const Conversation parts = Messages(
      R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}])");
  EXPECT_EQ(*Marked("{% for m in messages %}{{ m.content }}{% endfor %}", parts), "ab");
  EXPECT_EQ(*Marked("{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}"
                    "{% endfor %}",
                    parts),
            "<a><b>");
}

TEST(ChatTemplate, APromptAsksForTheNextTurn) {
  const auto parsed = Load(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}");
  ASSERT_OK(parsed);
  const auto prompt = parsed->RenderPrompt(Messages(R"([{"role": "user", "content":
      [{"type": "text", "text": "q"}, {"type": "text", "text": "r"}]}])"));
  ASSERT_OK(prompt);
  EXPECT_EQ(*prompt, "<user>qr</><assistant>");
  const auto refusing = Load("{{ raise_exception('roles must alternate') }}");
  ASSERT_OK(refusing);
  EXPECT_ERROR(refusing->RenderPrompt(Messages(kOneTurn)), kInvalid, "", "roles must alternate");
}

TEST(ChatTemplate, VariablesAndDate) {
  Conversation conversation = Messages(kOneTurn);
  EXPECT_OK(SetTemplateVariables(R"({"eos_token": "E", "x": 1})", &conversation));
  EXPECT_EQ(*Marked("{{ bos_token }}{{ eos_token }}{{ x }}{{ tools is none }}"
                    "{{ strftime_now('%d %b %Y') }}",
                    conversation, Learned::kAll),
            "[<s>E1True29 Nov 2026]");
  const auto fingerprint = [](const char* source, int day) {
    return ChatTemplate::Load(
               "/nowhere",
               {.source = source, .special_tokens = {}, .date = absl::CivilDay(2026, 11, day)})
        ->fingerprint();
  };
  EXPECT_EQ(fingerprint("{{ x }}", 1), fingerprint("{{ x }}", 2));
  EXPECT_NE(fingerprint("{{ strftime_now('%d') }}", 1), fingerprint("{{ strftime_now('%d') }}", 2));
  EXPECT_NE(fingerprint("{{ x }}", 1), fingerprint("{{ y }}", 1));
}

TEST(ChatTemplate, FoundInTheFolder) {
  TempDir dir;
  const auto names = [&] {
    std::string all;
    const auto found = ReadTemplates(dir.path());
    EXPECT_OK(found);
    for (const NamedSource& source : *found) all += Concat(source.name, "=", source.text, ";");
    return all;
  };
  EXPECT_EQ(names(), "");
  EXPECT_ERROR(ChatTemplate::Load(dir.path(), {}), absl::StatusCode::kFailedPrecondition,
               "MODEL_UNSUPPORTED", "has no chat template");
  dir.Write("chat_template.json", R"({"chat_template": "J"})");
  EXPECT_EQ(names(), "default=J;");
  dir.Write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "D"},
                                                             {"name": "tool_use", "template": "T"}]})");
  EXPECT_EQ(names(), "default=D;tool_use=T;");
  const auto loaded = ChatTemplate::Load(dir.path(), {});
  ASSERT_OK(loaded);
  Conversation conversation = Messages(kOneTurn);
  EXPECT_EQ(loaded->Render(conversation, Learned::kAll)->text, "D");
  EXPECT_OK(SetTools("[]", &conversation));
  EXPECT_EQ(loaded->Render(conversation, Learned::kAll)->text, "T");
  dir.Write("tokenizer_config.json", R"({"chat_template": "C"})");
  EXPECT_EQ(names(), "default=C;");
  dir.Write("chat_template.jinja", "X");
  dir.Write("additional_chat_templates/rag.jinja", "R");
  EXPECT_EQ(names(), "default=X;rag=R;");
  dir.Write("chat_template.jinja", "{% if %}");
  EXPECT_ERROR(ChatTemplate::Load(dir.path(), {}), absl::StatusCode::kFailedPrecondition,
               "MODEL_UNSUPPORTED", "the chat template \"default\": line 1");
  EXPECT_ERROR(Load("{% if %}"), kInvalid, "FIELD_INVALID", "line 1");
}

}  // namespace
}  // namespace ftd::chat
