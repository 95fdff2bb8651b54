#include "lib/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/literals.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

enum class Tag { kComment, kBlock, kVariable, kRaw };

bool IsDigitChar(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> Run() {
    while (pos_ < source_.size()) Text();
    Add(TokenKind::kEnd, source_.size(), "");
    return std::move(tokens_);
  }

 private:
  void Add(TokenKind kind, size_t at, std::string text) {
    tokens_.push_back({kind, static_cast<uint32_t>(at), std::move(text)});
  }
  bool Starts(std::string_view text) const { return source_.substr(pos_).starts_with(text); }
  char Peek(size_t ahead = 0) const {
    return pos_ + ahead < source_.size() ? source_[pos_ + ahead] : '\0';
  }

  // Returns the position after the white space that begins at `pos`.
  size_t AfterSpace(size_t pos) const {
    while (pos < source_.size() && IsSpace(DecodeUtf8(source_, pos)))
      pos += Utf8Length(static_cast<unsigned char>(source_[pos]));
    return pos;
  }
  // Returns the length of `text` without the white space at its end.
  static size_t WithoutSpaceAtEnd(std::string_view text) {
    while (!text.empty()) {
      const size_t begin = LastCodePointBegin(text);
      if (!IsSpace(DecodeUtf8(text, begin))) break;
      text = text.substr(0, begin);
    }
    return text.size();
  }

  // The text up to the next tag, and the tag. White space before the tag goes by its sign.
  void Text() {
    const size_t begin = pos_;
    size_t tag_at = pos_;
    for (;; ++tag_at) {
      tag_at = source_.find('{', tag_at);
      if (tag_at == std::string_view::npos || tag_at + 1 >= source_.size()) {
        pos_ = source_.size();
        return AddData(begin, source_.substr(begin));
      }
      const char second = source_[tag_at + 1];
      if (second == '{' || second == '%' || second == '#') break;
    }
    pos_ = tag_at + 2;
    const char sign = Peek() == '-' || Peek() == '+' ? source_[pos_++] : ' ';
    const Tag tag = TagAt(tag_at);
    AddData(begin, Stripped(source_.substr(begin, tag_at - begin), sign, tag == Tag::kVariable));
    switch (tag) {
      case Tag::kComment:
        return Comment(tag_at);
      case Tag::kRaw:
        return Raw(tag_at);
      case Tag::kBlock:
        Add(TokenKind::kBlockBegin, tag_at, "");
        return Inside('%', TokenKind::kBlockEnd);
      case Tag::kVariable:
        Add(TokenKind::kVariableBegin, tag_at, "");
        return Inside('}', TokenKind::kVariableEnd);
    }
  }

  Tag TagAt(size_t tag_at) const {
    if (source_[tag_at + 1] == '{') return Tag::kVariable;
    if (source_[tag_at + 1] == '#') return Tag::kComment;
    return AfterRawTag() ? Tag::kRaw : Tag::kBlock;
  }

  void AddData(size_t at, std::string_view text) {
    if (!text.empty()) Add(TokenKind::kData, at, std::string(text));
  }

  std::string_view Stripped(std::string_view text, char sign, bool variable) const {
    if (sign == '-') return text.substr(0, WithoutSpaceAtEnd(text));
    if (sign == '+' || variable) return text;
    // lstrip_blocks: the tag stands alone at the beginning of its line.
    const size_t newline = text.rfind('\n');
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return text;
    return WithoutSpaceAtEnd(text.substr(line)) == 0 ? text.substr(0, line) : text;
  }

  // Called after each tag: whether the next text begins a line.
  void EndTag() { line_starting_ = pos_ > 0 && source_[pos_ - 1] == '\n'; }

  // The end of a comment or a block: a sign, the two characters, and white space as the sign says.
  // Returns the position after it, or nullopt if it does not begin at `pos`.
  std::optional<size_t> AfterEnd(size_t pos, char mark) const {
    const char sign = pos < source_.size() ? source_[pos] : '\0';
    if (sign == '-' || sign == '+') ++pos;
    if (source_.substr(pos, 2) != std::string{mark, '}'}) return std::nullopt;
    pos += 2;
    if (sign == '-') return AfterSpace(pos);
    if (sign != '+' && pos < source_.size() && source_[pos] == '\n') ++pos;  // trim_blocks
    return pos;
  }

  void Comment(size_t tag_at) {
    if (pos_ == source_.size()) return;  // Jinja2 lets "{#" end a template
    for (size_t at = pos_; at < source_.size(); ++at) {
      if (const auto after = AfterEnd(at, '#')) {
        pos_ = *after;
        return EndTag();
      }
    }
    FailAt(static_cast<uint32_t>(tag_at), "the comment has no end");
  }

  // "raw %}" after "{%" and its sign. White space after it goes only if it ends with "-%}".
  std::optional<size_t> AfterRawTag() const {
    size_t pos = AfterSpace(pos_);
    if (source_.substr(pos, 3) != "raw") return std::nullopt;
    pos = AfterSpace(pos + 3);
    if (source_.substr(pos, 3) == "-%}") return AfterSpace(pos + 3);
    return source_.substr(pos, 2) == "%}" ? std::optional<size_t>(pos + 2) : std::nullopt;
  }

  void Raw(size_t tag_at) {
    const size_t begin = *AfterRawTag();
    pos_ = begin;
    EndTag();
    if (begin == source_.size()) return;  // and "{% raw %}"
    for (size_t at = source_.find("{%", begin); at != std::string_view::npos;
         at = source_.find("{%", at + 1)) {
      pos_ = at + 2;
      const char sign = Peek() == '-' || Peek() == '+' ? source_[pos_++] : ' ';
      const size_t name = AfterSpace(pos_);
      if (source_.substr(name, 6) != "endraw") continue;
      const auto after = AfterEnd(AfterSpace(name + 6), '%');
      if (!after) continue;
      AddData(begin, Stripped(source_.substr(begin, at - begin), sign, false));
      pos_ = *after;
      return EndTag();
    }
    FailAt(static_cast<uint32_t>(tag_at), "{% raw %} has no {% endraw %}");
  }

  // The tokens of a tag up to its end, which counts only where no bracket is open.
  void Inside(char mark, TokenKind end) {
    const size_t tag_at = tokens_.back().at;
    std::string open;
    while (pos_ < source_.size()) {
      if (open.empty() && End(mark, end)) return;
      if (const size_t after = AfterSpace(pos_); after > pos_) {
        pos_ = after;
        continue;
      }
      if (!Number() && !Name() && !String()) Operator(&open);
    }
    FailAt(static_cast<uint32_t>(tag_at), "the tag has no end");
  }

  bool End(char mark, TokenKind kind) {
    size_t after = 0;
    if (mark == '%') {
      const auto end = AfterEnd(pos_, '%');
      if (!end) return false;
      after = *end;
    } else if (Starts("-}}")) {
      after = AfterSpace(pos_ + 3);
    } else if (Starts("}}")) {
      after = pos_ + 2;
    } else {
      return false;
    }
    Add(kind, pos_, "");
    pos_ = after;
    EndTag();
    return true;
  }

  bool Number() {
    if (!IsDigitChar(Peek())) return false;
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
    const std::string_view rest = source_.substr(pos_);
    const size_t real = after_dot ? 0 : FloatLength(rest);
    const size_t length = real > 0 ? real : IntegerLength(rest);
    Add(real > 0 ? TokenKind::kFloat : TokenKind::kInteger, pos_, "");
    if (real > 0) {
      tokens_.back().real = FloatValue(rest.substr(0, length));
    } else if (const auto integer = IntegerValue(rest.substr(0, length))) {
      tokens_.back().integer = *integer;
    } else {
      FailAt(static_cast<uint32_t>(pos_), "the integer does not fit into 64 bits");
    }
    pos_ += length;
    return true;
  }

  bool Name() {
    if (!IsNameStart(Peek())) return false;
    const size_t begin = pos_;
    while (IsNameStart(Peek()) || IsDigitChar(Peek())) ++pos_;
    if (static_cast<unsigned char>(Peek()) >= 0x80 && !IsSpace(DecodeUtf8(source_, pos_)))
      FailAt(static_cast<uint32_t>(pos_), "names with characters beyond ASCII are not supported");
    Add(TokenKind::kName, begin, std::string(source_.substr(begin, pos_ - begin)));
    return true;
  }

  bool String() {
    const char quote = Peek();
    if (quote != '"' && quote != '\'') return false;
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) FailAt(static_cast<uint32_t>(pos_), "the string has no end");
    Add(TokenKind::kString, pos_,
        Unescaped(source_.substr(pos_ + 1, end - pos_ - 1), static_cast<uint32_t>(pos_)));
    pos_ = end + 1;
    return true;
  }

  void Operator(std::string* open) {
    constexpr std::array<std::string_view, 6> kTwo = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
    const std::string_view two = source_.substr(pos_, 2);
    const bool is_two = std::find(kTwo.begin(), kTwo.end(), two) != kTwo.end();
    if (!is_two && kOne.find(source_[pos_]) == std::string_view::npos) {
      FailAt(
          static_cast<uint32_t>(pos_),
          Concat("unexpected character '",
                 source_.substr(pos_, Utf8Length(static_cast<unsigned char>(source_[pos_]))), "'"));
    }
    const std::string_view sign = is_two ? two : two.substr(0, 1);
    Balance(sign[0], open);
    Add(TokenKind::kOperator, pos_, std::string(sign));
    pos_ += sign.size();
  }

  void Balance(char sign, std::string* open) const {
    if (sign == '(') open->push_back(')');
    if (sign == '[') open->push_back(']');
    if (sign == '{') open->push_back('}');
    if (sign != ')' && sign != ']' && sign != '}') return;
    if (open->empty() || open->back() != sign)
      FailAt(static_cast<uint32_t>(pos_), Concat("unexpected '", std::string(1, sign), "'"));
    open->pop_back();
  }

  const std::string_view source_;
  size_t pos_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string NormalizeSource(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::vector<Token> Tokenize(std::string_view source) { return Lexer(source).Run(); }

std::string PositionText(std::string_view source, uint32_t at) {
  const std::string_view before = source.substr(0, at);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t newline = before.rfind('\n');
  const std::string_view in_line =
      newline == std::string_view::npos ? before : before.substr(newline + 1);
  const auto column = CountCodePoints(in_line);
  return Concat("line ", line, ", column ", column + 1);
}

}  // namespace ftd::jinja
