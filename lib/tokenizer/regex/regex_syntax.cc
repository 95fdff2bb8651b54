#include "lib/tokenizer/regex/regex_syntax.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

constexpr size_t kNone = std::string::npos;

// Translates in one pass over the pattern. `out_` grows piece by piece; `atom_` is where in it the
// last atom began, to which a quantifier applies. Whatever the two engines might read differently
// is refused rather than guessed.
class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  absl::StatusOr<Pcre2Pattern> Run() {
    while (pos_ < in_.size()) FTD_RETURN_IF_ERROR(Next());
    return Pcre2Pattern{std::move(out_), by_property_};
  }

 private:
  absl::Status Unsupported(std::string_view construct) const {
    return Error(Reason::kModelUnsupported, Concat("the regular expression '", in_, "' uses ",
                                                   construct, ", which ftd does not support"));
  }
  bool Has(std::string_view prefix) const { return in_.substr(pos_).starts_with(prefix); }
  char Peek(size_t ahead = 0) const { return pos_ + ahead < in_.size() ? in_[pos_ + ahead] : '\0'; }
  void Copy(size_t count) {
    out_.append(in_.substr(pos_, count));
    pos_ += std::min(count, in_.size() - pos_);
  }
  void CopyAtom(size_t count) {
    atom_ = out_.size();
    Copy(count);
  }

  absl::Status Next();
  absl::Status Escape();
  absl::Status Property();
  absl::Status CopyHex();
  absl::Status Class();
  absl::Status OpenGroup();
  absl::Status CloseGroup();
  absl::Status Quantifier();
  absl::Status Interval();

  std::string_view in_;
  size_t pos_ = 0;
  std::string out_;
  size_t atom_ = kNone;
  std::vector<size_t> groups_;
  bool by_property_ = true;
};

// Translates the next construct at pos_.
absl::Status Translator::Next() {
  switch (Peek()) {
    case '\\':
      atom_ = out_.size();
      return Escape();
    case '[':
      return Class();
    case '(':
      return OpenGroup();
    case ')':
      return CloseGroup();
    case '*':
    case '+':
    case '?':
      return Quantifier();
    case '{':
      return Interval();
    case '|':
    case '^':
    case '$':
      Copy(1);
      atom_ = kNone;
      return absl::OkStatus();
    default:
      break;
  }
  const auto lead = static_cast<unsigned char>(Peek());
  // The pattern names this very code point, so no other may stand in for it.
  if (lead >= 0x80) by_property_ = false;
  CopyAtom(Utf8Length(lead));
  return absl::OkStatus();
}

// Classes and control characters mean the same to both, with PCRE2_UCP. \A and \z match a place, so
// no quantifier may follow.
absl::Status Translator::Escape() {
  const char c = Peek(1);
  switch (c) {
    case 'p':
    case 'P':
      return Property();
    case 's':
    case 'S':
    case 'd':
    case 'D':
    case 'r':
    case 'n':
    case 't':
    case 'f':
    case 'a':
    case 'e':
      Copy(2);
      return absl::OkStatus();
    case 'A':
    case 'z':
      Copy(2);
      atom_ = kNone;
      return absl::OkStatus();
    case 'v':  // to PCRE2 a class
      out_.append("\\x0B");
      pos_ += 2;
      return absl::OkStatus();
    case 'x':
    case 'u':
      return CopyHex();
    case '\0':
      return Unsupported("a backslash at its end");
    default:
      break;
  }
  // Any other letter may have a meaning to one of the two (\h is a hexadecimal digit to Ruby, a
  // space to PCRE2). Escaped punctuation is literal to both.
  if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80) {
    return Unsupported(Concat("\\", std::string(1, c)));
  }
  Copy(2);
  return absl::OkStatus();
}

// \p{…} and \P{…}: a general category, or a script. To PCRE2 a bare script name means
// Script_Extensions, to Oniguruma Script; "sc:" asks for the latter.
absl::Status Translator::Property() {
  const size_t end = in_.find('}', pos_);
  if (Peek(2) != '{' || end == kNone) return Unsupported("\\p without braces");
  const bool negated = Peek(3) == '^';
  const size_t begin = pos_ + (negated ? 4 : 3);
  const std::string_view name = in_.substr(begin, end - begin);
  const bool script = name.size() > 2 && name != "Any";
  out_.append(Concat(in_.substr(pos_, 2), negated ? "{^" : "{", script ? "sc:" : "", name, "}"));
  pos_ = end + 1;
  return absl::OkStatus();
}

// Translates \xHH, \x{H…} and \uHHHH; PCRE2 has no \u.
absl::Status Translator::CopyHex() {
  const bool braces = Peek(1) == 'x' && Peek(2) == '{';
  const size_t begin = pos_ + (braces ? 3 : 2);
  const size_t most = braces ? 8 : Peek(1) == 'x' ? 2 : 4;
  size_t end = begin;
  while (end < in_.size() && end - begin < most &&
         absl::ascii_isxdigit(static_cast<unsigned char>(in_[end])))
    ++end;
  const std::string_view digits = in_.substr(begin, end - begin);
  if (digits.empty() || (braces && (end >= in_.size() || in_[end] != '}')))
    return Unsupported("a malformed \\x");
  const unsigned long point = std::stoul(std::string(digits), nullptr, 16);
  // To Oniguruma this is a byte of an encoded character, to PCRE2 a code point.
  if (Peek(1) == 'x' && !braces && point >= 0x80)
    return Unsupported("\\x of a byte that is not ASCII");
  if (point >= 0x80) by_property_ = false;
  out_.append(Concat("\\x{", digits, "}"));
  pos_ = end + (braces ? 1 : 0);
  return absl::OkStatus();
}

// Classes are copied as they are, after looking for what the two engines read differently.
absl::Status Translator::Class() {
  atom_ = out_.size();
  Copy(Peek(1) == '^' ? 2 : 1);
  // The two may read it differently, and no tokenizer in use needs it.
  if (Peek() == ']') return Unsupported("']' at the start of a class");
  while (Peek() != ']') {
    if (pos_ >= in_.size()) return Unsupported("a class without its ']'");
    if (Peek() == '[') return Unsupported("a class within a class");
    if (Has("&&")) return Unsupported("the intersection of classes (&&)");
    if (Peek() == '\\') {
      if (Peek(1) == 'A' || Peek(1) == 'z') return Unsupported("an anchor within a class");
      // An escape within a class is not an atom of its own.
      const size_t atom = atom_;
      FTD_RETURN_IF_ERROR(Escape());
      atom_ = atom;
      continue;
    }
    if (static_cast<unsigned char>(Peek()) >= 0x80) by_property_ = false;
    Copy(1);
  }
  Copy(1);
  return absl::OkStatus();
}

absl::Status Translator::OpenGroup() {
  const size_t start = out_.size();
  if (Peek(1) == '?') {
    // Ruby lets a bare (?i) reach over alternatives up to the group's end, as PCRE2 does only from
    // the group's start.
    const bool at_start =
        pos_ == 0 || in_[pos_ - 1] == '(' || (pos_ > 1 && in_.substr(pos_ - 2, 2) == "?:");
    if (at_start && Has("(?i)")) {
      Copy(4);
      atom_ = kNone;
      return absl::OkStatus();
    }
    size_t length = 0;
    for (const std::string_view opening :
         // No tokenizer in use needs named groups, conditions or other flags.
         {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?-i:"}) {
      if (Has(opening)) length = opening.size();
    }
    if (length == 0) return Unsupported(Concat("'", in_.substr(pos_, 4), "'"));
    Copy(length);
  } else {
    Copy(1);
  }
  groups_.push_back(start);
  atom_ = kNone;
  return absl::OkStatus();
}

// A whole group is an atom for the quantifier that may follow.
absl::Status Translator::CloseGroup() {
  if (groups_.empty()) return Unsupported("an unmatched ')'");
  Copy(1);
  atom_ = groups_.back();
  groups_.pop_back();
  return absl::OkStatus();
}

// Translates *, + and ?, each perhaps lazy (?) or possessive (+).
absl::Status Translator::Quantifier() {
  if (atom_ == kNone) return Unsupported("a quantifier with nothing before it");
  Copy(1);
  if (Peek() == '?' || Peek() == '+') Copy(1);
  const char after = Peek();
  if (after == '*' || after == '+' || after == '?' || after == '{')
    return Unsupported("a quantifier of a quantifier");
  atom_ = kNone;
  return absl::OkStatus();
}

// Translates {n}, {n,}, {,m} and {n,m}. Anything else in braces is literal.
absl::Status Translator::Interval() {
  const size_t end = in_.find('}', pos_);
  const std::string_view body = end == kNone ? "" : in_.substr(pos_ + 1, end - pos_ - 1);
  const bool interval =
      body.find_first_of("0123456789") != kNone && body.find_first_not_of("0123456789,") == kNone;
  if (!interval) {
    atom_ = out_.size();
    out_.append("\\{");
    ++pos_;
    return absl::OkStatus();
  }
  if (atom_ == kNone) return Unsupported("a quantifier with nothing before it");
  out_.append(Concat("{", body[0] == ',' ? "0" : "", body, "}"));
  pos_ = end + 1;
  if (Peek() == '+') {  // to Ruby not possessive, but one or more of the whole
    out_.insert(atom_, "(?:");
    out_.append(")+");
    ++pos_;
  } else if (Peek() == '?' && body.find(',') != kNone) {
    // Without a comma, {n}? is "n or none" to Ruby and a lazy {n} to PCRE2: refused below.
    Copy(1);
  }
  const char after = Peek();
  if (after == '*' || after == '+' || after == '?' || after == '{')
    return Unsupported("a quantifier of a quantifier");
  atom_ = kNone;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Pcre2Pattern> TranslateOniguruma(std::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace ftd
