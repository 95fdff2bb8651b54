#define PCRE2_CODE_UNIT_WIDTH 8
#include "lib/tokenizer/regex/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <bitset>
#include <new>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/tokenizer/regex/regex_syntax.h"
#include "lib/tokenizer/regex/unicode_tables.h"

namespace ftd {
namespace {

// PCRE2's own JIT stack of 32 KiB may be too small for a long text; this one grows to 8 MiB.
constexpr size_t kJitStackMin = 32 << 10;
constexpr size_t kJitStackMax = 8 << 20;

// Returns which blocks of 256 code points contain one with a proxy: a single bit rules out nearly
// all text.
std::bitset<0x1100> ProxyBlocks() {
  std::bitset<0x1100> blocks;
  for (size_t i = 0; i < kRegexProxiesSize; ++i) {
    for (uint32_t b = kRegexProxies[i].first >> 8; b <= kRegexProxies[i].last >> 8; ++b)
      blocks.set(b);
  }
  return blocks;
}

// Returns the code point that stands for `point` in a match: another of the same category that
// PCRE2's older Unicode knows, and with as many bytes, so that offsets stay.
uint32_t ProxyOf(uint32_t point) {
  static const std::bitset<0x1100> blocks = ProxyBlocks();
  if (!blocks.test(point >> 8)) return point;
  const MappedRange* end = kRegexProxies + kRegexProxiesSize;
  const MappedRange* range = std::upper_bound(
      kRegexProxies, end, point, [](uint32_t p, const MappedRange& r) { return p < r.first; });
  if (range == kRegexProxies || (--range)->last < point) return point;
  return range->target;
}

// Returns `text` as PCRE2 should see it: the same bytes, except for code points that its Unicode
// does not know yet. `copy` holds the result when it differs.
std::string_view WithProxies(std::string_view text, std::string& copy) {
  bool copied = false;
  for (size_t pos = 0; pos < text.size();) {
    const auto lead = static_cast<unsigned char>(text[pos]);
    const size_t length = Utf8Length(lead);
    if (lead >= 0xE0) {  // the proxied ones take three bytes or more
      const uint32_t point = DecodeUtf8(text, pos);
      const uint32_t proxy = ProxyOf(point);
      if (proxy != point) {
        if (!copied) copy.assign(text);
        copied = true;
        std::string bytes;
        AppendUtf8(proxy, &bytes);
        copy.replace(pos, length, bytes);
      }
    }
    pos += length;
  }
  return copied ? std::string_view(copy) : text;
}

}  // namespace

RegexScratch::RegexScratch()
    : data_(pcre2_match_data_create_8(1, nullptr)),
      context_(pcre2_match_context_create_8(nullptr)),
      stack_(pcre2_jit_stack_create_8(kJitStackMin, kJitStackMax, nullptr)) {
  if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
  if (stack_ != nullptr) pcre2_jit_stack_assign_8(context_, nullptr, stack_);
}

RegexScratch::~RegexScratch() {
  pcre2_jit_stack_free_8(stack_);
  pcre2_match_context_free_8(context_);
  pcre2_match_data_free_8(data_);
}

void Regex::CodeDeleter::operator()(pcre2_real_code_8* code) const { pcre2_code_free_8(code); }

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  FTD_ASSIGN_OR_RETURN(const Pcre2Pattern translated, TranslateOniguruma(pattern));
  Regex regex;
  regex.by_property_ = translated.by_property;
  int error = 0;
  size_t offset = 0;
  pcre2_compile_context_8* context = pcre2_compile_context_create_8(nullptr);
  // Oniguruma knows \n alone as the end of a line.
  pcre2_set_newline_8(context, PCRE2_NEWLINE_LF);
  regex.code_.reset(pcre2_compile_8(
      reinterpret_cast<PCRE2_SPTR8>(translated.pattern.data()), translated.pattern.size(),
      // MULTILINE: in Ruby's syntax ^ and $ always match at lines. \C could split a character.
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context));
  pcre2_compile_context_free_8(context);
  if (regex.code_ == nullptr) {
    PCRE2_UCHAR8 reason[256] = {};
    pcre2_get_error_message_8(error, reason, sizeof(reason));
    return Error(Reason::kModelUnsupported,
                 Concat("the regular expression '", pattern, "' is not one that ftd understands: ",
                        reinterpret_cast<const char*>(reason)));
  }
  regex.jit_ = pcre2_jit_compile_8(regex.code_.get(), PCRE2_JIT_COMPLETE) == 0;
  return regex;
}

Regex Regex::Literal(std::string_view literal) {
  Regex regex;
  regex.literal_ = literal;
  return regex;
}

// A literal needs no engine. Any error, such as a match limit, counts as no match.
bool Regex::Find(std::string_view subject, size_t start, RegexScratch& scratch, Span* match) const {
  if (code_ == nullptr) {
    match->begin = subject.find(literal_, start);
    match->end = match->begin + literal_.size();
    return match->begin != std::string_view::npos;
  }
  const auto* bytes = reinterpret_cast<PCRE2_SPTR8>(subject.data());
  // Without a JIT the interpreter runs; likewise where the JIT's stack was too small.
  int rc = PCRE2_ERROR_JIT_STACKLIMIT;
  if (jit_) {
    rc = pcre2_jit_match_8(code_.get(), bytes, subject.size(), start, 0, scratch.data_,
                           scratch.context_);
  }
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    // The caller guarantees valid UTF-8; the JIT never checks it.
    rc = pcre2_match_8(code_.get(), bytes, subject.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                       scratch.data_, scratch.context_);
  }
  if (rc < 0) return false;
  const size_t* ends = pcre2_get_ovector_pointer_8(scratch.data_);
  match->begin = ends[0];
  match->end = ends[1];
  return match->begin <= match->end;
}

// Steps as the onig crate's find_iter does: an empty match right after the last match does not
// count.
void Regex::ForEachSpan(std::string_view text, RegexScratch& scratch,
                        absl::FunctionRef<void(Span)> sink) const {
  std::string copy;
  const std::string_view subject = by_property_ ? WithProxies(text, copy) : text;
  size_t covered = 0;
  size_t start = 0;
  size_t last_end = std::string_view::npos;
  Span match;
  while (start <= text.size() && Find(subject, start, scratch, &match)) {
    if (match.begin == match.end && match.end == last_end) {
      start += start < text.size() ? Utf8Length(static_cast<unsigned char>(text[start])) : 1;
      continue;
    }
    if (covered < match.begin) sink({covered, match.begin, false});
    sink({match.begin, match.end, true});
    start = covered = last_end = match.end;
  }
  if (covered < text.size()) sink({covered, text.size(), false});
}

}  // namespace ftd
