// The BPE model of tokenizer.json: vocabulary and merges.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tokenizer/hash_tables.h"
#include "lib/tokenizer/model_json.h"
#include "lib/tokenizer/word_cache.h"

namespace ftd {

// The memory that encoding a word writes to. One per thread at a time.
struct BpeScratch {
  struct Symbol {
    int32_t id;
    uint32_t end;  // the byte of the word after the symbol's last
  };
  struct Link {
    Symbol symbol;
    int32_t prev, next;  // indices, -1 at the ends
  };
  struct Candidate {
    uint32_t rank;
    int32_t position;
    int32_t id;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  WordCache cache;
  std::vector<Symbol> symbols;
  std::vector<Merge> merges;
  std::vector<Link> links;
  std::vector<Candidate> heap;
};

// Immutable after Build; usable from many threads with a scratch each.
class BpeModel {
 public:
  // `byte_words`: words come as raw bytes, each standing for its letter of the byte alphabet
  // (byte_level.h). Where the vocabulary needs words in that alphabet all the same, takes_bytes()
  // of the result is false. Requires: json.rest["model"] is an object. MODEL_CORRUPT when merges
  // and vocabulary do not fit; MODEL_UNSUPPORTED for options that ftd lacks.
  static absl::StatusOr<BpeModel> Build(const ModelJson& json, bool byte_words);

  // True when words must be given as raw bytes.
  bool takes_bytes() const { return takes_bytes_; }

  // Appends the ids of one word of the pre-tokenizer.
  void EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>* out) const;
  // The same without the cache of words. Appends to `ends` the byte of the word at which each of
  // the tokens ends; a character that is dropped counts with the token after it.
  void EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>* out,
                  std::vector<size_t>* ends) const;

  // -1 when `token`, as tokenizer.json spells it, is not in the vocabulary.
  int32_t TokenToId(std::string_view token) const;
  // Empty for an unknown id.
  std::string_view IdToToken(int32_t id) const;
  // Number of tokens in the vocabulary, and one more than the largest id.
  size_t size() const { return size_; }
  int32_t end_id() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  BpeModel() = default;
  absl::Status SetOptions(const nlohmann::json& model, std::string* unk_token);
  void IndexVocabulary(const ModelJson& json);
  void IndexBytes();
  absl::Status IndexMerges(const ModelJson& json);
  const StringTable& words() const { return takes_bytes_ ? byte_words_ : by_spelling_; }
  void EncodePart(std::string_view word, BpeScratch& scratch, std::vector<int32_t>* out) const;
  void EncodeAnew(std::string_view word, uint64_t hash, BpeScratch& scratch,
                  std::vector<int32_t>* out, std::vector<size_t>* ends) const;
  void ToSymbols(std::string_view word, std::vector<BpeScratch::Symbol>* symbols) const;
  bool ToByteTokens(std::string_view word, size_t begin, size_t end,
                    std::vector<BpeScratch::Symbol>* symbols) const;
  void MergeShort(BpeScratch& scratch) const;
  void MergeLong(BpeScratch& scratch) const;

  bool takes_bytes_ = false;
  bool ignore_merges_ = false;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  int32_t unk_id_ = -1;
  bool splits_at_meta_ =
      false;  // no merge joins "x" with "▁y": a word may be cut before each such ▁
  size_t size_ = 0;
  std::string spellings_;
  std::vector<std::pair<uint32_t, uint32_t>> tokens_;  // by id: offset and size in spellings_
  StringTable by_spelling_;
  StringTable byte_words_;  // the same by the bytes that they stand for; empty unless takes_bytes_
  MergeTable merges_;
  std::array<int32_t, 256>
      single_ids_;  // of single bytes (takes_bytes_) or ASCII characters, or -1
  std::array<int32_t, 256> fallback_ids_;  // of <0x00> … <0xFF>, or -1
};

}  // namespace ftd
