#include "lib/jinja/operators.h"

#include <cmath>
#include <limits>

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/format.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};

std::string_view SignOf(Op op) {
  return kSigns[static_cast<size_t>(op) - static_cast<size_t>(Op::kAdd)];
}

[[noreturn]] void FailOperands(Op op, const Value& left, const Value& right) {
  for (const Value& value : {left, right}) {
    if (value.Is(Kind::kUndefined)) FailUndefined(value);
  }
  Fail(Concat("'", SignOf(op), "' is not supported between ", TypeName(left), " and ",
              TypeName(right)));
}

[[noreturn]] void FailOverflow() { Fail("the integer does not fit into 64 bits"); }

// Rounds towards minus infinity. Requires: b is not 0.
int64_t FloorDivided(int64_t a, int64_t b) {
  if (b == -1 && a == std::numeric_limits<int64_t>::min()) FailOverflow();
  const int64_t quotient = a / b;
  return a % b != 0 && ((a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

int64_t PowerOf(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) FailOverflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) FailOverflow();
  }
  return result;
}

double Divided(int64_t a, int64_t b) {
  constexpr int64_t kExact = int64_t{1} << 53;
  if (a >= -kExact && a <= kExact && b >= -kExact && b <= kExact)
    return static_cast<double>(a) / static_cast<double>(b);
  return static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b));
}

double CheckedPower(double base, double exponent) {
  if (base == 0 && exponent < 0) Fail("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) &&
      std::floor(exponent) != exponent)
    Fail("the power of a negative number is complex, which is not supported");
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    Fail("the result is too large");
  return result;
}

Value BinaryOfIntegers(Op op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::kPow:
      if (b < 0) return Value::Float(CheckedPower(static_cast<double>(a), static_cast<double>(b)));
      return Value::Int(PowerOf(a, b));
    default:
      if (b == 0) Fail("division by zero");
      if (op == Op::kDiv) return Value::Float(Divided(a, b));
      if (op == Op::kMod && b == -1) return Value::Int(0);
      result = FloorDivided(a, b);
      if (op == Op::kMod) result = a - result * b;
  }
  if (overflow) FailOverflow();
  return Value::Int(result);
}

// The remainder has the divisor's sign; the quotient is what is left without it, rounded.
double Remainder(double a, double b) {
  double mod = std::fmod(a, b);
  if (mod == 0) return std::copysign(0.0, b);
  return (mod < 0) != (b < 0) ? mod + b : mod;
}

double FloorDivided(double a, double b) {
  const double quotient = (a - std::fmod(a, b)) / b;
  const double mod = std::fmod(a, b);
  const double exact = mod != 0 && (mod < 0) != (b < 0) ? quotient - 1 : quotient;
  if (exact == 0) return std::copysign(0.0, a / b);
  const double floor = std::floor(exact);
  return exact - floor > 0.5 ? floor + 1 : floor;
}

Value BinaryOfReals(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd:
      return Value::Float(a + b);
    case Op::kSub:
      return Value::Float(a - b);
    case Op::kMul:
      return Value::Float(a * b);
    case Op::kPow:
      return Value::Float(CheckedPower(a, b));
    default:
      if (b == 0) Fail("division by zero");
      if (op == Op::kDiv) return Value::Float(a / b);
      return Value::Float(op == Op::kMod ? Remainder(a, b) : FloorDivided(a, b));
  }
}

// Markup escapes what is added to it.
Value AddTexts(Runtime& runtime, const Value& left, const Value& right) {
  const std::string &a = left.AsString(), &b = right.AsString();
  runtime.Allocate(a.size() + b.size());
  if (IsMarkup(left) == IsMarkup(right))
    return IsMarkup(left) ? MakeMarkup(a + b) : Value::String(a + b);
  return MakeMarkup(IsMarkup(left) ? a + EscapeHtml(b) : EscapeHtml(a) + b);
}

std::optional<Value> AddSequences(Runtime& runtime, const Value& left, const Value& right) {
  if (left.kind() != right.kind()) return std::nullopt;
  if (left.Is(Kind::kString)) return AddTexts(runtime, left, right);
  if (!left.Is(Kind::kList) && !left.Is(Kind::kTuple)) return std::nullopt;
  const auto &a = left.As<ListObject>().items, &b = right.As<ListObject>().items;
  runtime.Allocate((a.size() + b.size()) * sizeof(Value));
  std::vector<Value> items(a);
  items.insert(items.end(), b.begin(), b.end());
  return left.Is(Kind::kList) ? runtime.List(std::move(items)) : runtime.Tuple(std::move(items));
}

std::optional<Value> RepeatSequence(Runtime& runtime, const Value& sequence, const Value& times) {
  if (!IsInteger(times)) return std::nullopt;
  const int64_t count = std::max<int64_t>(times.AsInt(), 0);
  if (sequence.Is(Kind::kString)) {
    std::string text = Repeated(runtime, sequence.AsString(), count);
    return IsMarkup(sequence) ? MakeMarkup(std::move(text)) : Value::String(std::move(text));
  }
  if (!sequence.Is(Kind::kList) && !sequence.Is(Kind::kTuple)) return std::nullopt;
  const auto& items = sequence.As<ListObject>().items;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(items.size() * sizeof(Value), static_cast<uint64_t>(count), &bytes))
    bytes = std::numeric_limits<uint64_t>::max();
  runtime.Allocate(bytes);
  std::vector<Value> repeated;
  for (int64_t i = 0; i < count && !items.empty(); ++i)
    repeated.insert(repeated.end(), items.begin(), items.end());
  return runtime.Checked(sequence.Is(Kind::kList) ? Value::List(std::move(repeated))
                                                  : Value::Tuple(std::move(repeated)));
}

std::optional<Value> BinaryOfSequences(Runtime& runtime, Op op, const Value& left,
                                       const Value& right) {
  if (op == Op::kAdd) return AddSequences(runtime, left, right);
  if (op == Op::kMod && left.Is(Kind::kString)) {
    if (IsMarkup(left)) Fail("'%' is not supported on a text marked safe");
    return runtime.Text(PercentFormat(runtime, left.AsString(), right));
  }
  if (op != Op::kMul) return std::nullopt;
  auto repeated = RepeatSequence(runtime, left, right);
  return repeated ? repeated : RepeatSequence(runtime, right, left);
}

}  // namespace

std::string Repeated(Runtime& runtime, const std::string& text, int64_t count) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(text.size(), static_cast<uint64_t>(count), &bytes))
    bytes = std::numeric_limits<uint64_t>::max();
  runtime.Allocate(bytes);
  std::string repeated;
  repeated.reserve(bytes);
  for (int64_t i = 0; i < count && !text.empty(); ++i) repeated.append(text);
  return repeated;
}

Value Binary(Runtime& runtime, Op op, const Value& left, const Value& right) {
  if (IsInteger(left) && IsInteger(right)) return BinaryOfIntegers(op, left.AsInt(), right.AsInt());
  if (IsNumber(left) && IsNumber(right)) return BinaryOfReals(op, ToReal(left), ToReal(right));
  auto result = BinaryOfSequences(runtime, op, left, right);
  if (!result) FailOperands(op, left, right);
  return *std::move(result);
}

Value Negate(const Value& value) {
  if (value.Is(Kind::kFloat)) return Value::Float(-value.AsFloat());
  if (!IsInteger(value)) {
    if (value.Is(Kind::kUndefined)) FailUndefined(value);
    Fail(Concat("'-' is not supported for ", TypeName(value)));
  }
  return BinaryOfIntegers(Op::kSub, 0, value.AsInt());
}

Value Plus(const Value& value) {
  if (value.Is(Kind::kFloat)) return value;
  if (IsInteger(value)) return Value::Int(value.AsInt());
  if (value.Is(Kind::kUndefined)) FailUndefined(value);
  Fail(Concat("'+' is not supported for ", TypeName(value)));
}

int64_t ToIndex(const Value& value) {
  if (value.Is(Kind::kUndefined)) FailUndefined(value);
  if (!IsInteger(value)) Fail(Concat("expected an integer, got ", TypeName(value)));
  return value.AsInt();
}

double ToReal(const Value& value) {
  if (value.Is(Kind::kUndefined)) FailUndefined(value);
  if (value.Is(Kind::kFloat)) return value.AsFloat();
  if (!IsInteger(value)) Fail(Concat("expected a number, got ", TypeName(value)));
  return static_cast<double>(value.AsInt());
}

Value ToInt(double value) {
  if (!(value >= -0x1p63 && value < 0x1p63)) {
    Fail(std::isnan(value) ? "cannot convert NaN to an integer"
                           : "the number does not fit into a 64-bit integer");
  }
  return Value::Int(static_cast<int64_t>(value));
}

}  // namespace ftd::jinja
