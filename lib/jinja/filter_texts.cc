// Filters that make texts.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/format.h"
#include "lib/jinja/literals.h"
#include "lib/jinja/methods.h"
#include "lib/jinja/number_text.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/pieces.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

// The text of any value, as a text marked safe if it is one.
Value Soft(Runtime& runtime, const Value& input) {
  return input.Is(Kind::kString) ? input : runtime.Text(Str(runtime, input));
}

// Calls a method of str on the text of any value.
Value Method(Runtime& runtime, const Value& input, std::string_view name, const Args& args) {
  const Value text = Soft(runtime, input);
  return CallMethod(runtime, text, *FindMethod(text, name), args);
}

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-' || c == '~';
}

std::string Quoted(const std::string& text, bool for_query) {
  std::string out;
  for (const char c : text) {
    if (IsUnreserved(c) || (c == '/' && !for_query)) {
      out.push_back(c);
    } else if (c == ' ' && for_query) {
      out.push_back('+');
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string QuotedPair(Runtime& runtime, const Value& pair) {
  const std::vector<Value> parts = ToVector(runtime, pair);
  if (parts.size() != 2) Fail("urlencode needs pairs of a key and a value");
  return Concat(Quoted(Str(runtime, parts[0]), true), "=", Quoted(Str(runtime, parts[1]), true));
}

bool IsIterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator:
      return true;
    default:
      return false;
  }
}

JsonStyle StyleOf(Runtime& runtime, const Bound& args) {
  JsonStyle style;
  style.ensure_ascii = args.FlagOr(0, false);
  style.sort_keys = args.FlagOr(3, false);
  if (!args.IsNone(1)) {
    style.indent = args[1].Is(Kind::kString)
                       ? args[1].AsString()
                       : Repeated(runtime, " ", std::max<int64_t>(ToIndex(args[1]), 0));
    style.item_separator.assign(1, ',');
  }
  if (args.IsNone(2)) return style;
  const std::vector<Value> separators = ToVector(runtime, args[2]);
  if (separators.size() != 2) Fail("tojson needs two separators");
  style.item_separator = TextOf(separators[0]);
  style.key_separator = TextOf(separators[1]);
  return style;
}

}  // namespace

Value Capitalize(Runtime& runtime, const Value& input, const Bound&) {
  return Method(runtime, input, "capitalize", {});
}
Value Lower(Runtime& runtime, const Value& input, const Bound&) {
  return Method(runtime, input, "lower", {});
}
Value Upper(Runtime& runtime, const Value& input, const Bound&) {
  return Method(runtime, input, "upper", {});
}
Value CenterText(Runtime& runtime, const Value& input, const Bound& args) {
  return Method(runtime, input, "center", {{args.Or(0, Value::Int(80))}, {}});
}
Value Trim(Runtime& runtime, const Value& input, const Bound& args) {
  return Method(runtime, input, "strip", {{args.Or(0, Value())}, {}});
}

Value ToText(Runtime& runtime, const Value& input, const Bound&) { return Soft(runtime, input); }

Value MarkSafe(Runtime& runtime, const Value& input, const Bound&) {
  return IsMarkup(input) ? input : MakeMarkup(Str(runtime, input));
}

Value ForceEscape(Runtime& runtime, const Value& input, const Bound&) {
  return MakeMarkup(EscapeHtml(Str(runtime, input)));
}

Value Escape(Runtime& runtime, const Value& input, const Bound& args) {
  return IsMarkup(input) ? input : ForceEscape(runtime, input, args);
}

// Words begin after white space, - and opening brackets.
Value TitleText(Runtime& runtime, const Value& input, const Bound&) {
  const std::string text = Str(runtime, input);
  const auto separates = [](uint32_t point) {
    constexpr std::string_view kBrackets = "-({[<";
    return IsSpace(point) ||
           (point < 0x80 && kBrackets.find(static_cast<char>(point)) != std::string_view::npos);
  };
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    size_t end = pos;
    const bool between = separates(DecodeUtf8(text, pos));
    while (end < text.size() && separates(DecodeUtf8(text, end)) == between)
      end += Utf8Length(static_cast<unsigned char>(text[end]));
    const std::string_view item = std::string_view(text).substr(pos, end - pos);
    const size_t first = Utf8Length(static_cast<unsigned char>(item[0]));
    out.append(ToUpper(item.substr(0, first))).append(ToLower(item.substr(first)));
    pos = end;
  }
  return runtime.Text(std::move(out));
}

Value Replace(Runtime& runtime, const Value& input, const Bound& args) {
  const int64_t count = args.IsNone(2) ? -1 : ToIndex(args[2]);
  return Value::String(
      Replaced(runtime, Str(runtime, input), Str(runtime, args[0]), Str(runtime, args[1]), count));
}

Value Indent(Runtime& runtime, const Value& input, const Bound& args) {
  const Value width = args.Or(0, Value::Int(4));
  const std::string by = width.Is(Kind::kString)
                             ? width.AsString()
                             : Repeated(runtime, " ", std::max<int64_t>(ToIndex(width), 0));
  if (IsMarkup(input) || IsMarkup(width)) Fail("indent is not supported on a text marked safe");
  const std::string text = TextOf(input) + "\n";
  const bool blank = args.FlagOr(2, false);
  std::string out = args.FlagOr(1, false) ? by : "";
  bool first = true;
  for (const std::string_view line : SplitLines(text, false)) {
    runtime.Allocate(line.size() + by.size() + 1);
    if (!first) out.append(blank || !line.empty() ? "\n" + by : "\n");
    out.append(line);
    first = false;
  }
  return Value::String(std::move(out));
}

Value Truncate(Runtime& runtime, const Value& input, const Bound& args) {
  constexpr int64_t kLength = 255, kLeeway = 5;
  const Value end = args.Or(2, Value::String("..."));
  const int64_t length = args.IntegerOr(0, kLength);
  const int64_t leeway = args.IsNone(3) ? kLeeway : ToIndex(args[3]);
  const int64_t end_length = LengthOf(end).value_or(-1);
  if (end_length < 0 || length < end_length) Fail("truncate needs a length of at least its end's");
  if (leeway < 0) Fail("the leeway of truncate is negative");
  const auto input_length = LengthOf(input);
  if (!input_length) Fail(Concat("a ", TypeName(input), " has no length"));
  if (*input_length - leeway <= length) return input;
  const Value head = GetSlice(runtime, input, Value(), Value::Int(length - end_length), Value());
  if (args.FlagOr(1, false)) return Binary(runtime, Op::kAdd, head, end);
  const std::string space = " ";
  const std::string cut(SplitFromEnd(TextOf(head), &space, 1)[0]);
  return Binary(runtime, Op::kAdd, IsMarkup(head) ? MakeMarkup(cut) : runtime.Text(cut), end);
}

Value WordCount(Runtime& runtime, const Value& input, const Bound&) {
  int64_t words = 0;
  bool within = false;
  AllPoints(Str(runtime, input), [&](uint32_t point) {
    const bool word = point == '_' || IsAlnum(point);
    words += word && !within ? 1 : 0;
    within = word;
    return true;
  });
  return Value::Int(words);
}

Value FormatText(Runtime& runtime, const Value& input, Args args) {
  if (!args.positional.empty() && !args.named.empty())
    Fail("format takes either positional or named values");
  if (IsMarkup(input)) Fail("format is not supported on a text marked safe");
  std::vector<std::pair<Value, Value>> named;
  for (auto& [name, value] : args.named) named.emplace_back(runtime.Text(name), value);
  const Value values =
      named.empty() ? runtime.Tuple(std::move(args.positional)) : runtime.Dict(std::move(named));
  return runtime.Text(PercentFormat(runtime, Str(runtime, input), values));
}

Value ToJson(Runtime& runtime, const Value& input, const Bound& args) {
  return Value::String(JsonDump(runtime, input, StyleOf(runtime, args)));
}

Value UrlEncode(Runtime& runtime, const Value& input, const Bound&) {
  if (!IsIterable(input)) return runtime.Text(Quoted(Str(runtime, input), false));
  std::string out;
  Value pairs = input;
  if (input.Is(Kind::kDict)) pairs = CallMethod(runtime, input, *FindMethod(input, "items"), {});
  const auto iterator = Iterate(runtime, pairs);
  while (const auto pair = iterator->Next(runtime)) {
    const std::string text = QuotedPair(runtime, *pair);
    runtime.Allocate(text.size());
    out.append(out.empty() ? "" : "&").append(text);
  }
  return Value::String(std::move(out));
}

Value FileSize(Runtime& runtime, const Value& input, const Bound& args) {
  const auto parsed = input.Is(Kind::kString) ? ParseFloat(input.AsString()) : ToReal(input);
  if (!parsed) Fail("filesizeformat needs a number");
  const double bytes = *parsed;
  const bool binary = args.FlagOr(0, false);
  const double base = binary ? 1024 : 1000;
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  if (bytes == 1) return Value::String("1 Byte");
  if (bytes < base) return runtime.Text(Concat(ToInt(bytes).AsInt(), " Bytes"));
  double unit = base;
  size_t i = 0;
  for (; i < kPrefixes.size(); ++i) {
    unit *= base;
    if (bytes < unit || i + 1 == kPrefixes.size()) break;
  }
  const std::string prefix =
      binary ? std::string(1, i == 0 ? 'K' : kPrefixes[i]) + "i" : std::string(1, kPrefixes[i]);
  return runtime.Text(absl::StrFormat("%.1f %sB", base * bytes / unit, prefix));
}

}  // namespace ftd::jinja
