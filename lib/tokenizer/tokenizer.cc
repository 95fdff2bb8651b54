#include "lib/tokenizer/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/tokenizer/added_tokens.h"
#include "lib/tokenizer/auto/auto_tokenizer.h"
#include "lib/tokenizer/bpe.h"
#include "lib/tokenizer/decoder.h"
#include "lib/tokenizer/encoded.h"
#include "lib/tokenizer/json_fields.h"
#include "lib/tokenizer/model_json.h"
#include "lib/tokenizer/normalizer.h"
#include "lib/tokenizer/post_processor.h"
#include "lib/tokenizer/pre_tokenizer.h"

namespace ftd {
namespace {

using nlohmann::json;

// The memory that one encoding thread writes to. It is kept between calls, with its cache of words.
struct Scratch {
  RegexScratch regex;
  BpeScratch bpe;
  std::string normalized;
};

// Holds as many scratches as threads have encoded at once. Thread-safe.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void Give(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeModel model) : model_(std::move(model)) {}

  // Requires: called once, before any other method.
  absl::Status Init(AutoTokenizer parts);

  std::vector<int32_t> Encode(std::string_view text, bool add_special_tokens) const override;
  std::vector<int32_t> EncodeAt(std::string_view text, const std::vector<size_t>& positions,
                                std::vector<size_t>* tokens) const override;
  std::string Decode(const std::vector<int32_t>& ids) const override;
  // Added tokens win over the vocabulary, as in `tokenizers`.
  int32_t TokenToId(std::string_view token) const override {
    const auto added = added_ids_.find(ForAbseil(token));
    return added != added_ids_.end() ? added->second : model_.TokenToId(token);
  }
  int32_t VocabSize() const override { return vocab_size_; }
  const std::vector<std::pair<std::string, std::string>>& SpecialTokens() const override {
    return special_tokens_;
  }
  const std::string& EosToken() const override { return eos_token_; }
  const std::string& Fingerprint() const override { return fingerprint_; }

 private:
  absl::Status AddTokens(const json& section, const std::vector<AddedToken>& more);
  void AddToken(AddedToken token);
  void IndexAddedTokens();
  Encoded EncodeValid(std::string_view text, const Marks* marks) const;
  void EncodeSegment(const Piece& segment, Scratch& scratch, Encoded* out) const;
  void EncodeMarked(const Piece& word, Scratch& scratch, Encoded* out) const;
  Marks NormalizeMarked(const Piece& segment, Scratch& scratch) const;

  BpeModel model_;
  Normalizers normalizers_;
  PreTokenizers pre_tokenizers_;
  PostProcessor post_processor_;
  Decoders decoders_;
  bool has_decoder_ = false;
  AddedTokenMatcher raw_tokens_;         // matched in the text as it comes
  AddedTokenMatcher normalized_tokens_;  // matched in normalised text
  absl::flat_hash_map<std::string, int32_t> added_ids_;
  absl::flat_hash_map<int32_t, AddedToken> added_;
  int32_t last_added_id_ = -1;  // the largest
  int32_t vocab_size_ = 0;
  std::vector<std::pair<std::string, std::string>> special_tokens_;
  std::string eos_token_;
  std::string fingerprint_;
  mutable ScratchPool scratches_;
};

// Returns `document`[`name`], null when absent.
const json& Section(const json& document, const char* name) {
  static const json null;
  const auto it = document.find(name);
  return it == document.end() ? null : *it;
}

// Added tokens come last: their patterns go through the normalizers.
absl::Status BpeTokenizer::Init(AutoTokenizer parts) {
  const json& document = parts.json.rest;
  FTD_ASSIGN_OR_RETURN(normalizers_, ParseNormalizers(Section(document, "normalizer")));
  FTD_ASSIGN_OR_RETURN(pre_tokenizers_, PreTokenizers::Parse(Section(document, "pre_tokenizer"),
                                                             model_.takes_bytes()));
  FTD_ASSIGN_OR_RETURN(post_processor_, PostProcessor::Parse(Section(document, "post_processor")));
  FTD_ASSIGN_OR_RETURN(decoders_, ParseDecoders(Section(document, "decoder")));
  has_decoder_ = !Section(document, "decoder").is_null();
  vocab_size_ = model_.end_id();
  special_tokens_ = std::move(parts.special_tokens);
  eos_token_ = std::move(parts.eos_token);
  fingerprint_ = std::move(parts.fingerprint);
  return AddTokens(Section(document, "added_tokens"), parts.added);
}

absl::StatusOr<AddedToken> ParseAddedToken(const json& entry) {
  constexpr std::string_view kWhat = "an added token";
  AddedToken token;
  FTD_ASSIGN_OR_RETURN(token.content, StringField(entry, "content", kWhat));
  FTD_ASSIGN_OR_RETURN(token.single_word, BoolField(entry, "single_word", kWhat));
  FTD_ASSIGN_OR_RETURN(token.lstrip, BoolField(entry, "lstrip", kWhat));
  FTD_ASSIGN_OR_RETURN(token.rstrip, BoolField(entry, "rstrip", kWhat));
  FTD_ASSIGN_OR_RETURN(token.normalized, BoolField(entry, "normalized", kWhat));
  FTD_ASSIGN_OR_RETURN(token.special, BoolField(entry, "special", kWhat));
  return token;
}

absl::Status BpeTokenizer::AddTokens(const json& section, const std::vector<AddedToken>& more) {
  if (!section.is_null() && !section.is_array())
    return CorruptTokenizer("\"added_tokens\" must be an array");
  for (const json& entry : section) {
    FTD_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(entry));
    AddToken(std::move(token));
  }
  for (const AddedToken& token : more) AddToken(token);
  IndexAddedTokens();
  return absl::OkStatus();
}

// Gives ids as `tokenizers` does: the vocabulary's where it has the token, else the next free one.
// The "id" in the file is what that comes to, and is not read. A token that is added again has the
// flags of the last time.
void BpeTokenizer::AddToken(AddedToken token) {
  if (token.content.empty()) return;
  token.id = TokenToId(token.content);
  if (token.id < 0) token.id = std::max(static_cast<int32_t>(model_.size()), last_added_id_ + 1);
  last_added_id_ = std::max(last_added_id_, token.id);
  vocab_size_ = std::max(vocab_size_, token.id + 1);
  added_ids_[token.content] = token.id;
  added_[token.id] = std::move(token);
}

// A token with `normalized` is searched in normalised text, so its pattern is normalised as well.
void BpeTokenizer::IndexAddedTokens() {
  RegexScratch scratch;
  std::vector<AddedToken> raw, normalized;
  for (auto& [id, token] : added_) {
    token.pattern = token.content;
    if (token.normalized) Normalize(normalizers_, &token.pattern, scratch);
    (token.normalized ? normalized : raw).push_back(token);
  }
  raw_tokens_ = AddedTokenMatcher(std::move(raw));
  normalized_tokens_ = AddedTokenMatcher(std::move(normalized));
}

std::vector<int32_t> BpeTokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  // Bytes that are not UTF-8 become U+FFFD; everything below relies on valid UTF-8.
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = RepairUtf8(text);
    text = repaired;
  }
  std::vector<int32_t> ids = EncodeValid(text, nullptr).ids;
  return add_special_tokens ? post_processor_.Apply(std::move(ids)) : ids;
}

std::vector<int32_t> BpeTokenizer::EncodeAt(std::string_view text,
                                            const std::vector<size_t>& positions,
                                            std::vector<size_t>* tokens) const {
  Marks marks;
  for (const size_t position : positions) marks.push_back(text.data() + position);
  Encoded encoded = EncodeValid(text, &marks);
  *tokens = std::move(encoded.tokens);
  tokens->resize(positions.size(), encoded.ids.size());
  return std::move(encoded.ids);
}

// text → added tokens → normalise → added tokens → pre-tokenise → BPE. Thread-safe: each call has a
// scratch of its own.
Encoded BpeTokenizer::EncodeValid(std::string_view text, const Marks* marks) const {
  std::unique_ptr<Scratch> scratch = scratches_.Take();
  Encoded out;
  // A token is some four bytes of English; a little more is reserved.
  out.ids.reserve(text.size() / 3 + 8);
  raw_tokens_.Split(text, [&](std::string_view piece, int32_t id) {
    // Only the text's own start counts for Metaspace's "first".
    const Piece segment{piece, piece.data() == text.data(), marks};
    id >= 0 ? out.AddToken(segment, id) : EncodeSegment(segment, *scratch, &out);
  });
  scratches_.Give(std::move(scratch));
  return out;
}

// Encodes a stretch of text that holds no token of raw_tokens_.
void BpeTokenizer::EncodeSegment(const Piece& segment, Scratch& scratch, Encoded* out) const {
  Piece normal = segment;
  Marks marks;
  if (!normalizers_.empty()) {
    scratch.normalized.assign(segment.text);
    if (segment.marks == nullptr) {
      Normalize(normalizers_, &scratch.normalized, scratch.regex);
    } else {
      marks = NormalizeMarked(segment, scratch);
      normal.marks = &marks;
    }
    normal.text = scratch.normalized;
  }
  normalized_tokens_.Split(normal.text, [&](std::string_view text, int32_t id) {
    const Piece piece{text, normal.at_start && text.data() == normal.text.data(), normal.marks};
    if (id >= 0) return out->AddToken(piece, id);
    // Without marks the words are not looked at; this loop is the one that must be fast.
    if (piece.marks == nullptr) {
      return pre_tokenizers_.ForEachWord(piece, scratch.regex, [&](const Piece& word) {
        model_.EncodeWord(word.text, scratch.bpe, &out->ids);
      });
    }
    pre_tokenizers_.ForEachWord(piece, scratch.regex,
                                [&](const Piece& word) { EncodeMarked(word, scratch, out); });
  });
}

void BpeTokenizer::EncodeMarked(const Piece& word, Scratch& scratch, Encoded* out) const {
  if (!out->ReachesMark(word)) return model_.EncodeWord(word.text, scratch.bpe, &out->ids);
  std::vector<size_t> ends;
  model_.EncodeWord(word.text, scratch.bpe, &out->ids, &ends);
  out->LocateMarks(word, ends);
}

// Normalises scratch.normalized, a copy of `segment`, and returns the marks there. Those before the
// segment go to its beginning, those after it to its end.
Marks BpeTokenizer::NormalizeMarked(const Piece& segment, Scratch& scratch) const {
  const char* const begin = segment.text.data();
  const auto inside = std::lower_bound(segment.marks->begin(), segment.marks->end(), begin);
  const auto after = std::lower_bound(inside, segment.marks->end(), begin + segment.text.size());
  std::vector<size_t> positions;
  for (auto mark = inside; mark != after; ++mark) positions.push_back(*mark - begin);
  Normalize(normalizers_, &scratch.normalized, scratch.regex, &positions);
  const std::string& normalized = scratch.normalized;
  Marks marks(inside - segment.marks->begin(), normalized.data());
  for (const size_t position : positions) marks.push_back(normalized.data() + position);
  marks.resize(segment.marks->size(), normalized.data() + normalized.size());
  return marks;
}

std::string BpeTokenizer::Decode(const std::vector<int32_t>& ids) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    // Added tokens win over the vocabulary, as in `tokenizers`.
    const auto added = added_.find(id);
    if (added != added_.end()) {
      tokens.push_back(added->second.pattern);
    } else if (const std::string_view token = model_.IdToToken(id); !token.empty()) {
      tokens.emplace_back(token);
    }
  }
  // A file without a decoder has words as tokens, and `tokenizers` puts a space between them.
  if (!has_decoder_) return absl::StrJoin(tokens, " ");
  for (const auto& step : decoders_) step->Apply(&tokens);
  return absl::StrJoin(tokens, "");
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Build(AutoTokenizer parts) {
  const json& document = parts.json.rest;
  if (!document.is_object()) return CorruptTokenizer("must be an object");
  const auto model = document.find("model");
  if (model == document.end() || !model->is_object())
    return CorruptTokenizer("\"model\" must be an object");
  // Files from before 2020 leave the type out; the merges show that it is BPE.
  FTD_ASSIGN_OR_RETURN(const std::string type,
                       StringFieldOr(*model, "type", parts.json.has_merges ? "BPE" : "?", "model"));
  if (type != "BPE")
    return UnsupportedTokenizer(Concat("the model ", type, " is not supported, only BPE is"));
  const bool byte_level = PreTokenizers::EndsWithByteLevel(Section(document, "pre_tokenizer"));
  FTD_ASSIGN_OR_RETURN(BpeModel bpe, BpeModel::Build(parts.json, byte_level));
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(bpe));
  FTD_RETURN_IF_ERROR(tokenizer->Init(std::move(parts)));
  return tokenizer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view tokenizer_json) {
  AutoTokenizer parts;
  FTD_ASSIGN_OR_RETURN(parts.json, ParseModelJson(tokenizer_json));
  return Build(std::move(parts));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& model_dir) {
  FTD_ASSIGN_OR_RETURN(AutoTokenizer parts, ReadAutoTokenizer(model_dir));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Build(std::move(parts));
  if (!tokenizer.ok())
    return Prefixed(tokenizer.status(), Concat((model_dir / "tokenizer.json").string(), ": "));
  return tokenizer;
}

}  // namespace ftd
