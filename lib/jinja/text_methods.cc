// The methods of Python's str. Indices are code points.
#include <algorithm>
#include <limits>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/format.h"
#include "lib/jinja/methods.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/pieces.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

using std::string;
using std::string_view;

// The part of a text that `start` and `end` leave, in bytes.
struct Region {
  size_t begin = 0, end = 0;
  int64_t first = 0;   // the code point at `begin`
  bool valid = false;  // false: nothing is found there, not even ""
};

size_t ByteOf(const Value& text, int64_t point) { return Substring(text, 0, point).size(); }

Region RegionOf(const Value& self, const Bound& args, size_t start_at) {
  const int64_t length = self.As<StringObject>().Length();
  const auto bound = [&](size_t i, int64_t otherwise) {
    if (args.IsNone(i)) return otherwise;
    const int64_t index = ToIndex(args[i]);
    return index < 0 ? std::max<int64_t>(index + length, 0) : index;
  };
  const int64_t start = bound(start_at, 0), end = std::min(bound(start_at + 1, length), length);
  if (start > end) return {};
  return {ByteOf(self, start), ByteOf(self, end), start, true};
}

string_view TextIn(const Value& self, const Region& region) {
  return string_view(self.AsString()).substr(region.begin, region.end - region.begin);
}

template <bool from_end>
int64_t Position(const Value& self, const Bound& args) {
  const string& wanted = args.Text(0);
  const Region region = RegionOf(self, args, 1);
  if (!region.valid) return -1;
  const string_view text = TextIn(self, region);
  const size_t found = from_end ? text.rfind(wanted) : text.find(wanted);
  return found == string_view::npos ? -1 : region.first + CountCodePoints(text.substr(0, found));
}

template <bool from_end>
Value Find(Runtime&, const Value& self, const Bound& args) {
  return Value::Int(Position<from_end>(self, args));
}

template <bool from_end>
Value Index(Runtime&, const Value& self, const Bound& args) {
  const int64_t position = Position<from_end>(self, args);
  if (position < 0) Fail("the substring is not in the text");
  return Value::Int(position);
}

Value CountOf(Runtime&, const Value& self, const Bound& args) {
  const string& wanted = args.Text(0);
  const Region region = RegionOf(self, args, 1);
  if (!region.valid) return Value::Int(0);
  const string_view text = TextIn(self, region);
  if (wanted.empty()) return Value::Int(CountCodePoints(text) + 1);
  int64_t count = 0;
  for (size_t pos = 0; (pos = text.find(wanted, pos)) != string_view::npos; pos += wanted.size())
    ++count;
  return Value::Int(count);
}

// Takes a string, or a tuple of them.
template <bool at_end>
Value Affix(Runtime&, const Value& self, const Bound& args) {
  const Region region = RegionOf(self, args, 1);
  const string_view text = region.valid ? TextIn(self, region) : "";
  const auto matches = [&](const Value& affix) {
    const string& wanted = TextOf(affix);
    return region.valid && (at_end ? text.ends_with(wanted) : text.starts_with(wanted));
  };
  if (!args[0].Is(Kind::kTuple)) return Value::Bool(matches(args[0]));
  const auto& affixes = args[0].As<ListObject>().items;
  return Value::Bool(std::any_of(affixes.begin(), affixes.end(), matches));
}

template <string (*function)(string_view)>
Value Mapped(Runtime& runtime, const Value& self, const Bound&) {
  return runtime.Text(function(self.AsString()));
}

template <bool left, bool right>
Value Strip(Runtime& runtime, const Value& self, const Bound& args) {
  const string* chars = args.IsNone(0) ? nullptr : &args.Text(0);
  return runtime.Text(string(Stripped(self.AsString(), chars, left, right)));
}

Value ListOf(Runtime& runtime, const std::vector<string_view>& pieces) {
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (const string_view piece : pieces) items.push_back(runtime.Text(string(piece)));
  return runtime.List(std::move(items));
}

template <bool from_end>
Value Split(Runtime& runtime, const Value& self, const Bound& args) {
  const string* separator = args.IsNone(0) ? nullptr : &args.Text(0);
  if (separator != nullptr && separator->empty()) Fail("the separator is empty");
  const int64_t most = args.IntegerOr(1, -1);
  const string& text = self.AsString();
  return ListOf(runtime,
                from_end ? SplitFromEnd(text, separator, most) : SplitText(text, separator, most));
}

Value SplitIntoLines(Runtime& runtime, const Value& self, const Bound& args) {
  return ListOf(runtime, SplitLines(self.AsString(), args.FlagOr(0, false)));
}

template <bool from_end>
Value Partition(Runtime& runtime, const Value& self, const Bound& args) {
  const string &text = self.AsString(), &separator = args.Text(0);
  if (separator.empty()) Fail("the separator is empty");
  const size_t at = from_end ? text.rfind(separator) : text.find(separator);
  if (at == string::npos) {
    const Value empty = Value::String("");
    return from_end ? runtime.Tuple({empty, empty, self}) : runtime.Tuple({self, empty, empty});
  }
  return runtime.Tuple({runtime.Text(text.substr(0, at)), args[0],
                        runtime.Text(text.substr(at + separator.size()))});
}

Value Join(Runtime& runtime, const Value& self, const Bound& args) {
  const bool markup = IsMarkup(self);
  string joined;
  bool first = true;
  const auto iterator = Iterate(runtime, args[0]);
  while (const auto item = iterator->Next(runtime)) {
    const size_t before = joined.size();
    if (!std::exchange(first, false)) joined.append(self.AsString());
    if (markup) {
      joined.append(IsMarkup(*item) ? item->AsString() : EscapeHtml(Str(runtime, *item)));
    } else {
      if (!item->Is(Kind::kString)) Fail(Concat("cannot join a ", TypeName(*item)));
      joined.append(item->AsString());
    }
    runtime.Allocate(joined.size() - before);
  }
  return Value::String(std::move(joined));
}

Value ReplaceText(Runtime& runtime, const Value& self, const Bound& args) {
  const bool escape = IsMarkup(self) && !IsMarkup(args[1]);
  const string with = escape ? EscapeHtml(Str(runtime, args[1])) : args.Text(1);
  return Value::String(
      Replaced(runtime, self.AsString(), args.Text(0), with, args.IntegerOr(2, -1)));
}

// Pads on the left and on the right.
Value Padded(Runtime& runtime, const Value& self, const Bound& args, int64_t left, int64_t right) {
  string fill = args.Has(1) ? args.Text(1) : " ";
  if (CountCodePoints(fill) != 1) Fail("the fill must be one character");
  if (IsMarkup(self)) fill = EscapeHtml(fill);
  if (CountCodePoints(fill) != 1) Fail("the fill must be one character");
  string text = Repeated(runtime, fill, std::max<int64_t>(left, 0));
  text.append(self.AsString()).append(Repeated(runtime, fill, std::max<int64_t>(right, 0)));
  return runtime.Text(std::move(text));
}

int64_t Missing(const Value& self, const Bound& args) {
  return std::max<int64_t>(ToIndex(args[0]), 0) - self.As<StringObject>().Length();
}

Value LeftJust(Runtime& runtime, const Value& self, const Bound& args) {
  return Padded(runtime, self, args, 0, Missing(self, args));
}
Value RightJust(Runtime& runtime, const Value& self, const Bound& args) {
  return Padded(runtime, self, args, Missing(self, args), 0);
}
// Of an odd rest, the larger half is on the left when the width is odd.
Value Center(Runtime& runtime, const Value& self, const Bound& args) {
  const int64_t missing = std::max<int64_t>(Missing(self, args), 0);
  const int64_t left = missing / 2 + (missing & ToIndex(args[0]) & 1);
  return Padded(runtime, self, args, left, missing - left);
}

Value ZeroFill(Runtime& runtime, const Value& self, const Bound& args) {
  const string& text = self.AsString();
  const string zeros = Repeated(runtime, "0", std::max<int64_t>(Missing(self, args), 0));
  const size_t sign = text.starts_with("+") || text.starts_with("-") ? 1 : 0;
  return runtime.Text(text.substr(0, sign) + zeros + text.substr(sign));
}

Value ExpandTabs(Runtime& runtime, const Value& self, const Bound& args) {
  const int64_t size = args.IntegerOr(0, 8);
  string out;
  int64_t column = 0;
  for (const char c : self.AsString()) {
    if (c == '\t') {
      const int64_t spaces = size > 0 ? size - column % size : 0;
      out.append(Repeated(runtime, " ", spaces));
      column += spaces;
      continue;
    }
    out.push_back(c);
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++column;
    if (c == '\n' || c == '\r') column = 0;
  }
  return runtime.Text(std::move(out));
}

Value RemovePrefix(Runtime& runtime, const Value& self, const Bound& args) {
  const string &text = self.AsString(), &prefix = args.Text(0);
  return runtime.Text(text.starts_with(prefix) ? text.substr(prefix.size()) : text);
}

Value RemoveSuffix(Runtime& runtime, const Value& self, const Bound& args) {
  const string &text = self.AsString(), &suffix = args.Text(0);
  return runtime.Text(text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text);
}

template <bool (*function)(uint32_t), bool of_empty = false>
Value All(Runtime&, const Value& self, const Bound&) {
  if (self.AsString().empty()) return Value::Bool(of_empty);
  return Value::Bool(AllPoints(self.AsString(), function));
}

bool IsAsciiPoint(uint32_t point) { return point < 0x80; }

// A cased character, and none of another case.
template <bool upper>
Value IsCase(Runtime&, const Value& self, const Bound&) {
  return Value::Bool(HasOneCase(self.AsString(), upper));
}

Value IsTitleCase(Runtime&, const Value& self, const Bound&) {
  bool cased = false, within = false;
  const bool valid = AllPoints(self.AsString(), [&](uint32_t point) {
    const bool upper = IsUpper(point) || IsTitle(point), lower = IsLower(point);
    if ((upper && within) || (lower && !within)) return false;
    cased = cased || upper || lower;
    within = upper || lower;
    return true;
  });
  return Value::Bool(valid && cased);
}

Value IsIdentifier(Runtime&, const Value& self, const Bound&) {
  const string& text = self.AsString();
  if (!self.As<StringObject>().IsAscii()) Fail("isidentifier is not supported beyond ASCII");
  const auto letter = [](char c) { return c == '_' || IsAlpha(static_cast<uint32_t>(c)); };
  return Value::Bool(!text.empty() && letter(text[0]) &&
                     std::all_of(text.begin(), text.end(),
                                 [&](char c) { return letter(c) || (c >= '0' && c <= '9'); }));
}

Value FormatMethod(Runtime& runtime, const Value& self, const Args& args) {
  if (IsMarkup(self)) Fail("format is not supported on a text marked safe");
  return runtime.Text(BraceFormat(runtime, self.AsString(), args));
}

Value FormatMap(Runtime& runtime, const Value& self, const Args& args) {
  if (IsMarkup(self) || args.positional.size() != 1 || !args.named.empty() ||
      !args.positional[0].Is(Kind::kDict))
    Fail("format_map takes one dict");
  Args named;
  for (const auto& [key, value] : args.positional[0].As<DictObject>().items) {
    if (key.Is(Kind::kString)) named.named.emplace_back(key.AsString(), value);
  }
  return runtime.Text(BraceFormat(runtime, self.AsString(), named));
}

constexpr MethodRow kMethods[] = {
    {"capitalize", {"", 0, false}, Mapped<Capitalized>},
    {"casefold", {"", 0, false}, nullptr},
    {"center", {"width fillchar", 1, false}, Center},
    {"count", {"sub start end", 1, false}, CountOf},
    {"encode", {"", 0, false}, nullptr},
    {"endswith", {"suffix start end", 1, false}, Affix<true>},
    {"expandtabs", {"tabsize"}, ExpandTabs},
    {"find", {"sub start end", 1, false}, Find<false>},
    {"format", {""}, nullptr, FormatMethod},
    {"format_map", {""}, nullptr, FormatMap},
    {"index", {"sub start end", 1, false}, Index<false>},
    {"isalnum", {"", 0, false}, All<IsAlnum>},
    {"isalpha", {"", 0, false}, All<IsAlpha>},
    {"isascii", {"", 0, false}, All<IsAsciiPoint, true>},
    {"isdecimal", {"", 0, false}, All<IsDecimal>},
    {"isdigit", {"", 0, false}, All<IsDigit>},
    {"isidentifier", {"", 0, false}, IsIdentifier},
    {"islower", {"", 0, false}, IsCase<false>},
    {"isnumeric", {"", 0, false}, All<IsNumeric>},
    {"isprintable", {"", 0, false}, All<IsPrintable, true>},
    {"isspace", {"", 0, false}, All<IsSpace>},
    {"istitle", {"", 0, false}, IsTitleCase},
    {"isupper", {"", 0, false}, IsCase<true>},
    {"join", {"iterable", 1, false}, Join},
    {"ljust", {"width fillchar", 1, false}, LeftJust},
    {"lower", {"", 0, false}, Mapped<ToLower>},
    {"lstrip", {"chars", 0, false}, Strip<true, false>},
    {"maketrans", {"", 0, false}, nullptr},
    {"partition", {"sep", 1, false}, Partition<false>},
    {"removeprefix", {"prefix", 1, false}, RemovePrefix},
    {"removesuffix", {"suffix", 1, false}, RemoveSuffix},
    {"replace", {"old new count", 2, false}, ReplaceText},
    {"rfind", {"sub start end", 1, false}, Find<true>},
    {"rindex", {"sub start end", 1, false}, Index<true>},
    {"rjust", {"width fillchar", 1, false}, RightJust},
    {"rpartition", {"sep", 1, false}, Partition<true>},
    {"rsplit", {"sep maxsplit"}, Split<true>},
    {"rstrip", {"chars", 0, false}, Strip<false, true>},
    {"split", {"sep maxsplit"}, Split<false>},
    {"splitlines", {"keepends"}, SplitIntoLines},
    {"startswith", {"prefix start end", 1, false}, Affix<false>},
    {"strip", {"chars", 0, false}, Strip<true, true>},
    {"swapcase", {"", 0, false}, Mapped<SwapCase>},
    {"title", {"", 0, false}, Mapped<ToTitle>},
    {"translate", {"", 0, false}, nullptr},
    {"upper", {"", 0, false}, Mapped<ToUpper>},
    {"zfill", {"width", 1, false}, ZeroFill},
};

}  // namespace

std::span<const MethodRow> TextMethods() { return kMethods; }

}  // namespace ftd::jinja
