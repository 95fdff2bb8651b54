#include "lib/chat/conversation.h"

#include "lib/base/concat.h"
#include "lib/jinja/template.h"
#include "tests/support/expect_status.h"

namespace ftd::chat {
namespace {

using jinja::Value;

// A conversation's messages as Python prints them.
std::string Printed(std::string_view messages) {
  Conversation conversation;
  EXPECT_OK(AddMessages(messages, &conversation));
  std::vector<Value> values;
  for (const Message& message : conversation.messages) values.push_back(message.value);
  const auto rendered = jinja::Template::Parse("{{ m }}")->Render(
      Value::Dict({{Value::String("m"), Value::List(values)}}), {});
  EXPECT_OK(rendered);
  return rendered.ok() ? rendered->text : "";
}

TEST(Conversation, MessagesAsTemplatesSeeThem) {
  const struct {
    const char* what;
    const char* json;
    const char* printed;
  } cases[] = {
      {"OpenAI's form, members in order", R"([{"content": "a", "role": "user", "name": "n"}])",
       "[{'content': 'a', 'role': 'user', 'name': 'n'}]"},
      {"null members are left out",
       R"([{"role": "assistant", "content": null, "tool_calls": [{"x": null}]}])",
       "[{'role': 'assistant', 'tool_calls': [{'x': None}]}]"},
      {"reasoning has all its names",
       R"([{"role": "assistant", "content": "a", "reasoning": "r"}])",
       "[{'thinking': 'r', 'role': 'assistant', 'content': 'a', 'reasoning': 'r', "
       "'reasoning_content': 'r'}]"},
      {"the first name counts, and thinking keeps its own",
       R"([{"role": "assistant", "thinking": "t", "reasoning_content": "c"}])",
       "[{'thinking': 't', 'role': 'assistant', 'reasoning_content': 'c'}]"},
      {"ShareGPT",
       R"([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 0}])",
       "[{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b', 'weight': 0}]"},
      {"ShareGPT's calls",
       R"([{"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
           {"from": "observation", "value": "2"}])",
       "[{'role': 'assistant', 'content': '', 'tool_calls': [{'type': 'function', 'function': "
       "{'name': 'f', 'arguments': {'x': 1}}}]}, {'role': 'tool', 'content': '2'}]"},
  };
  for (const auto& row : cases) EXPECT_EQ(Printed(row.json), row.printed) << row.what;
}

TEST(Conversation, WhatIsNoConversation) {
  const struct {
    const char* json;
    const char* message;
  } cases[] = {
      {"{}", "must be a list of messages"},
      {"[]", "has no messages"},
      {"[1]", "at message 1: it must be an object"},
      {R"([{"role": "user", "content": "a"}, {"content": "b"}])",
       R"(at message 2: "role" must be a string)"},
      {R"([{"role": 1, "content": "b"}])", "\"role\" must be a string"},
      {R"([{"role": "user", "content": 5}])", "\"content\" must be a string or a list of parts"},
      {R"([{"role": "user", "content": [{"type": "image"}]}])",
       R"("content" has a part of the type "image"; only text is trained)"},
      {R"([{"role": "user", "content": ["a"]}])", R"(a part of "content" has no "type")"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "has no \"text\""},
      {R"([{"role": "assistant", "content": "a", "weight": 0.5}])", "\"weight\" must be 0 or 1"},
      {R"([{"role": "assistant", "content": "a", "weight": "0"}])", "\"weight\" must be 0 or 1"},
      {R"([{"role": "assistant", "tool_calls": "f"}])", "\"tool_calls\" must be a list"},
      {R"([{"from": "robot", "value": "a"}])", R"("from" is "robot", which is none of human)"},
      {R"([{"from": "gpt"}])", "\"value\" must be a string"},
      {R"([{"from": "function_call", "value": "f"}])", "the value of a function_call must be JSON"},
      {R"([{"from": "function_call", "value": "[{}]"}])", "it names no function"},
  };
  for (const auto& row : cases) {
    Conversation conversation;
    EXPECT_ERROR(AddMessages(row.json, &conversation), kInvalid, "", row.message);
  }
}

TEST(Conversation, WhatBelongsToOne) {
  Conversation conversation;
  EXPECT_OK(SetTools(R"([{"type": "function"}])", &conversation));
  EXPECT_OK(
      SetTemplateVariables(R"({"enable_thinking": false, "documents": [{}]})", &conversation));
  EXPECT_EQ(conversation.tools.Items().size(), 1u);
  EXPECT_EQ(conversation.documents.Items().size(), 1u);
  EXPECT_EQ(conversation.variables.Members().size(), 1u);
  EXPECT_ERROR(SetTools("{}", &conversation), kInvalid, "", "must be a list of tools");
  EXPECT_ERROR(SetTools("[1]", &conversation), kInvalid, "", "must be a list of objects");
  EXPECT_ERROR(SetTemplateVariables("[]", &conversation), kInvalid, "", "must be an object");
  EXPECT_ERROR(SetTemplateVariables(R"({"add_generation_prompt": true})", &conversation), kInvalid,
               "", R"(must not set "add_generation_prompt")");
}

}  // namespace
}  // namespace ftd::chat
