#include "lib/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "absl/strings/str_format.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/tokenizer/byte_level.h"
#include "lib/tokenizer/json_fields.h"

namespace ftd {
namespace {

constexpr std::string_view kMeta = "\xE2\x96\x81";  // ▁, SentencePiece's space
constexpr Merge kNoMerge{std::numeric_limits<uint32_t>::max(), -1};
// Up to this many symbols, looking at every pair for the best one is faster than keeping a heap.
constexpr size_t kShortWord = 32;
// The vocabulary's memory is asked for this many merges ahead of its use.
constexpr size_t kAhead = 12;
// Scratch beyond this many elements is given back after the word that needed it.
constexpr size_t kKeptScratch = 1 << 16;

// Refuses an affix that only WordPiece-like vocabularies have: null and "" are fine.
absl::Status NoAffix(const nlohmann::json& model, const char* name) {
  FTD_ASSIGN_OR_RETURN(const std::string affix, StringFieldOr(model, name, "", "model BPE"));
  if (affix.empty()) return absl::OkStatus();
  return UnsupportedTokenizer(
      Concat("a BPE model with ", name, " \"", affix, "\" is not supported"));
}

}  // namespace

absl::StatusOr<BpeModel> BpeModel::Build(const ModelJson& json, bool byte_words) {
  if (!json.has_vocab || !json.has_merges)
    return CorruptTokenizer("model BPE: vocab or merges is missing");
  BpeModel model;
  std::string unk_token;
  FTD_RETURN_IF_ERROR(model.SetOptions(json.rest["model"], &unk_token));
  model.IndexVocabulary(json);
  model.unk_id_ = unk_token.empty() ? -1 : model.by_spelling_.Find(unk_token);
  // After a ByteLevel pre-tokenizer each letter stands for a byte. The words then come as the bytes
  // themselves, and the vocabulary is indexed by bytes, which saves translating every word.
  if (byte_words) {
    bool complete = true;
    for (int b = 0; b < 256; ++b) {
      const char byte = static_cast<char>(b);
      complete = complete && model.by_spelling_.Find(BytesToAlphabet({&byte, 1})) >= 0;
    }
    // A byte that has no token is dropped, or becomes the tokens of its letter: then letters are
    // what counts.
    model.takes_bytes_ = complete || (model.unk_id_ < 0 && !model.byte_fallback_);
    if (model.takes_bytes_) model.IndexBytes();
  }
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    // Unless words are bytes, only ASCII characters are one byte long.
    model.single_ids_[b] = model.takes_bytes_ || b < 0x80 ? model.words().Find({&byte, 1}) : -1;
    model.fallback_ids_[b] = model.by_spelling_.Find(absl::StrFormat("<0x%02X>", b));
  }
  FTD_RETURN_IF_ERROR(model.IndexMerges(json));
  return model;
}

absl::Status BpeModel::SetOptions(const nlohmann::json& model, std::string* unk_token) {
  FTD_RETURN_IF_ERROR(NoAffix(model, "continuing_subword_prefix"));
  FTD_RETURN_IF_ERROR(NoAffix(model, "end_of_word_suffix"));
  // Dropout would make the tokens of a text random.
  const auto dropout = model.find("dropout");
  if (dropout != model.end() && !dropout->is_null() &&
      !(dropout->is_number() && dropout->get<double>() == 0)) {
    return UnsupportedTokenizer(
        "a BPE model with dropout is not supported: set \"dropout\" to null");
  }
  FTD_ASSIGN_OR_RETURN(*unk_token, StringFieldOr(model, "unk_token", "", "model BPE"));
  FTD_ASSIGN_OR_RETURN(fuse_unk_, BoolFieldOr(model, "fuse_unk", false, "model BPE"));
  FTD_ASSIGN_OR_RETURN(byte_fallback_, BoolFieldOr(model, "byte_fallback", false, "model BPE"));
  FTD_ASSIGN_OR_RETURN(ignore_merges_, BoolFieldOr(model, "ignore_merges", false, "model BPE"));
  return absl::OkStatus();
}

void BpeModel::IndexVocabulary(const ModelJson& json) {
  // One string holds all spellings, instead of an allocation for each token.
  size_t bytes = 0;
  int32_t end = 0;
  for (const ModelJson::Token& token : json.vocab) {
    bytes += token.text.size;
    end = std::max(end, token.id + 1);
  }
  tokens_.assign(end, {0, 0});
  spellings_.reserve(bytes);
  by_spelling_.Reserve(json.vocab.size(), bytes);
  for (const ModelJson::Token& token : json.vocab) {
    const std::string_view text = json.view(token.text);
    // A spelling that comes twice gets the later id.
    if (by_spelling_.Find(text) < 0) ++size_;
    by_spelling_.Insert(text, token.id);
    tokens_[token.id] = {static_cast<uint32_t>(spellings_.size()), token.text.size};
    spellings_.append(text);
  }
}

// Indexes the vocabulary by the bytes that tokens stand for. Tokens with a code point outside the
// alphabet match no bytes, and are left out.
void BpeModel::IndexBytes() {
  byte_words_.Reserve(tokens_.size(), spellings_.size());
  for (int32_t id = 0; id < end_id(); ++id) {
    const std::string_view spelling = IdToToken(id);
    // This spelling belongs to a later id.
    if (by_spelling_.Find(spelling) != id) continue;
    const auto bytes = AlphabetToBytes(spelling);
    if (bytes.has_value() && !bytes->empty()) byte_words_.Insert(*bytes, id);
  }
}

absl::Status BpeModel::IndexMerges(const ModelJson& json) {
  merges_.Reserve(json.merges.size());
  // A SentencePiece model has no pre-tokenizer: its "word" is the whole text, with ▁ for spaces. If
  // no merge reaches over the beginning of a ▁, the text may be split there without changing a
  // token, and the parts are short and found in the cache. ▁ itself has to be a token, so that
  // unknown tokens on its two sides are never fused; and no character may vanish, or else the ▁s
  // beside it would meet.
  const bool none_vanishes =
      unk_id_ >= 0 || (byte_fallback_ && std::all_of(fallback_ids_.begin(), fallback_ids_.end(),
                                                     [](int32_t id) { return id >= 0; }));
  splits_at_meta_ =
      !takes_bytes_ && !ignore_merges_ && by_spelling_.Find(kMeta) >= 0 && none_vanishes;
  std::string joined;
  for (size_t rank = 0; rank < json.merges.size(); ++rank) {
    // Each lookup is a miss of the CPU's caches; asking for the memory ahead of time hides part of
    // the wait.
    if (rank + kAhead < json.merges.size()) {
      const ModelJson::MergePair& ahead = json.merges[rank + kAhead];
      by_spelling_.Prefetch(json.view(ahead.left));
      by_spelling_.Prefetch(json.view(ahead.right));
      by_spelling_.Prefetch(joined.assign(json.view(ahead.left)).append(json.view(ahead.right)));
    }
    const std::string_view left = json.view(json.merges[rank].left);
    const std::string_view right = json.view(json.merges[rank].right);
    joined.assign(left);
    joined.append(right);
    const int32_t left_id = by_spelling_.Find(left);
    const int32_t right_id = by_spelling_.Find(right);
    const int32_t joined_id = by_spelling_.Find(joined);
    if (left_id < 0 || right_id < 0 || joined_id < 0) {
      return CorruptTokenizer(Concat("merge ", rank, " (\"", left, "\" \"", right,
                                     "\") has no token for \"",
                                     left_id < 0    ? left
                                     : right_id < 0 ? right
                                                    : joined,
                                     "\""));
    }
    merges_.Insert(left_id, right_id, {static_cast<uint32_t>(rank), joined_id});
    // This merge would join a part to the ▁ after it.
    if (right.starts_with(kMeta) && !left.ends_with(kMeta)) splits_at_meta_ = false;
  }
  return absl::OkStatus();
}

int32_t BpeModel::TokenToId(std::string_view token) const { return by_spelling_.Find(token); }

std::string_view BpeModel::IdToToken(int32_t id) const {
  if (id < 0 || id >= end_id()) return {};
  return std::string_view(spellings_).substr(tokens_[id].first, tokens_[id].second);
}

void BpeModel::EncodeWord(std::string_view word, BpeScratch& scratch,
                          std::vector<int32_t>* out) const {
  if (!splits_at_meta_) return EncodePart(word, scratch, out);
  size_t begin = 0;
  for (size_t meta = word.find(kMeta); meta != std::string_view::npos;
       // A run of ▁ stays in one part, because ▁ may merge with ▁ ("▁▁▁▁" for indentation).
       meta = word.find(kMeta, meta + kMeta.size())) {
    if (meta == begin || word.substr(begin, meta - begin).ends_with(kMeta)) continue;
    EncodePart(word.substr(begin, meta - begin), scratch, out);
    begin = meta;
  }
  EncodePart(word.substr(begin), scratch, out);
}

void BpeModel::EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>* out,
                          std::vector<size_t>* ends) const {
  EncodeAnew(word, HashBytes(word), scratch, out, ends);
}

void BpeModel::EncodePart(std::string_view word, BpeScratch& scratch,
                          std::vector<int32_t>* out) const {
  if (word.empty()) return;
  // Single bytes are frequent, and cheaper to look up here than in the cache.
  if (word.size() == 1 && single_ids_[static_cast<unsigned char>(word[0])] >= 0) {
    out->push_back(single_ids_[static_cast<unsigned char>(word[0])]);
    return;
  }
  const uint64_t hash = HashBytes(word);
  if (scratch.cache.Find(word, hash, out)) return;
  const size_t begin = out->size();
  EncodeAnew(word, hash, scratch, out, /*ends=*/nullptr);
  scratch.cache.Insert(word, hash, out->data() + begin, out->size() - begin);
}

// `ends` may be null.
void BpeModel::EncodeAnew(std::string_view word, uint64_t hash, BpeScratch& scratch,
                          std::vector<int32_t>* out, std::vector<size_t>* ends) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch.symbols;
  symbols.clear();
  // ignore_merges (Llama 3): a word that is a token as a whole is taken as such, even if no
  // sequence of merges leads to it.
  const int32_t whole = ignore_merges_ ? words().Find(word, hash) : -1;
  if (whole >= 0) {
    symbols.push_back({whole, static_cast<uint32_t>(word.size())});
  } else {
    ToSymbols(word, &symbols);
    symbols.size() <= kShortWord ? MergeShort(scratch) : MergeLong(scratch);
  }
  for (const BpeScratch::Symbol& symbol : symbols) {
    out->push_back(symbol.id);
    if (ends != nullptr) ends->push_back(symbol.end);
  }
  // A text without spaces makes one huge word; its memory must not stay with the thread.
  if (symbols.capacity() > kKeptScratch) symbols = {};
}

// Appends the symbols before any merge. As in `tokenizers`, byte tokens do not flush an unknown
// token that waits to be fused.
void BpeModel::ToSymbols(std::string_view word, std::vector<BpeScratch::Symbol>* symbols) const {
  const auto append = [&](int32_t id, size_t end) {
    symbols->push_back({id, static_cast<uint32_t>(end)});
  };
  // A byte without a token is dropped, as `tokenizers` drops what it has neither token nor unk for.
  if (takes_bytes_) {
    for (size_t pos = 0; pos < word.size(); ++pos) {
      const int32_t id = single_ids_[static_cast<unsigned char>(word[pos])];
      if (id >= 0) append(id, pos + 1);
    }
    return;
  }
  size_t unk_end = 0;  // where the unknown token ends that waits; 0: none does
  for (size_t pos = 0, length; pos < word.size(); pos += length) {
    const auto lead = static_cast<unsigned char>(word[pos]);
    length = Utf8Length(lead);
    const size_t end = pos + length;
    const int32_t id =
        lead < 0x80 ? single_ids_[lead] : by_spelling_.Find(word.substr(pos, length));
    if (id >= 0) {
      if (unk_end > 0) append(unk_id_, unk_end);
      unk_end = 0;
      append(id, end);
    } else if (!(byte_fallback_ && ToByteTokens(word, pos, end, symbols)) && unk_id_ >= 0) {
      if (unk_end > 0 && !fuse_unk_) append(unk_id_, unk_end);
      unk_end = end;
    }
  }
  if (unk_end > 0) append(unk_id_, unk_end);
}

// Appends the byte tokens (<0xE2> …) of the character from `begin` to `end`. Returns false, with
// nothing appended, if one of the bytes has no token.
bool BpeModel::ToByteTokens(std::string_view word, size_t begin, size_t end,
                            std::vector<BpeScratch::Symbol>* symbols) const {
  const auto token = [&](size_t pos) {
    return fallback_ids_[static_cast<unsigned char>(word[pos])];
  };
  for (size_t pos = begin; pos < end; ++pos) {
    if (token(pos) < 0) return false;
  }
  for (size_t pos = begin; pos < end; ++pos)
    symbols->push_back({token(pos), static_cast<uint32_t>(pos + 1)});
  return true;
}

// Merges scratch.symbols in place: again and again the pair of least rank, the leftmost of equals.
// merges[i] is the merge of symbols[i] and symbols[i + 1]. O(n²) for a small n.
void BpeModel::MergeShort(BpeScratch& scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch.symbols;
  std::vector<Merge>& merges = scratch.merges;
  const auto find = [&](size_t i) {
    const Merge* merge = merges_.Find(symbols[i].id, symbols[i + 1].id);
    return merge == nullptr ? kNoMerge : *merge;
  };
  merges.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) merges.push_back(find(i));
  while (!merges.empty()) {
    const auto best =
        std::min_element(merges.begin(), merges.end(),
                         [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->rank == kNoMerge.rank) return;
    const size_t i = best - merges.begin();
    symbols[i] = {best->id, symbols[i + 1].end};
    symbols.erase(symbols.begin() + i + 1);
    merges.erase(best);
    // Only the two neighbours of the merged pair have changed.
    if (i > 0) merges[i - 1] = find(i - 1);
    if (i < merges.size()) merges[i] = find(i);
  }
}

// The same with a heap over a linked list, in O(n log n). An entry of the heap whose pair has
// changed since it was pushed is recognised by what the pair merges to now. A removed symbol has id
// -1.
void BpeModel::MergeLong(BpeScratch& scratch) const {
  auto& links = scratch.links;
  auto& heap = scratch.heap;
  const auto count = static_cast<int32_t>(scratch.symbols.size());
  links.clear();
  heap.clear();
  const auto push = [&](int32_t left, int32_t right) {
    const Merge* merge = merges_.Find(links[left].symbol.id, links[right].symbol.id);
    if (merge == nullptr) return;
    // The least rank first, then the leftmost position.
    heap.push_back({merge->rank, left, merge->id});
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (int32_t i = 0; i < count; ++i)
    links.push_back({scratch.symbols[i], i - 1, i + 1 < count ? i + 1 : -1});
  for (int32_t i = 0; i + 1 < count; ++i) push(i, i + 1);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const BpeScratch::Candidate top = heap.back();
    heap.pop_back();
    BpeScratch::Link& left = links[top.position];
    if (left.symbol.id < 0 || left.next < 0) continue;
    const int32_t removed = left.next;
    const Merge* merge = merges_.Find(left.symbol.id, links[removed].symbol.id);
    if (merge == nullptr || merge->id != top.id) continue;
    left.symbol = {top.id, links[removed].symbol.end};
    left.next = links[removed].next;
    links[removed].symbol.id = -1;
    if (left.next >= 0) links[left.next].prev = top.position;
    // The pairs with the new symbol are candidates now; their old entries stay in the heap, out of
    // date.
    if (left.prev >= 0) push(left.prev, top.position);
    if (left.next >= 0) push(top.position, left.next);
  }
  scratch.symbols.clear();
  for (const BpeScratch::Link& link : links) {
    if (link.symbol.id >= 0) scratch.symbols.push_back(link.symbol);
  }
  if (links.capacity() > kKeptScratch) links = {};
  if (heap.capacity() > kKeptScratch) heap = {};
}

}  // namespace ftd
