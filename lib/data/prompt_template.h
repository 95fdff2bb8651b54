// Texts made of a row's columns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/data/rows/row.h"

namespace ftd {

// NVIDIA's Alpaca prompt, as the DGX Spark playbook's scripts have it: instruction and input, up to
// and including "### Response: ", after which the output follows.
std::string RenderAlpacaPrompt(std::string_view instruction, std::string_view input);

// A user's template, such as "Q: {question}\nA: {answer}". {name} stands for a column's text; {{
// and
// }} for braces. Immutable.
class PromptTemplate {
 public:
  // INVALID_ARGUMENT without a reason, for the caller knows the field's name: a brace that is
  // alone,
  // {} without a name, or no column at all.
  static absl::StatusOr<PromptTemplate> Parse(std::string_view text);

  // DATASET_INVALID: a column that the row lacks (the columns there are, are named), or that is
  // null, or is neither text nor a whole number.
  absl::StatusOr<std::string> Render(const Row& row) const;

 private:
  struct Part {
    std::string literal;  // stands before the column
    std::string column;   // empty behind the last one
  };
  std::vector<Part> parts_;
};

}  // namespace ftd
