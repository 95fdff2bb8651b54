// str.format, and the format specs of its fields.
#include <algorithm>
#include <cmath>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/format.h"
#include "lib/jinja/literals.h"
#include "lib/jinja/number_text.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

bool IsAlign(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }
bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

Layout ParseSpec(std::string_view spec) {
  Layout layout;
  const auto take = [&](std::string_view any) {
    if (spec.empty() || any.find(spec[0]) == std::string_view::npos) return '\0';
    const char c = spec[0];
    spec.remove_prefix(1);
    return c;
  };
  const auto number = [&] {
    constexpr int64_t kMost = 1 << 30;
    int64_t value = 0;
    while (const char digit = take("0123456789")) {
      value = value * 10 + (digit - '0');
      if (value > kMost) Fail("the width of the format is too large");
    }
    return value;
  };
  const size_t first = spec.empty() ? 0 : Utf8Length(static_cast<unsigned char>(spec[0]));
  if (spec.size() > first && IsAlign(spec[first])) {
    layout.fill = std::string(spec.substr(0, first));
    spec.remove_prefix(first);
  }
  layout.align = take("<>^=");
  if (const char sign = take("+- ")) layout.sign = sign;
  layout.alternate = take("#") != '\0';
  if (take("0") != '\0' && layout.align == '\0') {
    layout.fill.assign(1, '0');
    layout.align = '=';
  }
  layout.width = number();
  layout.grouping = take(",_");
  if (take(".") != '\0') {
    if (spec.empty() || spec[0] < '0' || spec[0] > '9') Fail("the format lacks its precision");
    layout.precision = number();
  }
  if (!spec.empty()) {
    layout.type = spec[0];
    spec.remove_prefix(1);
  }
  if (!spec.empty()) Fail("the format of the field is not valid");
  return layout;
}

[[noreturn]] void FailType(const Layout& layout, const Value& value) {
  Fail(Concat("the format type '", std::string(1, layout.type), "' does not go with a ",
              TypeName(value)));
}

std::string FormatReal(Runtime& runtime, double number, Layout layout) {
  const bool negative = std::signbit(number) && !std::isnan(number);
  if (layout.type == '%') {
    layout.type = 'f';
    return LaidOutNumber(
        runtime, layout, negative, "",
        DigitsOf(number * 100, 'f', layout.precision.value_or(6), layout.alternate) + "%");
  }
  if (layout.type != '\0') {
    return LaidOutNumber(
        runtime, layout, negative, "",
        DigitsOf(number, layout.type, layout.precision.value_or(6), layout.alternate));
  }
  if (layout.precision) Fail("a format with a precision needs a type, such as f");
  return LaidOutNumber(runtime, layout, negative, "", ReprOfFloat(std::abs(number)));
}

std::string FormatInteger(Runtime& runtime, int64_t number, const Layout& layout) {
  if (layout.precision) Fail("an integer's format has no precision");
  const char type = layout.type == '\0' ? 'd' : layout.type;
  const std::string prefix =
      layout.alternate && type != 'd' ? std::string{'0', type} : std::string();
  if (layout.grouping == ',' && type != 'd') Fail("',' does not go with this format type");
  return LaidOutNumber(runtime, layout, number < 0, prefix, DigitsOf(number, type));
}

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Args& args) : runtime_(runtime), args_(args) {}

  std::string Run(std::string_view format, int depth) {
    if (depth > 2) Fail("the fields of the format nest too deep");
    std::string out;
    for (size_t pos = 0; pos < format.size();) {
      const char c = format[pos++];
      const bool doubled = pos < format.size() && format[pos] == c;
      if (c != '{' && c != '}') {
        out.push_back(c);
      } else if (doubled) {
        out.push_back(c);
        ++pos;
      } else if (c == '}') {
        Fail("a single '}' in the format");
      } else {
        const size_t end = FieldEnd(format, pos);
        const std::string text = Field(format.substr(pos, end - pos), depth);
        runtime_.Allocate(text.size());
        out.append(text);
        pos = end + 1;
      }
    }
    return out;
  }

 private:
  // Braces within a field belong to its spec; within [] they are part of a key.
  static size_t FieldEnd(std::string_view format, size_t pos) {
    int depth = 1;
    bool key = false;
    for (; pos < format.size(); ++pos) {
      if (format[pos] == '[') key = true;
      if (format[pos] == ']') key = false;
      if (key) continue;
      if (format[pos] == '{') ++depth;
      if (format[pos] == '}' && --depth == 0) return pos;
    }
    Fail("a field of the format has no end");
  }

  std::string Field(std::string_view field, int depth) {
    size_t name_end = 0;
    for (bool key = false; name_end < field.size(); ++name_end) {
      const char c = field[name_end];
      key = c == '[' || (key && c != ']');
      if (!key && (c == '!' || c == ':')) break;
      if (c == '{' || c == '}') Fail("an unexpected brace in a field of the format");
    }
    Value value = ValueOf(field.substr(0, name_end));
    std::string_view rest = field.substr(name_end);
    if (rest.starts_with("!")) {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        Fail("the conversion of a field of the format is not valid");
      value = runtime_.Text(Convert(value, rest[1]));
      rest.remove_prefix(2);
    }
    if (rest.starts_with(":")) rest.remove_prefix(1);
    return FormatValue(runtime_, value, Run(rest, depth + 1));
  }

  std::string Convert(const Value& value, char how) {
    if (how == 's') return Str(runtime_, value);
    if (how == 'r') return Repr(runtime_, value);
    Fail(Concat("the conversion '!", std::string(1, how), "' is not supported"));
  }

  Value ValueOf(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    Value value = First(name.substr(0, first_end));
    for (name.remove_prefix(first_end); !name.empty();) {
      if (name[0] == '.') {
        const size_t end = std::min(name.find_first_of(".[", 1), name.size());
        if (end == 1) Fail("an empty attribute in the format");
        value = GetAttribute(runtime_, value, std::string(name.substr(1, end - 1)));
        name.remove_prefix(end);
        continue;
      }
      const size_t end = name[0] == '[' ? name.find(']') : std::string_view::npos;
      if (end == std::string_view::npos || end == 1) Fail("a field of the format is not valid");
      const std::string_view key = name.substr(1, end - 1);
      value =
          GetItem(runtime_, value, IsDigits(key) ? Index(key) : runtime_.Text(std::string(key)));
      name.remove_prefix(end + 1);
    }
    return value;
  }

  static Value Index(std::string_view digits) {
    int64_t index = 0;
    if (ParseInt(digits, 10, &index) != ParseResult::kOk) Fail("too large a number in the format");
    return Value::Int(index);
  }

  Value First(std::string_view name) {
    if (name.empty() || IsDigits(name)) {
      const bool automatic = name.empty();
      if (automatic ? next_ < 0 : next_ > 0)
        Fail("the format numbers some of its fields and not others");
      if (!automatic) next_ = -1;
      const int64_t index = automatic ? next_++ : Index(name).AsInt();
      if (index >= static_cast<int64_t>(args_.positional.size()))
        Fail("the format needs more values");
      return args_.positional[static_cast<size_t>(index)];
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    Fail(Concat("the format names '", name, "', which is not given"));
  }

  Runtime& runtime_;
  const Args& args_;
  int64_t next_ = 0;  // of the fields without a number; -1 once one has a number
};

}  // namespace

std::string FormatValue(Runtime& runtime, const Value& value, const std::string& spec) {
  if (spec.empty()) return Str(runtime, value);
  Layout layout = ParseSpec(spec);
  constexpr std::string_view kReal = "eEfFgG%", kInteger = "dboxX";
  if (value.Is(Kind::kString)) {
    if ((layout.type != 's' && layout.type != '\0') || layout.sign != '-' || layout.alternate ||
        layout.grouping != '\0')
      FailType(layout, value);
    if (layout.align == '=') {
      // Python 3.10 and later pad a text with zeros on its right.
      if (layout.fill != "0") FailType(layout, value);
      layout.align = '<';
    }
    const std::string& text = value.AsString();
    return LaidOutText(runtime, layout,
                       layout.precision ? FirstPoints(text, *layout.precision) : text);
  }
  if (!IsNumber(value)) FailType(layout, value);
  if (value.Is(Kind::kFloat) || kReal.find(layout.type) != std::string_view::npos) {
    if (layout.type != '\0' && kReal.find(layout.type) == std::string_view::npos)
      FailType(layout, value);
    return FormatReal(runtime, ToReal(value), layout);
  }
  if (layout.type != '\0' && kInteger.find(layout.type) == std::string_view::npos)
    FailType(layout, value);
  return FormatInteger(runtime, value.AsInt(), layout);
}

std::string BraceFormat(Runtime& runtime, const std::string& format, const Args& args) {
  return BraceFormatter(runtime, args).Run(format, 0);
}

}  // namespace ftd::jinja
