// `ft-worker preview`: the rows of a dataset exactly as training will see them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>

#include "absl/status/status.h"

namespace ftd {

struct PreviewOptions {
  std::filesystem::path model_dir;
  std::string dataset;          // a file, a directory or a glob
  int64_t n = 5;                // the first rows
  int32_t seq_length = 2048;    // rows are cut to this many tokens
  std::string output = "json";  // or "text"
  // The same words as ftctl's flags; empty: not given.
  std::string shape, columns, prompt_template, train_on, chat_template, chat_template_date;
  int64_t skip_bad_rows = 0;
};

// Writes, as "json", an array of {"text", "input_ids", "labels"}, where "text" ends with EOS and
// labels are -100 where nothing is learned; as "text", each row's tokens, one a line with its id
// and label. Loads no weights. INVALID_ARGUMENT FIELD_INVALID for an option out of range; else what
// the tokenizer and the dataset say. Skipped rows are reported on stderr.
absl::Status Preview(const PreviewOptions& options, std::ostream& out);

}  // namespace ftd
