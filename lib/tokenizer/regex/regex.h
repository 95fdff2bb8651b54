// PCRE2 as the pattern engine of Split, ByteLevel and Replace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace ftd {

// The memory that a match writes to. One per thread at a time; it serves any Regex.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
};

// A half-open range of bytes, and whether the pattern matched it.
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool is_match = false;
};

// Immutable, usable from many threads with a scratch each.
class Regex {
 public:
  // `pattern` is Oniguruma's (regex_syntax.h). MODEL_UNSUPPORTED when PCRE2 does not take it.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);
  // Matches `literal` itself. Requires: not empty.
  static Regex Literal(std::string_view literal);

  // Calls `sink` for the matches of `text` and for what lies between them, in order; together they
  // cover `text`, which is valid UTF-8. Matches may be empty. Where PCRE2 gives up, the rest counts
  // as one stretch without match.
  void ForEachSpan(std::string_view text, RegexScratch& scratch,
                   absl::FunctionRef<void(Span)> sink) const;

 private:
  struct CodeDeleter {
    void operator()(pcre2_real_code_8* code) const;
  };

  // The next match that begins at `start` or later; false when there is none.
  bool Find(std::string_view subject, size_t start, RegexScratch& scratch, Span* match) const;

  std::unique_ptr<pcre2_real_code_8, CodeDeleter> code_;  // null for a literal
  std::string literal_;
  bool jit_ = false;
  bool by_property_ = false;
};

}  // namespace ftd
