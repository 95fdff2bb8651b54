// Training rows: reading JSON and JSONL files, rendering prompt templates, tokenising.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/tokenizer.h"

namespace ftd {

// One row as training sees it.
struct TokenizedRow {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> labels;  // same length; kIgnoreLabel where nothing is learned
};
inline constexpr int32_t kIgnoreLabel = -100;

// The rendered texts of a file's rows, in file order, without EOS. A file is JSON Lines, or a JSON
// array of objects; each object is an Alpaca row (instruction, output, and input, which may be
// absent or empty) or a text row
// ("text"). `limit` > 0 takes the first rows only. `file_name` is for messages.
// INVALID_ARGUMENT DATASET_INVALID naming file and line (JSONL) or row (array): not JSON, not an
// object, a field missing or not a string, invalid UTF-8; or no rows at all.
absl::StatusOr<std::vector<std::string>> ReadTexts(const std::filesystem::path& path,
                                                   std::string_view file_name, int64_t limit);

// NVIDIA's Alpaca prompt (engine rows of the DGX Spark playbook): instruction, input, response.
std::string RenderAlpaca(std::string_view instruction, std::string_view input,
                         std::string_view output);

// What is needed to turn a text into a row.
struct RowEncoder {
  const Tokenizer* tokenizer = nullptr;
  std::string eos_token;   // appended to a text that does not end with it
  int32_t seq_length = 0;  // cut on the right; 0: never

  // As TRL does: text and EOS, then the tokenizer's own special tokens around them, then the cut. A
  // text that spells out a BOS keeps it beside the tokenizer's own.
  TokenizedRow Encode(std::string_view text) const;
  // text with EOS: exactly what is tokenised.
  std::string WithEos(std::string_view text) const;
};

// The encoder of a model directory. EOS comes from tokenizer_config.json, else from
// special_tokens_map.json, else by its id in config.json. MODEL_UNSUPPORTED when there is none,
// MODEL_CORRUPT when a file is damaged. The returned encoder points at `tokenizer`, which must
// outlive it.
absl::StatusOr<RowEncoder> MakeRowEncoder(const std::filesystem::path& model_dir,
                                          const Tokenizer& tokenizer, int32_t seq_length);

// Encodes all texts on `threads` threads, in order. `progress(done)` is called now and then from
// the calling thread; when it returns false the work stops with CANCELLED.
absl::StatusOr<std::vector<TokenizedRow>> EncodeAll(
    const RowEncoder& encoder, const std::vector<std::string>& texts, int threads,
    const std::function<bool(int64_t done)>& progress);

}  // namespace ftd
