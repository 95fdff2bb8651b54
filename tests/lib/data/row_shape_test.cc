#include "lib/data/row_shape.h"

#include "lib/base/concat.h"
#include "lib/data/rows/json_row.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

// The learned part in brackets.
absl::StatusOr<std::string> RenderRow(const RowRules& rules, std::string_view json) {
  Row row;
  EXPECT_FALSE(ParseJsonRow(json, NestedColumns(rules), &row).has_value()) << json;
  FTD_ASSIGN_OR_RETURN(const Example example, RowRenderer(rules).Render(row));
  const size_t begin = example.completion_only ? example.completion_begin : 0;
  return Concat(example.text.substr(0, begin), "[", example.text.substr(begin), "]");
}

const std::string kPrompt =
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n### Instruction: I\n\n"
    "### Input: N\n\n### Response: ";

TEST(RowShape, TextsAndWhatIsLearnedOfThem) {
  const char* alpaca = R"({"instruction":"I","input":"N","output":"O"})";
  const char* mapped = R"({"q":"I","context":"N","a":"O","instruction":"not this"})";
  const char* pair = R"({"prompt":"P ","completion":"C","text":"T"})";
  const std::map<std::string, std::string> columns = {
      {"instruction", "q"}, {"input", "context"}, {"output", "a"}};
  const struct {
    RowRules rules;
    const char* row;
    std::string text;
  } kTable[] = {
      {{}, alpaca, Concat("[", kPrompt, "O]")},
      {{.train_on = TrainOn::kAll}, alpaca, Concat("[", kPrompt, "O]")},
      {{.train_on = TrainOn::kCompletions}, alpaca, Concat(kPrompt, "[O]")},
      {{.columns = columns}, mapped, Concat("[", kPrompt, "O]")},
      {{}, pair, "P [C]"},
      {{.train_on = TrainOn::kAll}, pair, "[P C]"},
      {{.shape = RowShape::kText}, pair, "[T]"},
      {{.columns = {{"text", "prompt"}}}, pair, "[P ]"},
      {{.columns = {{"completion", "text"}}}, pair, "P [T]"},
      {{}, R"({"text":"T","prompt":"P"})", "[T]"},
      {{.prompt_template = "Q: {q}\nA: {a}{{}}"}, R"({"q":"I","a":7})", "[Q: I\nA: 7{}]"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.text);
    ASSERT_TRUE(JudgeRowRules(row.rules).empty());
    const auto text = RenderRow(row.rules, row.row);
    ASSERT_OK(text);
    EXPECT_EQ(*text, row.text);
  }
}

TEST(RowShape, RowsThatDoNotFit) {
  const struct {
    RowRules rules;
    const char* row;
    const char* text;
  } kTable[] = {
      {{},
       R"({"a":"b"})",
       R"(none of "messages", "conversations", "instruction", "text" and "prompt" is there)"},
      {{}, R"({"a":"b","c":1})", R"(this one has "a", "c")"},
      {{}, R"({"messages":[{"content":"a"}]})", R"("messages" at message 1: "role" must be)"},
      {{}, R"({"messages":3})", R"("messages" must be a list)"},
      {{}, R"({"dialog":[{"role":"user"}]})", R"(map it with columns messages=dialog)"},
      {{},
       R"({"messages":[{"role":"user","content":"a"}],"images":["a.png"]})",
       R"("images" has images, audio or video; only text is trained)"},
      {{.train_on = TrainOn::kCompletions},
       R"({"messages":[{"role":"user","content":"a"}]})",
       "a conversation has no completion"},
      {{.train_on = TrainOn::kAssistant}, R"({"text":"T"})", "the row is not a conversation"},
      {{}, R"({"id":1,"conversations":[]})", R"("conversations" has no messages)"},
      {{}, R"({"prompt":"P"})", R"("completion" is missing; a prompt/completion row needs)"},
      {{.shape = RowShape::kText}, R"({"instruction":"I"})", R"("text" is missing)"},
      {{.shape = RowShape::kAlpaca}, R"({"text":"T"})", R"("instruction" is missing)"},
      {{.columns = {{"instruction", "q"}}},
       R"({"question":"I","output":"O"})",
       R"("q" is missing; an Alpaca row needs instruction, input, output; there are "question", "output")"},
      {{.columns = {{"text", "t"}}}, R"({"t":["x"]})", R"("t" must be a string)"},
      {{.train_on = TrainOn::kCompletions}, R"({"text":"T"})", "a text row has no completion"},
      {{.prompt_template = "{q}"},
       R"({"question":"I"})",
       R"(the template's column "q" is not there; there are "question")"},
      {{.prompt_template = "{q}"}, R"({"q":null})", R"(the template's column "q" is null)"},
      {{.prompt_template = "{q}"}, R"({"q":1.5})", "must be a string or a whole number"},
      {{.prompt_template = "{q}"}, R"({"q":["a"]})", "must be a string or a whole number"},
      {{.prompt_template = "{prompt}"},
       R"({"prompt":["a"]})",
       "must be a string or a whole number"},
      {{},
       R"({"prompt":["a"],"completion":"C"})",
       R"("prompt" at message 1: it must be an object)"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.text);
    EXPECT_ERROR(RenderRow(row.rules, row.row), kInvalid, "DATASET_INVALID", row.text);
  }
}

TEST(RowShape, ManyColumnsMakeAShortMessage) {
  std::string json = "{";
  for (int i = 0; i < 100; ++i)
    json += Concat(i == 0 ? "" : ",", "\"", std::string(200, 'c'), i, "\":1");
  const auto status = RenderRow({}, json + "}").status();
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("and 88 more"));
  EXPECT_LT(status.message().size(), 1200u);
}

TEST(RowShape, ColumnsThatMayHoldConversations) {
  EXPECT_THAT(NestedColumns({}),
              testing::ElementsAre("prompt", "completion", "messages", "conversations", "tools",
                                   "chat_template_kwargs"));
  EXPECT_THAT(NestedColumns({.columns = {{"messages", "chat"}, {"prompt", "tools"}}}),
              testing::ElementsAre("tools", "completion", "chat", "conversations", "tools",
                                   "chat_template_kwargs"));
}

TEST(RowShape, RulesThatDoNotFit) {
  const struct {
    RowRules rules;
    const char* field;
  } kTable[] = {
      {{.columns = {{"instructions", "q"}}}, "columns"},
      {{.columns = {{"text", ""}}}, "columns"},
      {{.columns = {{"text", "a"}, {"prompt", "b"}}}, "columns"},
      {{.shape = RowShape::kText, .columns = {{"output", "a"}}}, "columns"},
      {{.columns = {{"text", "a"}}, .prompt_template = "{a}"}, "columns"},
      {{.shape = RowShape::kText, .prompt_template = "{a}"}, "shape"},
      {{.prompt_template = "{a"}, "template"},
      {{.prompt_template = "a}"}, "template"},
      {{.prompt_template = "{}"}, "template"},
      {{.prompt_template = "{a{b}}"}, "template"},
      {{.prompt_template = "no column"}, "template"},
      {{.prompt_template = "{{a}}"}, "template"},
      {{.prompt_template = "{a}", .train_on = TrainOn::kCompletions}, "train_on"},
      {{.shape = RowShape::kText, .train_on = TrainOn::kCompletions}, "train_on"},
      {{.columns = {{"text", "a"}}, .train_on = TrainOn::kCompletions}, "train_on"},
      {{.shape = RowShape::kMessages, .train_on = TrainOn::kCompletions}, "train_on"},
      {{.shape = RowShape::kAlpaca, .train_on = TrainOn::kAssistant}, "train_on"},
      {{.prompt_template = "{a}", .train_on = TrainOn::kLast}, "train_on"},
      {{.columns = {{"text", "a"}, {"tools", "b"}}}, "columns"},
      {{.chat = {.chat_template = "chatmk"}}, "chat_template"},
      {{.prompt_template = "{a}", .chat = {.chat_template = "chatml"}}, "chat_template"},
      {{.chat = {.chat_template_date = "2026-02-30"}}, "chat_template_date"},
      {{.chat = {.chat_template_date = "1 Jan 2026"}}, "chat_template_date"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(Concat(row.field, " ", row.rules.prompt_template));
    const auto bad = JudgeRowRules(row.rules);
    ASSERT_EQ(bad.size(), 1u);
    EXPECT_EQ(bad[0].field, row.field);
  }
}

}  // namespace
}  // namespace ftd
