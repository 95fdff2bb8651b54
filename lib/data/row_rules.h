// The rules by which rows become texts, and the columns that each shape of a row has.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/data/chat_source.h"

namespace ftd {

// kFound: by the columns of each row.
enum class RowShape { kFound, kAlpaca, kText, kPromptCompletion, kMessages, kShareGpt };
// kByShape: completions for prompt/completion rows, the assistant's turns for conversations, all
// for the others.
enum class TrainOn { kByShape, kAll, kCompletions, kAssistant, kLast };

// Dataset's fields of the same names in proto/ftd/v1/job.proto.
struct RowRules {
  RowShape shape = RowShape::kFound;
  std::map<std::string, std::string> columns;  // a shape's field → the file's column
  std::string prompt_template;                 // empty: none
  TrainOn train_on = TrainOn::kByShape;
  ChatRules chat;
};

// A field of a shape: a column by its own name.
struct ShapeField {
  const char* name;
  RowShape shape;  // kFound: what any conversation may have
  bool optional;
  bool is_nested;  // may hold lists and objects
};
inline constexpr ShapeField kShapeFields[] = {
    {"instruction", RowShape::kAlpaca, false, false},
    {"input", RowShape::kAlpaca, true, false},
    {"output", RowShape::kAlpaca, false, false},
    {"text", RowShape::kText, false, false},
    {"prompt", RowShape::kPromptCompletion, false, true},
    {"completion", RowShape::kPromptCompletion, false, true},
    {"messages", RowShape::kMessages, false, true},
    {"conversations", RowShape::kShareGpt, false, true},
    {"tools", RowShape::kFound, true, true},
    {"chat_template_kwargs", RowShape::kFound, true, true},
};

// Returns nullptr if no field has that name.
const ShapeField* FindShapeField(std::string_view name);

// Returns the file's column that holds a field.
std::string_view ColumnOf(const RowRules& rules, const char* field);

// Returns the shape that the rules ask for, by `shape` or by the fields that are mapped; nullopt
// when those are of several shapes.
std::optional<RowShape> ShapeOfRules(const RowRules& rules);

// Returns whether rows that follow the rules may be conversations.
bool MayHoldConversations(const RowRules& rules);

// Returns what is wrong with `rules`; field names are Dataset's: shape, columns, template,
// train_on, chat_template, chat_template_date.
std::vector<FieldViolation> JudgeRowRules(const RowRules& rules);

// Returns the file's columns in which the rules have a use for lists and objects: what readers are
// asked to keep.
std::vector<std::string> NestedColumns(const RowRules& rules);

}  // namespace ftd
