#include "lib/data/row_shape.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/data/conversation_row.h"

namespace ftd {
namespace {

// Returns the columns of a shape, for the message about a missing one.
const char* Needs(RowShape shape) {
  switch (shape) {
    case RowShape::kAlpaca:
      return "an Alpaca row needs instruction, input, output";
    case RowShape::kText:
      return "a text row needs text";
    case RowShape::kMessages:
      return "a conversation needs messages";
    case RowShape::kShareGpt:
      return "a ShareGPT row needs conversations";
    default:
      return "a prompt/completion row needs prompt, completion";
  }
}

bool IsBlankText(std::string_view text) {
  return absl::StripAsciiWhitespace(ForAbseil(text)).empty();
}

absl::StatusOr<chat::Learned> LearnedBy(TrainOn train_on, RowShape shape) {
  const bool has_completion = shape == RowShape::kPromptCompletion;
  switch (train_on) {
    case TrainOn::kByShape:
      return has_completion ? chat::Learned::kCompletion : chat::Learned::kAssistant;
    case TrainOn::kCompletions:
      if (has_completion) return chat::Learned::kCompletion;
      return DatasetInvalid("a conversation has no completion, and train_on is completions");
    case TrainOn::kAssistant:
      return chat::Learned::kAssistant;
    case TrainOn::kLast:
      return chat::Learned::kLast;
    case TrainOn::kAll:
      break;
  }
  return chat::Learned::kAll;
}

}  // namespace

bool IsBlank(const Example& example) {
  const std::string_view text = example.text;
  if (!example.chat.has_value()) return IsBlankText(text.substr(example.completion_begin));
  const auto& spans = example.chat->spans;
  return std::all_of(spans.begin(), spans.end(), [&](const chat::Span& span) {
    return IsBlankText(text.substr(span.begin, span.end - span.begin));
  });
}

RowRenderer::RowRenderer(const RowRules& rules, std::shared_ptr<const ChatSource> chat)
    : rules_(rules), chat_(std::move(chat)) {
  rules_.shape = ShapeOfRules(rules).value_or(rules.shape);
  if (rules.prompt_template.empty()) return;
  // It parses: JudgeRowRules has accepted it.
  auto parsed = PromptTemplate::Parse(rules.prompt_template);
  if (parsed.ok()) template_ = *std::move(parsed);
}

std::string_view RowRenderer::Column(const char* field) const { return ColumnOf(rules_, field); }

// A column that is null counts as absent: CSV and Parquet files often have columns for several
// shapes.
const Cell* RowRenderer::Field(const Row& row, const char* field) const {
  const Cell* cell = row.Find(Column(field));
  return cell == nullptr || cell->kind == Cell::Kind::kNull ? nullptr : cell;
}

// Files without nested columns have lists as text.
bool RowRenderer::IsConversation(const Row& row, const char* field) const {
  const Cell* cell = Field(row, field);
  return cell != nullptr && (cell->kind == Cell::Kind::kNested ||
                             (cell->kind == Cell::Kind::kText && cell->text.starts_with('[')));
}

// Returns the shape of a row by its columns. The order is TRL's: prompt and completion before text.
absl::StatusOr<RowShape> RowRenderer::ShapeOf(const Row& row) const {
  if (rules_.shape != RowShape::kFound) return rules_.shape;
  const auto has = [&](const char* field) { return Field(row, field) != nullptr; };
  if (has("instruction") && has("output")) return RowShape::kAlpaca;
  if (has("prompt") && has("completion")) return RowShape::kPromptCompletion;
  // Beside a conversation there may be columns of other shapes: a prompt's text, an instruction.
  if (IsConversation(row, "messages")) return RowShape::kMessages;
  if (IsConversation(row, "conversations")) return RowShape::kShareGpt;
  if (has("instruction")) return RowShape::kAlpaca;
  if (has("text")) return RowShape::kText;
  // From here on a field is missing; the shape decides which one the message asks for.
  if (has("output")) return RowShape::kAlpaca;
  if (has("prompt") || has("completion")) return RowShape::kPromptCompletion;
  if (has("messages")) return RowShape::kMessages;
  if (has("conversations")) return RowShape::kShareGpt;
  return NoShape(row);
}

absl::Status RowRenderer::NoShape(const Row& row) const {
  for (const ShapeField& field : kShapeFields) {
    if (field.shape == RowShape::kFound) continue;
    if (const Cell* cell = row.Find(Column(field.name))) {
      return DatasetInvalid(
          Concat(QuotedName(cell->name), " is null, and so is every other column of a row's text"));
    }
  }
  for (const char* conversation : {"conversation", "dialog", "dialogue", "chat"}) {
    if (!IsConversation(row, conversation)) continue;
    return DatasetInvalid(Concat("\"", conversation, "\" may hold a conversation; if so, map it ",
                                 "with columns messages=", conversation));
  }
  return DatasetInvalid(
      Concat("none of \"messages\", \"conversations\", \"instruction\", \"text\" and \"prompt\" is "
             "there; a row is {\"messages\"}, {\"conversations\"}, {\"instruction\", \"input\", "
             "\"output\"}, {\"text\"} or {\"prompt\", \"completion\"}",
             row.cells.empty() ? "" : Concat("; this one has ", ColumnNames(row))));
}

// Messages name the user's column, not the field that it is mapped to.
absl::Status RowRenderer::Missing(const Row& row, RowShape shape, const char* field) const {
  const std::string_view name = Column(field);
  // In a CSV file: the row is short.
  if (row.Find(name) != nullptr)
    return DatasetInvalid(Concat("\"", name, "\" is null or missing; ", Needs(shape)));
  const bool is_mapped = rules_.columns.contains(field);
  return DatasetInvalid(Concat("\"", name, "\" is missing; ", Needs(shape),
                               is_mapped ? Concat("; there are ", ColumnNames(row)) : ""));
}

absl::StatusOr<std::string_view> RowRenderer::Text(const Row& row, RowShape shape,
                                                   const char* field) const {
  const Cell* cell = Field(row, field);
  if (cell == nullptr) {
    if (FindShapeField(field)->optional) return std::string_view();
    return Missing(row, shape, field);
  }
  if (cell->kind != Cell::Kind::kText)
    return DatasetInvalid(Concat("\"", Column(field), "\" must be a string"));
  return std::string_view(cell->text);
}

absl::StatusOr<Example> RowRenderer::RenderConversation(const Row& row, RowShape shape) const {
  const bool is_pair = shape == RowShape::kPromptCompletion;
  const char* field = is_pair                        ? "prompt"
                      : shape == RowShape::kShareGpt ? "conversations"
                                                     : "messages";
  for (const char* needed : {field, is_pair ? "completion" : field}) {
    if (Field(row, needed) == nullptr) return Missing(row, shape, needed);
  }
  FTD_ASSIGN_OR_RETURN(const chat::Learned learned, LearnedBy(rules_.train_on, shape));
  FTD_ASSIGN_OR_RETURN(
      const chat::Conversation conversation,
      ReadConversation(row, {.messages = Field(row, field),
                             .completion = is_pair ? Field(row, "completion") : nullptr,
                             .tools = Field(row, "tools"),
                             .template_variables = Field(row, "chat_template_kwargs")}));
  if (chat_ == nullptr) return absl::InternalError("a conversation without a model");
  const absl::StatusOr<chat::ChatTemplate>& chat_template = chat_->Get();
  if (!chat_template.ok()) return chat_template.status();
  absl::StatusOr<chat::RenderedChat> rendered = chat_template->Render(conversation, learned);
  if (!rendered.ok()) {
    return DatasetInvalid(
        Concat("\"", Column(field), "\": ", std::string(rendered.status().message())));
  }
  Example example;
  example.text = std::move(rendered->text);
  example.chat = std::move(rendered->learned);
  return example;
}

// A row of two texts, the second of which follows from the first.
absl::StatusOr<Example> RowRenderer::RenderPair(const Row& row, RowShape shape) const {
  Example example;
  std::string_view completion;
  if (shape == RowShape::kAlpaca) {
    FTD_ASSIGN_OR_RETURN(const std::string_view instruction, Text(row, shape, "instruction"));
    FTD_ASSIGN_OR_RETURN(const std::string_view input, Text(row, shape, "input"));
    FTD_ASSIGN_OR_RETURN(completion, Text(row, shape, "output"));
    example.text = RenderAlpacaPrompt(instruction, input);
  } else {
    FTD_ASSIGN_OR_RETURN(const std::string_view prompt, Text(row, shape, "prompt"));
    FTD_ASSIGN_OR_RETURN(completion, Text(row, shape, "completion"));
    example.text = std::string(prompt);
  }
  example.completion_begin = example.text.size();
  example.text += completion;
  const bool by_shape = rules_.train_on == TrainOn::kByShape;
  // By default TRL learns completions only where a row separates them.
  example.completion_only =
      by_shape ? shape == RowShape::kPromptCompletion : rules_.train_on == TrainOn::kCompletions;
  return example;
}

absl::StatusOr<Example> RowRenderer::Render(const Row& row) const {
  Example example;
  if (template_.has_value()) {
    FTD_ASSIGN_OR_RETURN(example.text, template_->Render(row));
    return example;
  }
  FTD_ASSIGN_OR_RETURN(const RowShape shape, ShapeOf(row));
  // A prompt of messages makes a conversation, whatever the completion is: it is refused there.
  const bool is_chat =
      shape == RowShape::kMessages || shape == RowShape::kShareGpt ||
      (shape == RowShape::kPromptCompletion &&
       std::any_of(row.cells.begin(), row.cells.end(), [&](const Cell& cell) {
         return cell.kind == Cell::Kind::kNested &&
                (cell.name == Column("prompt") || cell.name == Column("completion"));
       }));
  if (is_chat) return RenderConversation(row, shape);
  if (rules_.train_on == TrainOn::kAssistant || rules_.train_on == TrainOn::kLast)
    return DatasetInvalid("the row is not a conversation; train_on must be all or completions");
  if (shape != RowShape::kText) return RenderPair(row, shape);
  FTD_ASSIGN_OR_RETURN(const std::string_view text, Text(row, shape, "text"));
  if (rules_.train_on == TrainOn::kCompletions)
    return DatasetInvalid("a text row has no completion, and train_on is completions");
  example.text = std::string(text);
  return example;
}

}  // namespace ftd
