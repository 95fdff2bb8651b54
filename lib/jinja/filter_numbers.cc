// Filters that make numbers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/literals.h"
#include "lib/jinja/objects.h"

namespace ftd::jinja {
namespace {

// A double has at most this many digits after its point.
constexpr int64_t kMostDigits = 323;

double RoundedAfterPoint(double number, int64_t digits) {
  if (digits > kMostDigits) return number;
  char text[700];
  std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), number);
  return std::strtod(text, nullptr);
}

// Rounds the exact digits before the point, half to even.
double RoundedBeforePoint(double number, int64_t zeros) {
  char text[1500];
  std::snprintf(text, sizeof text, "%.1074f", std::abs(number));
  std::string digits(text);
  const auto point = static_cast<int64_t>(digits.find('.'));
  if (zeros > point) return std::copysign(0.0, number);
  digits.erase(static_cast<size_t>(point), 1);
  digits.insert(0, "0");
  const auto cut = static_cast<size_t>(point - zeros + 1);
  const std::string rest = digits.substr(cut);
  const bool half = rest[0] == '5' && rest.find_first_not_of('0', 1) == std::string::npos;
  const bool odd = ((digits[cut - 1] - '0') & 1) != 0;
  std::string kept = digits.substr(0, cut);
  if (half ? odd : rest[0] >= '5') {
    size_t i = kept.size() - 1;
    for (; kept[i] == '9'; --i) kept[i] = '0';
    ++kept[i];
  }
  return std::copysign(std::strtod((kept + "e" + std::to_string(zeros)).c_str(), nullptr), number);
}

double Rounded(double number, int64_t digits) {
  if (!std::isfinite(number)) return number;
  return digits >= 0 ? RoundedAfterPoint(number, digits) : RoundedBeforePoint(number, -digits);
}

int64_t RoundedInteger(int64_t number, int64_t digits) {
  if (digits >= 0) return number;
  if (digits < -18) return 0;  // also of the few numbers that would round up beyond 64 bits
  int64_t unit = 1;
  for (int64_t i = 0; i < -digits; ++i) unit *= 10;
  int64_t rest = number % unit;
  if (rest < 0) rest += unit;
  __int128 rounded = static_cast<__int128>(number) - rest;
  const bool odd = (rounded / unit) % 2 != 0;
  if (rest > unit - rest || (rest == unit - rest && odd)) rounded += unit;
  if (rounded != static_cast<int64_t>(rounded)) Fail("the integer does not fit into 64 bits");
  return static_cast<int64_t>(rounded);
}

// int(float(value)), or else the default.
Value IntegerOfReal(const std::string& text, const Value& otherwise) {
  const auto real = ParseFloat(text);
  if (!real || !std::isfinite(*real)) return otherwise;
  return ToInt(std::trunc(*real));
}

}  // namespace

Value Absolute(Runtime&, const Value& input, const Bound&) {
  if (input.Is(Kind::kFloat)) return Value::Float(std::abs(input.AsFloat()));
  if (!IsInteger(input)) Fail(Concat("abs needs a number, not a ", TypeName(input)));
  return input.AsInt() < 0 ? Negate(input) : Value::Int(input.AsInt());
}

Value ToInteger(Runtime&, const Value& input, const Bound& args) {
  Value otherwise = args.Or(0, Value::Int(0));
  if (input.Is(Kind::kUndefined)) FailUndefined(input);
  if (IsInteger(input)) return Value::Int(input.AsInt());
  if (input.Is(Kind::kFloat)) {
    if (std::isnan(input.AsFloat())) return otherwise;
    return ToInt(std::trunc(input.AsFloat()));
  }
  if (!input.Is(Kind::kString)) return otherwise;
  const int64_t base = args.IntegerOr(1, 10);
  int64_t number = 0;
  if (base != 0 && (base < 2 || base > 36)) return IntegerOfReal(input.AsString(), otherwise);
  switch (ParseInt(input.AsString(), static_cast<int>(base), &number)) {
    case ParseResult::kOk:
      return Value::Int(number);
    case ParseResult::kTooLarge:
      Fail("the integer does not fit into 64 bits");
    case ParseResult::kInvalid:
      break;
  }
  return IntegerOfReal(input.AsString(), otherwise);
}

Value ToFloat(Runtime&, const Value& input, const Bound& args) {
  Value otherwise = args.Or(0, Value::Float(0));
  if (input.Is(Kind::kUndefined)) FailUndefined(input);
  if (IsNumber(input)) return Value::Float(ToReal(input));
  if (!input.Is(Kind::kString)) return otherwise;
  const auto number = ParseFloat(input.AsString());
  return number ? Value::Float(*number) : otherwise;
}

Value Round(Runtime& runtime, const Value& input, const Bound& args) {
  const std::string method = args.Has(1) ? args.Text(1) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    Fail("round takes the methods common, ceil and floor");
  if (input.Is(Kind::kUndefined)) FailUndefined(input);
  if (!IsNumber(input)) Fail(Concat("round needs a number, not a ", TypeName(input)));
  if (method == "common") {
    const bool to_integer = args.Has(0) && args[0].Is(Kind::kNone);
    const int64_t digits = to_integer ? 0 : args.IntegerOr(0, 0);
    if (IsInteger(input)) return Value::Int(RoundedInteger(input.AsInt(), digits));
    const double rounded = Rounded(input.AsFloat(), digits);
    if (to_integer) return ToInt(rounded);
    if (std::isinf(rounded) && std::isfinite(input.AsFloat()))
      Fail("the rounded number is too large");
    return Value::Float(rounded);
  }
  const Value scale = Binary(runtime, Op::kPow, Value::Int(10), Value::Int(args.IntegerOr(0, 0)));
  const Value scaled = Binary(runtime, Op::kMul, input, scale);
  const Value whole = IsInteger(scaled)  ? scaled
                      : method == "ceil" ? ToInt(std::ceil(scaled.AsFloat()))
                                         : ToInt(std::floor(scaled.AsFloat()));
  return Binary(runtime, Op::kDiv, whole, scale);
}

}  // namespace ftd::jinja
