#include "lib/data/row_rules.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/chat/template_source.h"
#include "lib/data/prompt_template.h"

namespace ftd {
namespace {

// Judges the map from fields to the user's columns: known fields, all of one shape.
void JudgeColumns(const RowRules& rules, std::vector<FieldViolation>* bad) {
  bool of_conversations = false;
  for (const auto& [name, column] : rules.columns) {
    const ShapeField* field = FindShapeField(name);
    if (field == nullptr) {
      const std::string known = absl::StrJoin(
          kShapeFields, ", ",
          [](std::string* out, const ShapeField& shape_field) { out->append(shape_field.name); });
      bad->push_back({"columns", Concat("maps \"", name, "\", which is none of ", known)});
    } else if (column.empty()) {
      bad->push_back({"columns", Concat("maps ", name, " to a column without a name")});
    }
    of_conversations = of_conversations || (field != nullptr && field->shape == RowShape::kFound);
  }
  const std::optional<RowShape> shape = ShapeOfRules(rules);
  const bool has_none = shape == RowShape::kAlpaca || shape == RowShape::kText;
  if (!shape.has_value() || (of_conversations && has_none)) {
    bad->push_back({"columns", rules.shape == RowShape::kFound
                                   ? "maps fields of several shapes; map those of one"
                                   : "maps a field that the shape does not have"});
  }
}

void JudgeTrainOn(const RowRules& rules, std::vector<FieldViolation>* bad) {
  const std::optional<RowShape> shape = ShapeOfRules(rules);
  const bool has_template = !rules.prompt_template.empty();
  const bool is_text = has_template || shape == RowShape::kText;
  const bool is_chat = shape == RowShape::kMessages || shape == RowShape::kShareGpt;
  if (rules.train_on == TrainOn::kCompletions && is_text) {
    bad->push_back({"train_on",
                    "must not be completions for text rows or a template, which have none; use "
                    "Alpaca or prompt/completion rows"});
  } else if (rules.train_on == TrainOn::kCompletions && is_chat) {
    bad->push_back({"train_on",
                    "must not be completions for conversations, which have none; use assistant, "
                    "last or all"});
  } else if ((rules.train_on == TrainOn::kAssistant || rules.train_on == TrainOn::kLast) &&
             (is_text || shape == RowShape::kAlpaca)) {
    bad->push_back({"train_on", "must be all or completions for rows that are not conversations"});
  }
}

// The template itself is parsed when the model is known.
void JudgeChat(const RowRules& rules, std::vector<FieldViolation>* bad) {
  const std::string& text = rules.chat.chat_template;
  const bool is_text = text.find('{') != std::string::npos;
  if (!text.empty() && !is_text && chat::BuiltIn(text).empty()) {
    bad->push_back({"chat_template", Concat("must be a template's text, or one of ",
                                            absl::StrJoin(chat::BuiltInNames(), ", "))});
  }
  const std::string& date = rules.chat.chat_template_date;
  if (!date.empty() && !ParseDay(date).has_value())
    bad->push_back({"chat_template_date", Concat("must be YYYY-MM-DD; got ", date)});
}

}  // namespace

const ShapeField* FindShapeField(std::string_view name) {
  const auto* found = std::find_if(std::begin(kShapeFields), std::end(kShapeFields),
                                   [&](const ShapeField& field) { return field.name == name; });
  return found == std::end(kShapeFields) ? nullptr : found;
}

std::string_view ColumnOf(const RowRules& rules, const char* field) {
  const auto mapped = rules.columns.find(field);
  return mapped == rules.columns.end() ? std::string_view(field) : mapped->second;
}

std::optional<RowShape> ShapeOfRules(const RowRules& rules) {
  RowShape shape = rules.shape;
  for (const auto& [name, column] : rules.columns) {
    const ShapeField* field = FindShapeField(name);
    if (field == nullptr || field->shape == RowShape::kFound) continue;
    if (shape != RowShape::kFound && shape != field->shape) return std::nullopt;
    shape = field->shape;
  }
  return shape;
}

bool MayHoldConversations(const RowRules& rules) {
  const std::optional<RowShape> shape = ShapeOfRules(rules);
  return rules.prompt_template.empty() && shape != RowShape::kAlpaca && shape != RowShape::kText;
}

// All violations at once, so that a user corrects a request in one go.
std::vector<FieldViolation> JudgeRowRules(const RowRules& rules) {
  std::vector<FieldViolation> bad;
  JudgeColumns(rules, &bad);
  if (!rules.prompt_template.empty()) {
    const auto parsed = PromptTemplate::Parse(rules.prompt_template);
    if (!parsed.ok()) bad.push_back({"template", std::string(parsed.status().message())});
    if (!rules.columns.empty())
      bad.push_back({"columns", "is of no use beside a template, which names columns itself"});
    if (rules.shape != RowShape::kFound)
      bad.push_back({"shape", "is of no use beside a template; give one of the two"});
    if (!rules.chat.chat_template.empty())
      bad.push_back({"chat_template", "is of no use beside a template; give one of the two"});
  }
  JudgeTrainOn(rules, &bad);
  JudgeChat(rules, &bad);
  return bad;
}

std::vector<std::string> NestedColumns(const RowRules& rules) {
  std::vector<std::string> columns;
  for (const ShapeField& field : kShapeFields) {
    if (!field.is_nested) continue;
    columns.emplace_back(ColumnOf(rules, field.name));
  }
  return columns;
}

}  // namespace ftd
