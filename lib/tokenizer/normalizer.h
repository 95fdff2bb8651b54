// The normalizers of tokenizer.json.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tokenizer/regex/regex.h"
#include "nlohmann/json.hpp"

namespace ftd {

// One step. Immutable, usable from many threads with a scratch each.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Rewrites `text`, which is valid UTF-8 and stays so.
  virtual void Apply(std::string* text, RegexScratch& scratch) const = 0;
  // Returns the byte of `after`, which Apply makes of `before`, to which the character at byte
  // `position` of `before` has gone; for a dropped one, that of the next character. O(n).
  virtual size_t Follow(std::string_view before, size_t position, std::string_view after,
                        RegexScratch& scratch) const;
};

using Normalizers = std::vector<std::unique_ptr<Normalizer>>;

// Applies the steps in order, and moves each of `positions`, if given, to where its character goes.
void Normalize(const Normalizers& steps, std::string* text, RegexScratch& scratch,
               std::vector<size_t>* positions = nullptr);

// The steps of a "normalizer" section, in order; none for null. Sequence, NFC, NFD, NFKC, NFKD,
// Prepend, Replace, Lowercase, Strip; MODEL_UNSUPPORTED names any other, MODEL_CORRUPT a bad field.
absl::StatusOr<Normalizers> ParseNormalizers(const nlohmann::json& section);

}  // namespace ftd
