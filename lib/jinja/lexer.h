// From a template's source to tokens: the text between tags, and what is inside them.
//
// Newlines are normalised, the last one of the source is dropped, and white space around tags is
// removed as trim_blocks, lstrip_blocks and the signs - and + say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ftd::jinja {

enum class TokenKind : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t at = 0;   // the byte of the normalised source
  std::string text;  // data, the name, the string's value, or the operator
  int64_t integer = 0;
  double real = 0;

  bool IsName(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  bool IsOperator(std::string_view sign) const {
    return kind == TokenKind::kOperator && text == sign;
  }
};

// Returns the source with "\n" for each "\r\n" and "\r", and without a "\n" at its end.
std::string NormalizeSource(std::string_view source);

// Returns the tokens, a kEnd last. Throws a Failure with its position. Requires: normalised, UTF-8.
std::vector<Token> Tokenize(std::string_view source);

// Returns "line L, column C", from 1, of a byte of the normalised source; columns are code points.
std::string PositionText(std::string_view source, uint32_t at);

}  // namespace ftd::jinja
