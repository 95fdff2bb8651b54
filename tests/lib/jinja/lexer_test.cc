#include "lib/jinja/lexer.h"

#include <gtest/gtest.h>

#include "lib/jinja/failure.h"
#include "lib/jinja/literals.h"

namespace ftd::jinja {
namespace {

// The tokens, each by its kind's letter and its text.
std::string Written(std::string_view source) {
  constexpr std::string_view kLetters = "D{}<>nsifo.";
  std::string out;
  const std::string normalized = NormalizeSource(source);
  for (const Token& token : Tokenize(normalized)) {
    if (token.kind == TokenKind::kEnd) break;
    out.push_back(kLetters[static_cast<size_t>(token.kind)]);
    out.append(token.text);
    if (token.kind == TokenKind::kInteger) out.append(std::to_string(token.integer));
    out.push_back('|');
  }
  return out;
}

TEST(Lexer, Tokens) {
  const struct {
    const char* what;
    std::string_view source;
    std::string_view tokens;
  } cases[] = {
      {"text alone", "a { b } %}", "Da { b } %}|"},
      {"a newline at the end", "a\n", "Da|"},
      {"newlines of all kinds", "a\r\nb\rc", "Da\nb\nc|"},
      {"names and numbers", "{{ a1 12 0x1f 1_0 }}", "{|na1|i12|i31|i10|}|"},
      {"a float is not an attribute", "{{ a.1.2 }}", "{|na|o.|i1|o.|i2|}|"},
      {"operators, the longest first", "{{ **//<=<!= }}", "{|o**|o//|o<=|o<|o!=|}|"},
      {"braces within an expression", "{{ {'a':{}}}}", "{|o{|sa|o:|o{|o}|o}|}|"},
      {"an end within a string", "{{ '}}' }}", "{|s}}|}|"},
      {"the newline after a block", "{% a %}\n\nb", "<|na|>|D\nb|"},
      {"kept by +", "{% a +%}\nb", "<|na|>|D\nb|"},
      {"white space before a block", "x\n  {% a %}", "Dx\n|<|na|>|"},
      {"not where text precedes it", "x {% a %}", "Dx |<|na|>|"},
      {"not before a variable", "\n  {{ a }}", "D\n  |{|na|}|"},
      {"kept by +", "  {%+ a %}", "D  |<|na|>|"},
      {"both sides by -", "a \n {%- a -%} \n b", "Da|<|na|>|Db|"},
      {"any white space by -",
       "a\xc2\xa0{{- b -}}\xe3\x80\x80"
       "c",
       "Da|{|nb|}|Dc|"},
      {"a comment", "a{# {{ x }} #}b", "Da|Db|"},
      {"a comment with signs", "a {#- c -#} b", "Da|Db|"},
      {"raw", "{% raw %}{{ a }}{% endraw %}", "D{{ a }}|"},
      {"raw keeps its first newline", "{% raw %}\na\n{% endraw %}\nb", "D\na\n|Db|"},
      {"raw with signs", "{%- raw -%} a {%- endraw -%} b", "Da|Db|"},
      {"escapes", R"({{ "\x41\n\q" }})", "{|sA\n\\q|}|"},
      {"an escape before what is not ASCII", "{{ '\\\xc3\xa9' }}", "{|s\\xe9|}|"},
  };
  for (const auto& row : cases) EXPECT_EQ(Written(row.source), row.tokens) << row.what;
}

TEST(Lexer, Refusals) {
  const struct {
    const char* what;
    std::string_view source;
    std::string_view message;
    uint32_t at;
  } cases[] = {
      {"a comment without an end", "ab{# x", "the comment has no end", 2},
      {"raw without an end", "{% raw %}x", "{% raw %} has no {% endraw %}", 0},
      {"a tag without an end", "a{{ b", "the tag has no end", 1},
      {"a string without an end", "{{ 'b", "the string has no end", 3},
      {"a bracket of another kind", "{{ (1] }}", "unexpected ']'", 5},
      {"a bracket too many", "{{ ) }}", "unexpected ')'", 3},
      {"a character that is not an operator", "{{ a ? b }}", "unexpected character '?'", 5},
      {"an integer beyond 64 bits", "{{ 9223372036854775808 }}",
       "the integer does not fit into 64 bits", 3},
      {"half an escape", R"({{ "\x4" }})", "the string has a bad escape", 3},
      {"a surrogate", R"({{ "\ud800" }})",
       "the string has a lone surrogate, which UTF-8 cannot hold", 3},
      {"a name beyond ASCII",
       "{{ gr\xc3\xb6\xc3\x9f"
       "e }}",
       "names with characters beyond ASCII are not supported", 5},
  };
  for (const auto& row : cases) {
    try {
      Tokenize(row.source);
      ADD_FAILURE() << row.what;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.message, row.message) << row.what;
      EXPECT_EQ(failure.at, row.at) << row.what;
    }
  }
}

TEST(Lexer, PositionsCountCodePoints) {
  EXPECT_EQ(PositionText("ab\nc\xc3\xa9x", 6), "line 2, column 3");
  EXPECT_EQ(PositionText("ab", 0), "line 1, column 1");
}

TEST(Literals, IntegersOfTexts) {
  const struct {
    std::string_view text;
    int base;
    ParseResult result;
    int64_t value;
  } cases[] = {
      {" -42\n", 10, ParseResult::kOk, -42},
      {"1_000", 10, ParseResult::kOk, 1000},
      {"1__0", 10, ParseResult::kInvalid, 0},
      {"", 10, ParseResult::kInvalid, 0},
      {"0x1F", 0, ParseResult::kOk, 31},
      {"1f", 16, ParseResult::kOk, 31},
      {"010", 0, ParseResult::kInvalid, 0},
      {"010", 10, ParseResult::kOk, 10},
      {"-9223372036854775808", 10, ParseResult::kOk, std::numeric_limits<int64_t>::min()},
      {"9223372036854775808", 10, ParseResult::kTooLarge, 0},
      {"\xd9\xa3\xd9\xa4", 10, ParseResult::kOk, 34},  // Arabic digits
  };
  for (const auto& row : cases) {
    int64_t value = 0;
    EXPECT_EQ(ParseInt(row.text, row.base, &value), row.result) << row.text;
    EXPECT_EQ(value, row.value) << row.text;
  }
}

}  // namespace
}  // namespace ftd::jinja
