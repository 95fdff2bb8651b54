#include "lib/data/row_encoder.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <vector>

#include "lib/base/concat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/base/utf8.h"
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

// A damaged generation_config.json counts as absent: it concerns a warning alone.
std::vector<int32_t> FindStops(const std::filesystem::path& model_dir, int32_t eos_id) {
  std::vector<int32_t> stops = {eos_id};
  for (const char* file : {"generation_config.json", "config.json"}) {
    const absl::StatusOr<std::string> text = ReadContained(model_dir, file);
    if (!text.ok()) continue;
    const auto config = ParseJsonObject(*text);
    const nlohmann::json* ids = config ? FindField(*config, "eos_token_id") : nullptr;
    if (ids == nullptr) continue;
    for (const nlohmann::json& id : ids->is_array() ? *ids : nlohmann::json::array({*ids})) {
      constexpr int64_t kMostId = std::numeric_limits<int32_t>::max();
      if (!id.is_number_integer()) continue;
      const auto value = id.get<int64_t>();
      if (value >= 0 && value <= kMostId) stops.push_back(static_cast<int32_t>(value));
    }
    break;
  }
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  return stops;
}

// Returns how many tokens two texts have in common at their beginning.
size_t CommonTokens(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

}  // namespace

// A completion that ends with EOS already does not get a second one, as in TRL.
std::string RowEncoder::WithEos(const Example& example) const {
  if (example.chat.has_value()) return example.text;
  const bool has_eos =
      std::string_view(example.text).substr(example.completion_begin).ends_with(eos_token);
  return has_eos ? example.text : example.text + eos_token;
}

EncodedRow RowEncoder::Encode(const Example& example) const {
  return example.chat.has_value() ? EncodeConversation(example) : EncodeText(example);
}

EncodedRow RowEncoder::EncodeText(const Example& example) const {
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
    prompt_tokens = CommonTokens(prompt, row.input_ids);
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

EncodedRow RowEncoder::EncodeConversation(const Example& example) const {
  const std::string_view text = example.text;
  const chat::LearnedParts& learned = *example.chat;
  // Of each span its first byte, its last character, and the byte behind it: tokens are learned
  // from the one that holds the first byte to the last one that holds a byte of the last character.
  // In between the last character that is not white space, which the end-of-turn token has.
  std::vector<size_t> positions;
  for (const chat::Span& span : learned.spans) {
    const std::string_view own = text.substr(span.begin, span.end - span.begin);
    const size_t visible = own.find_last_not_of(" \t\r\n");
    const size_t visible_end = visible == std::string_view::npos ? own.size() : visible + 1;
    positions.push_back(span.begin);
    positions.push_back(span.begin + LastCodePointBegin(own.substr(0, visible_end)));
    positions.push_back(span.begin + LastCodePointBegin(own));
    positions.push_back(span.end);
  }
  EncodedRow row;
  std::vector<size_t> tokens;
  row.input_ids = tokenizer->EncodeAt(text, positions, &tokens);
  size_t prompt_tokens = 0;
  if (learned.prompt.has_value()) {
    prompt_tokens = CommonTokens(tokenizer->Encode(*learned.prompt, /*add_special_tokens=*/false),
                                 row.input_ids);
  }
  row.labels.assign(row.input_ids.size(), kIgnoreLabel);
  bool has_labels = false;
  for (size_t at = 0; at < tokens.size(); at += 4) {
    const size_t begin = std::max(tokens[at], prompt_tokens);
    const size_t end = std::min(std::max(tokens[at + 2] + 1, tokens[at + 3]), row.labels.size());
    for (size_t t = begin; t < end; ++t) row.labels[t] = row.input_ids[t];
    has_labels = has_labels || begin < end;
    const size_t last = tokens[at + 1];
    if (last < begin || last >= end) continue;
    const int32_t id = row.input_ids[last];
    if (!std::binary_search(stop_ids.begin(), stop_ids.end(), id)) row.unstopped = id;
  }
  if (seq_length > 0 && row.input_ids.size() > static_cast<size_t>(seq_length)) {
    row.cut_tokens = static_cast<int64_t>(row.input_ids.size()) - seq_length;
    row.input_ids.resize(static_cast<size_t>(seq_length));
    row.labels.resize(static_cast<size_t>(seq_length));
    row.lost_completion = has_labels && CountLabels(row) == 0;
  }
  return row;
}

absl::StatusOr<RowEncoder> MakeRowEncoder(const std::filesystem::path& model_dir,
                                          const Tokenizer& tokenizer, int32_t seq_length) {
  RowEncoder encoder;
  encoder.tokenizer = &tokenizer;
  encoder.seq_length = seq_length;
  FTD_ASSIGN_OR_RETURN(encoder.eos_token, FindEos(model_dir, tokenizer));
  encoder.stop_ids = FindStops(model_dir, tokenizer.TokenToId(encoder.eos_token));
  return encoder;
}

}  // namespace ftd
