#include "lib/data/row_shape.h"

#include <algorithm>

namespace ftd {
namespace {

struct ShapeField {
  const char* name;
  RowShape shape;
  bool optional;
};
constexpr ShapeField kFields[] = {
    {"instruction", RowShape::kAlpaca, false},
    {"input", RowShape::kAlpaca, true},
    {"output", RowShape::kAlpaca, false},
    {"text", RowShape::kText, false},
    {"prompt", RowShape::kPromptCompletion, false},
    {"completion", RowShape::kPromptCompletion, false},
};

// Those that may hold conversations, or what belongs to one.
constexpr const char* kNestedFields[] = {"messages",   "conversations", "prompt",
                                         "completion", "tools",         "chat_template_kwargs"};

const ShapeField* FindField(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFields), std::end(kFields),
                                   [&](const ShapeField& field) { return field.name == name; });
  return found == std::end(kFields) ? nullptr : found;
}

// Returns the columns of a shape, for the message about a missing one.
const char* Needs(RowShape shape) {
  switch (shape) {
    case RowShape::kAlpaca:
      return "an Alpaca row needs instruction, input, output";
    case RowShape::kText:
      return "a text row needs text";
    default:
      return "a prompt/completion row needs prompt, completion";
  }
}

// Returns the shape that all mapped fields belong to; nullopt when they are of several.
std::optional<RowShape> ShapeOfColumns(const RowRules& rules) {
  RowShape shape = rules.shape;
  for (const auto& [name, column] : rules.columns) {
    const ShapeField* field = FindField(name);
    if (field == nullptr) continue;
    if (shape != RowShape::kFound && shape != field->shape) return std::nullopt;
    shape = field->shape;
  }
  return shape;
}

// Judges the map from fields to the user's columns: known fields, all of one shape.
void JudgeColumns(const RowRules& rules, std::vector<FieldViolation>* bad) {
  for (const auto& [name, column] : rules.columns) {
    if (FindField(name) == nullptr) {
      bad->push_back(
          {"columns", Concat("maps \"", name, "\", which is none of instruction, input, ",
                             "output, text, prompt, completion")});
    } else if (column.empty()) {
      bad->push_back({"columns", Concat("maps ", name, " to a column without a name")});
    }
  }
  if (!ShapeOfColumns(rules).has_value()) {
    bad->push_back({"columns", rules.shape == RowShape::kFound
                                   ? "maps fields of several shapes; map those of one"
                                   : "maps a field that the shape does not have"});
  }
}

}  // namespace

// All violations at once, so that a user corrects a request in one go.
std::vector<FieldViolation> JudgeRowRules(const RowRules& rules) {
  std::vector<FieldViolation> bad;
  JudgeColumns(rules, &bad);
  const bool has_template = !rules.prompt_template.empty();
  if (has_template) {
    const auto parsed = PromptTemplate::Parse(rules.prompt_template);
    if (!parsed.ok()) bad.push_back({"template", std::string(parsed.status().message())});
    if (!rules.columns.empty())
      bad.push_back({"columns", "is of no use beside a template, which names columns itself"});
    if (rules.shape != RowShape::kFound)
      bad.push_back({"shape", "is of no use beside a template; give one of the two"});
  }
  // Rows without a border between prompt and completion.
  const bool whole_text = has_template || ShapeOfColumns(rules) == RowShape::kText;
  if (rules.train_on == TrainOn::kCompletions && whole_text) {
    bad.push_back({"train_on",
                   "must not be completions for text rows or a template, which have none; use "
                   "Alpaca or prompt/completion rows"});
  }
  return bad;
}

std::vector<std::string> NestedColumns(const RowRules& rules) {
  std::vector<std::string> columns;
  for (const char* field : kNestedFields) {
    const auto mapped = rules.columns.find(field);
    columns.push_back(mapped == rules.columns.end() ? field : mapped->second);
  }
  return columns;
}

RowRenderer::RowRenderer(const RowRules& rules) : rules_(rules) {
  rules_.shape = ShapeOfColumns(rules).value_or(rules.shape);
  if (rules.prompt_template.empty()) return;
  // It parses: JudgeRowRules has accepted it.
  auto parsed = PromptTemplate::Parse(rules.prompt_template);
  if (parsed.ok()) template_ = *std::move(parsed);
}

std::string_view RowRenderer::Column(const char* field) const {
  const auto mapped = rules_.columns.find(field);
  return mapped == rules_.columns.end() ? std::string_view(field) : mapped->second;
}

// A column that is null counts as absent: CSV and Parquet files often have columns for several
// shapes.
const Cell* RowRenderer::Field(const Row& row, const char* field) const {
  const Cell* cell = row.Find(Column(field));
  return cell == nullptr || cell->kind == Cell::Kind::kNull ? nullptr : cell;
}

// Returns the shape of a row by its columns. The order is TRL's: prompt and completion before text.
absl::StatusOr<RowShape> RowRenderer::ShapeOf(const Row& row) const {
  if (rules_.shape != RowShape::kFound) return rules_.shape;
  const auto has = [&](const char* field) { return Field(row, field) != nullptr; };
  if (has("instruction")) return RowShape::kAlpaca;
  if (has("prompt") && has("completion")) return RowShape::kPromptCompletion;
  if (has("text")) return RowShape::kText;
  // From here on a field is missing; the shape decides which one the message asks for.
  if (has("output")) return RowShape::kAlpaca;
  if (has("prompt") || has("completion")) return RowShape::kPromptCompletion;
  for (const ShapeField& field : kFields) {
    if (const Cell* cell = row.Find(Column(field.name))) {
      return DatasetInvalid(
          Concat(QuotedName(cell->name), " is null, and so is every other column of a row's text"));
    }
  }
  for (const char* conversation : {"messages", "conversations", "conversation"}) {
    if (Field(row, conversation) == nullptr) continue;
    return DatasetInvalid(Concat(
        "\"", conversation,
        "\" holds a conversation, which is not supported yet; a row is "
        "{\"prompt\", \"completion\"}, {\"instruction\", \"input\", \"output\"} or {\"text\"}: "
        "write each answer as a row with all before it as its prompt"));
  }
  return DatasetInvalid(
      Concat("neither \"instruction\" nor \"text\" nor \"prompt\" is there; a row is "
             "{\"instruction\", \"input\", \"output\"}, {\"text\"} or {\"prompt\", \"completion\"}",
             row.cells.empty() ? "" : Concat("; this one has ", ColumnNames(row))));
}

absl::StatusOr<std::string_view> RowRenderer::Text(const Row& row, RowShape shape,
                                                   const char* field) const {
  const Cell* cell = Field(row, field);
  // Messages name the user's column, not the field that it is mapped to.
  const std::string_view name = Column(field);
  if (cell == nullptr) {
    if (FindField(field)->optional) return std::string_view();
    const bool is_mapped = rules_.columns.contains(field);
    // In a CSV file: the row is short.
    if (row.Find(name) != nullptr)
      return DatasetInvalid(Concat("\"", name, "\" is null or missing; ", Needs(shape)));
    return DatasetInvalid(Concat("\"", name, "\" is missing; ", Needs(shape),
                                 is_mapped ? Concat("; there are ", ColumnNames(row)) : ""));
  }
  if (cell->kind != Cell::Kind::kText)
    return DatasetInvalid(Concat("\"", name, "\" must be a string"));
  return std::string_view(cell->text);
}

absl::StatusOr<Example> RowRenderer::Render(const Row& row) const {
  Example example;
  if (template_.has_value()) {
    FTD_ASSIGN_OR_RETURN(example.text, template_->Render(row));
    return example;
  }
  FTD_ASSIGN_OR_RETURN(const RowShape shape, ShapeOf(row));
  if (shape == RowShape::kText) {
    FTD_ASSIGN_OR_RETURN(const std::string_view text, Text(row, shape, "text"));
    if (rules_.train_on == TrainOn::kCompletions) {
      return DatasetInvalid("a text row has no completion, and train_on is completions");
    }
    example.text = std::string(text);
    return example;
  }
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

}  // namespace ftd
