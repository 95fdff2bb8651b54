// The differences between the Unicode of Hugging Face's `tokenizers` and that of PCRE2 and
// utf8proc. Made by make_unicode_tables.py.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/base/code_points.h"

namespace ftd {

struct MappedRange {
  uint32_t first, last, target;
};

// Code points whose category, or membership in \s, a regex would see wrongly: `target` stands for
// each of the range, has the right category and the same length in UTF-8.
extern const MappedRange kRegexProxies[];
extern const size_t kRegexProxiesSize;

// Digits to the Digits pre-tokenizer (Rust's char::is_numeric).
extern const CodePointRange kNumeric[];
extern const size_t kNumericSize;

// Part of a word to an added token with single_word (\w of Rust's regex crate).
extern const CodePointRange kWord[];
extern const size_t kWordSize;

// Code points that `tokenizers` neither reorders, decomposes nor composes, though today's Unicode
// would.
extern const CodePointRange kInertMarks[];
extern const size_t kInertMarksSize;

// Lower case where utf8proc differs; `target` belongs to `first`, the next one to first + 1, and so
// on.
extern const MappedRange kLowerExceptions[];
extern const size_t kLowerExceptionsSize;

}  // namespace ftd
