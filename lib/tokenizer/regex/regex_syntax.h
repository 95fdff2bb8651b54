// From Oniguruma's regular expressions, which tokenizer.json is written in, to PCRE2's.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ftd {

struct Pcre2Pattern {
  std::string pattern;
  // True when the pattern names no code point beyond ASCII by itself, only properties of them: then
  // another code point of the same kind may stand in for one that PCRE2's Unicode does not know
  // yet.
  bool by_property = true;
};

// The pattern that means to PCRE2, with UTF, UCP and MULTILINE, what `pattern` means to Oniguruma
// in Ruby's syntax. MODEL_UNSUPPORTED, naming the construct, for what the two see differently and
// no tokenizer in use needs.
absl::StatusOr<Pcre2Pattern> TranslateOniguruma(std::string_view pattern);

}  // namespace ftd
