#include "lib/data/row_encoder.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/model/model_config.h"

namespace ftd {
namespace {

// config.json, which has only an id, is the last resort.
absl::StatusOr<std::string> FindEos(const std::filesystem::path& model_dir,
                                    const Tokenizer& tokenizer) {
  if (!tokenizer.EosToken().empty()) return tokenizer.EosToken();
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(model_dir));
  std::string eos;
  if (config.eos_token_id >= 0 && config.eos_token_id < tokenizer.VocabSize()) {
    eos = tokenizer.Decode({static_cast<int32_t>(config.eos_token_id)});
  }
  if (!eos.empty()) return eos;
  return Error(Reason::kModelUnsupported,
               Concat(model_dir.string(),
                      " names no end-of-sequence token: set eos_token in tokenizer_config.json"));
}

}  // namespace

// A completion that ends with EOS already does not get a second one, as in TRL.
std::string RowEncoder::WithEos(const Example& example) const {
  const bool has_eos =
      std::string_view(example.text).substr(example.completion_begin).ends_with(eos_token);
  return has_eos ? example.text : example.text + eos_token;
}

EncodedRow RowEncoder::Encode(const Example& example) const {
  EncodedRow row;
  row.input_ids = tokenizer->Encode(WithEos(example), /*add_special_tokens=*/true);
  const size_t most = seq_length > 0 ? static_cast<size_t>(seq_length) : row.input_ids.size();
  const bool cut = row.input_ids.size() > most;
  size_t prompt_tokens = 0;
  // The prompt's tokens are not learned. The prompt is encoded alone, and its ids are compared with
  // those of the whole text: a token may reach over the border, and it is learned.
  if (example.completion_only || (cut && example.completion_begin > 0)) {
    const std::vector<int32_t> prompt =
        tokenizer->Encode(std::string_view(example.text).substr(0, example.completion_begin),
                          /*add_special_tokens=*/true);
    prompt_tokens =
        std::mismatch(prompt.begin(), prompt.end(), row.input_ids.begin(), row.input_ids.end())
            .first -
        prompt.begin();
  }
  // Cut last, as TRL truncates: the end of a long row goes, EOS included.
  if (cut) {
    row.cut_tokens = static_cast<int64_t>(row.input_ids.size() - most);
    row.lost_completion = example.completion_begin > 0 && prompt_tokens >= most;
    row.input_ids.resize(most);
  }
  row.labels = row.input_ids;
  if (example.completion_only)
    std::fill_n(row.labels.begin(), std::min(prompt_tokens, most), kIgnoreLabel);
  return row;
}

absl::StatusOr<RowEncoder> MakeRowEncoder(const std::filesystem::path& model_dir,
                                          const Tokenizer& tokenizer, int32_t seq_length) {
  RowEncoder encoder;
  encoder.tokenizer = &tokenizer;
  encoder.seq_length = seq_length;
  FTD_ASSIGN_OR_RETURN(encoder.eos_token, FindEos(model_dir, tokenizer));
  return encoder;
}

}  // namespace ftd
