// The operator % of Python's str.
#include <cmath>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/format.h"
#include "lib/jinja/number_text.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const std::string& format, const Value& values)
      : runtime_(runtime), format_(format), values_(values) {}

  std::string Run() {
    while (pos_ < format_.size()) {
      const char c = format_[pos_++];
      c == '%' ? Conversion() : out_.push_back(c);
    }
    const bool used = values_.Is(Kind::kTuple)
                          ? next_ >= values_.As<ListObject>().items.size()
                          : next_ > 0 || values_.Is(Kind::kDict) || values_.Is(Kind::kList) ||
                                values_.Is(Kind::kRange) || values_.Is(Kind::kUndefined);
    if (!used) Fail("the format does not use all of its values");
    return std::move(out_);
  }

 private:
  char Take() {
    if (pos_ >= format_.size()) Fail("the format ends within a conversion");
    return format_[pos_++];
  }

  Value NextValue() {
    if (named_) return *named_;
    if (!values_.Is(Kind::kTuple)) {
      if (next_++ > 0) Fail("the format needs more values");
      return values_;
    }
    const auto& items = values_.As<ListObject>().items;
    if (next_ >= items.size()) Fail("the format needs more values");
    return items[next_++];
  }

  void Conversion() {
    named_.reset();
    Layout layout;
    if (pos_ < format_.size() && format_[pos_] == '(') Name();
    bool left = false, zero = false;
    for (bool flag = true; flag && pos_ < format_.size();) {
      const char c = format_[pos_];
      flag = c == '-' || c == '+' || c == ' ' || c == '#' || c == '0';
      if (!flag) break;
      ++pos_;
      left = left || c == '-';
      zero = zero || c == '0';
      layout.alternate = layout.alternate || c == '#';
      if (c == '+' || (c == ' ' && layout.sign != '+')) layout.sign = c;
    }
    layout.width = Size(&left);
    if (pos_ < format_.size() && format_[pos_] == '.') {
      ++pos_;
      bool ignored = false;
      layout.precision = std::max<int64_t>(Size(&ignored), 0);
    }
    char type = Take();
    if (type == 'h' || type == 'l' || type == 'L') type = Take();
    if (type == '%') return out_.push_back('%');
    layout.type = type;
    layout.align = left ? '<' : '>';
    const Value value = NextValue();
    const std::string text = Converted(value, layout, zero && !left);
    runtime_.Allocate(text.size());
    out_.append(text);
  }

  void Name() {
    int depth = 1;
    const size_t begin = ++pos_;
    while (depth > 0) {
      const char c = Take();
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    if (!values_.Is(Kind::kDict)) Fail("the format needs a dict");
    const auto& dict = values_.As<DictObject>();
    const auto found = dict.Find(std::string_view(format_).substr(begin, pos_ - 1 - begin));
    if (!found) Fail("the format names a key that the dict lacks");
    named_ = dict.items[*found].second;
  }

  // A width or precision: digits, or * for the next value.
  int64_t Size(bool* left) {
    constexpr int64_t kMost = 1 << 30;
    if (pos_ < format_.size() && format_[pos_] == '*') {
      ++pos_;
      if (named_) Fail("'*' cannot be used with named values");
      const Value value = NextValue();
      if (!IsInteger(value)) Fail("'*' needs an integer");
      if (value.AsInt() < -kMost || value.AsInt() > kMost) Fail("the width is too large");
      if (value.AsInt() < 0) *left = true;
      return std::abs(value.AsInt());
    }
    int64_t size = 0;
    while (pos_ < format_.size() && format_[pos_] >= '0' && format_[pos_] <= '9') {
      size = size * 10 + (format_[pos_++] - '0');
      if (size > kMost) Fail("the width is too large");
    }
    return size;
  }

  std::string Converted(const Value& value, Layout& layout, bool zero) {
    switch (layout.type) {
      case 's':
      case 'r': {
        const std::string text = layout.type == 's' ? Str(runtime_, value) : Repr(runtime_, value);
        return LaidOutText(runtime_, layout,
                           layout.precision ? FirstPoints(text, *layout.precision) : text);
      }
      case 'c':
        return LaidOutText(runtime_, layout, Character(value));
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        if (zero) layout.fill.assign(1, '0'), layout.align = '=';
        return Integer(value, layout);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (zero) layout.fill.assign(1, '0'), layout.align = '=';
        return Real(value, layout);
      default:
        Fail(static_cast<unsigned char>(layout.type) < 0x80
                 ? Concat("the conversion '%", std::string(1, layout.type), "' is not supported")
                 : "the format has a conversion that is not supported");
    }
  }

  static std::string Character(const Value& value) {
    std::string text;
    if (value.Is(Kind::kString)) {
      if (value.As<StringObject>().Length() != 1) Fail("'%c' needs one character");
      return value.AsString();
    }
    const int64_t point = ToIndex(value);
    if (point < 0 || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
      Fail("'%c' needs a character");
    AppendUtf8(static_cast<uint32_t>(point), &text);
    return text;
  }

  std::string Integer(const Value& value, const Layout& layout) {
    const bool decimal = layout.type == 'd' || layout.type == 'i' || layout.type == 'u';
    if (!IsNumber(value) || (!decimal && value.Is(Kind::kFloat)))
      Fail(Concat("'%", std::string(1, layout.type), "' needs a number, not ", TypeName(value)));
    const int64_t number =
        value.Is(Kind::kFloat) ? ToInt(std::trunc(value.AsFloat())).AsInt() : value.AsInt();
    std::string digits = DigitsOf(number, layout.type);
    const int64_t missing = layout.precision.value_or(0) - static_cast<int64_t>(digits.size());
    digits.insert(0, Repeated(runtime_, "0", std::max<int64_t>(missing, 0)));
    const std::string prefix =
        layout.alternate && !decimal ? std::string{'0', layout.type} : std::string();
    return LaidOutNumber(runtime_, layout, number < 0, prefix, std::move(digits));
  }

  std::string Real(const Value& value, const Layout& layout) {
    const double number = ToReal(value);
    return LaidOutNumber(
        runtime_, layout, std::signbit(number) && !std::isnan(number), "",
        DigitsOf(number, layout.type, layout.precision.value_or(6), layout.alternate));
  }

  Runtime& runtime_;
  const std::string& format_;
  const Value& values_;
  size_t pos_ = 0;
  size_t next_ = 0;
  std::optional<Value> named_;
  std::string out_;
};

}  // namespace

std::string PercentFormat(Runtime& runtime, const std::string& format, const Value& values) {
  return PercentFormatter(runtime, format, values).Run();
}

}  // namespace ftd::jinja
