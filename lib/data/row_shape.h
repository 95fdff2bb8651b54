// The content of a row: the columns that it must have, and the text that is made of them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/error.h"
#include "lib/data/prompt_template.h"
#include "lib/data/rows/row.h"

namespace ftd {

// kFound: by the columns of each row.
enum class RowShape { kFound, kAlpaca, kText, kPromptCompletion };
// kByShape: completions for prompt/completion rows, all for the others.
enum class TrainOn { kByShape, kAll, kCompletions };

// The rules by which rows become texts: Dataset's fields of the same names in
// proto/ftd/v1/job.proto.
struct RowRules {
  RowShape shape = RowShape::kFound;
  std::map<std::string, std::string> columns;  // a shape's field → the file's column
  std::string prompt_template;                 // empty: none
  TrainOn train_on = TrainOn::kByShape;
};

// A row's text for training, without EOS.
struct Example {
  std::string text;
  size_t completion_begin = 0;   // in text; 0 when the row has no prompt of its own
  bool completion_only = false;  // nothing before completion_begin is learned
};

// Returns what is wrong with `rules`; field names are Dataset's: shape, columns, template,
// train_on.
std::vector<FieldViolation> JudgeRowRules(const RowRules& rules);

// Returns the file's columns in which the rules have a use for lists and objects: what readers are
// asked to keep.
std::vector<std::string> NestedColumns(const RowRules& rules);

// Makes examples by rules. Immutable.
class RowRenderer {
 public:
  // Requires: JudgeRowRules(rules) is empty.
  explicit RowRenderer(const RowRules& rules);

  // DATASET_INVALID: a column is missing or is not a string, or no shape fits.
  absl::StatusOr<Example> Render(const Row& row) const;

 private:
  absl::StatusOr<RowShape> ShapeOf(const Row& row) const;
  // The column that a field is mapped to.
  std::string_view Column(const char* field) const;
  const Cell* Field(const Row& row, const char* field) const;
  absl::StatusOr<std::string_view> Text(const Row& row, RowShape shape, const char* field) const;

  RowRules rules_;
  std::optional<PromptTemplate> template_;
};

}  // namespace ftd
