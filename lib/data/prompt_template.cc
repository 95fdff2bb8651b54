#include "lib/data/prompt_template.h"

#include "lib/base/concat.h"

namespace ftd {
namespace {

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(
      Concat(what, R"(; a template is like "Q: {question}\nA: {answer}", {{ and }} are braces)"));
}

}  // namespace

// "### Input:" is there even for an empty input, as in NVIDIA's script.
std::string RenderAlpacaPrompt(std::string_view instruction, std::string_view input) {
  return Concat(
      "Below is an instruction that describes a task, paired with an input that provides further "
      "context. Write a response that appropriately completes the request.\n### Instruction: ",
      instruction, "\n\n### Input: ", input, "\n\n### Response: ");
}

absl::StatusOr<PromptTemplate> PromptTemplate::Parse(std::string_view text) {
  PromptTemplate parsed;
  Part part;
  // A part is a literal and the column after it; the last one has a literal alone.
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      part.literal.push_back(c);
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      // {{ or }}: one brace.
      part.literal.push_back(text[i++]);
    } else if (c == '}') {
      return Malformed("has a } that closes nothing");
    } else {
      const size_t end = text.find_first_of("{}", i + 1);
      if (end == std::string_view::npos || text[end] == '{') {
        return Malformed("has a { that is not closed");
      }
      part.column = std::string(text.substr(i + 1, end - i - 1));
      if (part.column.empty()) return Malformed("has {} without a column's name");
      parsed.parts_.push_back(std::move(part));
      part = Part();
      i = end;
    }
  }
  if (parsed.parts_.empty()) return Malformed("names no column");
  parsed.parts_.push_back(std::move(part));
  return parsed;
}

absl::StatusOr<std::string> PromptTemplate::Render(const Row& row) const {
  std::string text;
  for (const Part& part : parts_) {
    text += part.literal;
    if (part.column.empty()) continue;
    const Cell* cell = row.Find(part.column);
    if (cell == nullptr) {
      // The message lists the columns, since a misspelt name is the usual cause.
      return DatasetInvalid(Concat("the template's column \"", part.column,
                                   "\" is not there; there are ", ColumnNames(row)));
    }
    if (cell->kind == Cell::Kind::kNull)
      return DatasetInvalid(Concat("the template's column \"", part.column, "\" is null"));
    if (cell->kind == Cell::Kind::kNested || cell->kind == Cell::Kind::kOther) {
      return DatasetInvalid(
          Concat("the template's column \"", part.column, "\" must be a string or a whole number"));
    }
    text += cell->text;
  }
  return text;
}

}  // namespace ftd
