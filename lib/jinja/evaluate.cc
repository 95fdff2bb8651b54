// Expressions.
#include "lib/base/concat.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/methods.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/render.h"
#include "lib/jinja/tests.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

std::vector<Value> EvaluateAll(const Context& context, const std::vector<ExprPtr>& exprs) {
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const ExprPtr& expr : exprs) values.push_back(Evaluate(context, *expr));
  return values;
}

Value EvaluateName(const Context& context, const Expr& expr) {
  const Value& value = context.At(expr.variable);
  if (!value.Is(Kind::kMissing)) return value;
  return Undefined(UndefinedObject::Why::kName, expr.name);
}

Value EvaluateDict(const Context& context, const Expr& expr) {
  std::vector<std::pair<Value, Value>> items;
  for (size_t i = 0; i < expr.kids.size(); i += 2) {
    Value key = Evaluate(context, *expr.kids[i]);
    HashableKey(context.runtime, key);
    items.emplace_back(std::move(key), Evaluate(context, *expr.kids[i + 1]));
  }
  return context.runtime.Dict(std::move(items));
}

Value EvaluateItem(const Context& context, const Expr& expr) {
  const Value object = Evaluate(context, *expr.kids[0]);
  const Expr& index = *expr.kids[1];
  if (index.op != Op::kSlice) {
    const Value key = Evaluate(context, index);
    context.runtime.at = expr.at;
    return GetItem(context.runtime, object, key);
  }
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (index.kids[i] != nullptr) bounds[i] = Evaluate(context, *index.kids[i]);
  }
  context.runtime.at = expr.at;
  return GetSlice(context.runtime, object, bounds[0], bounds[1], bounds[2]);
}

void SpreadNamed(Runtime& runtime, const Value& dict, Args* args) {
  if (!dict.Is(Kind::kDict)) Fail("what follows ** must be a dict");
  for (const auto& [key, value] : dict.As<DictObject>().items) {
    if (!key.Is(Kind::kString)) Fail("the keys of what follows ** must be strings");
    for (const auto& [name, given] : args->named) {
      if (name == key.AsString()) Fail(Concat("the argument '", name, "' is given twice"));
    }
    args->named.emplace_back(key.AsString(), value);
  }
  runtime.Step(args->named.size());
}

// The kids after the first: positional arguments, named ones, *x, **x.
Args EvaluateArguments(const Context& context, const Expr& expr) {
  Args args;
  const size_t spread = (expr.star ? 1 : 0) + (expr.double_star ? 1 : 0);
  const size_t named_at = expr.kids.size() - spread - expr.named.size();
  for (size_t i = 1; i < named_at; ++i) args.positional.push_back(Evaluate(context, *expr.kids[i]));
  for (size_t i = 0; i < expr.named.size(); ++i)
    args.named.emplace_back(expr.named[i], Evaluate(context, *expr.kids[named_at + i]));
  size_t next = named_at + expr.named.size();
  if (expr.star) {
    for (Value& value : ToVector(context.runtime, Evaluate(context, *expr.kids[next++])))
      args.positional.push_back(std::move(value));
  }
  if (expr.double_star) SpreadNamed(context.runtime, Evaluate(context, *expr.kids[next]), &args);
  return args;
}

bool CompareBy(Runtime& runtime, CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::kEq:
      return Equals(runtime, left, right);
    case CompareOp::kNe:
      return !Equals(runtime, left, right);
    case CompareOp::kLt:
      return Less(runtime, left, right);
    case CompareOp::kLe:
      return Order(runtime, left, right, "<=").value_or(1) <= 0;
    case CompareOp::kGt:
      return Order(runtime, left, right, ">").value_or(0) > 0;
    case CompareOp::kGe:
      return Order(runtime, left, right, ">=").value_or(-1) >= 0;
    case CompareOp::kIn:
      return Contains(runtime, right, left);
    case CompareOp::kNotIn:
      return !Contains(runtime, right, left);
  }
  return false;
}

Value EvaluateCompare(const Context& context, const Expr& expr) {
  Value left = Evaluate(context, *expr.kids[0]);
  for (size_t i = 0; i < expr.compare.size(); ++i) {
    Value right = Evaluate(context, *expr.kids[i + 1]);
    context.runtime.at = expr.at;
    if (!CompareBy(context.runtime, expr.compare[i], left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value EvaluateConcat(const Context& context, const Expr& expr) {
  std::string text;
  const std::vector<Value> parts = EvaluateAll(context, expr.kids);
  context.runtime.at = expr.at;
  for (const Value& part : parts) {
    if (part.Is(Kind::kString)) {
      text.append(part.AsString());
    } else {
      text.append(Str(context.runtime, part));
    }
  }
  return context.runtime.Text(std::move(text));
}

Value EvaluateFilterOf(const Context& context, const Expr& expr, const Value& input) {
  Args args = EvaluateArguments(context, expr);
  context.runtime.at = expr.at;
  if (expr.filter == nullptr) Fail(Concat("there is no filter named '", expr.name, "'"));
  return CallFilter(context.runtime, *expr.filter, input, std::move(args));
}

Value EvaluateTest(const Context& context, const Expr& expr) {
  const Value input = Evaluate(context, *expr.kids[0]);
  const Args args = EvaluateArguments(context, expr);
  context.runtime.at = expr.at;
  if (expr.test == nullptr) Fail(Concat("there is no test named '", expr.name, "'"));
  return Value::Bool(CallTest(context.runtime, *expr.test, input, args));
}

Value EvaluateCondition(const Context& context, const Expr& expr) {
  if (IsTrue(context.runtime, Evaluate(context, *expr.kids[0])))
    return Evaluate(context, *expr.kids[1]);
  if (expr.kids[2] != nullptr) return Evaluate(context, *expr.kids[2]);
  return Undefined("the inline 'if' is false and has no 'else'");
}

Value EvaluateBinary(const Context& context, const Expr& expr) {
  const Value left = Evaluate(context, *expr.kids[0]);
  const Value right = Evaluate(context, *expr.kids[1]);
  context.runtime.at = expr.at;
  return Binary(context.runtime, expr.op, left, right);
}

Value EvaluateUnary(const Context& context, const Expr& expr) {
  const Value value = Evaluate(context, *expr.kids[0]);
  context.runtime.at = expr.at;
  if (expr.op == Op::kNot) return Value::Bool(!IsTrue(context.runtime, value));
  return expr.op == Op::kNegate ? Negate(value) : Plus(value);
}

// `and` and `or` give one of their operands.
Value EvaluateLogic(const Context& context, const Expr& expr) {
  Value left = Evaluate(context, *expr.kids[0]);
  if (IsTrue(context.runtime, left) == (expr.op == Op::kOr)) return left;
  return Evaluate(context, *expr.kids[1]);
}

Value EvaluateAttribute(const Context& context, const Expr& expr) {
  const Value object = Evaluate(context, *expr.kids[0]);
  context.runtime.at = expr.at;
  return GetAttribute(context.runtime, object, expr.name);
}

}  // namespace

Value EvaluateFilter(const Context& context, const Expr& expr, const Value& input) {
  return EvaluateFilterOf(
      context, expr,
      expr.kids[0] == nullptr ? input : EvaluateFilter(context, *expr.kids[0], input));
}

Value EvaluateCall(const Context& context, const Expr& expr, const Value* caller) {
  const Expr& callee = *expr.kids[0];
  Value self;
  const MethodRow* method = nullptr;
  if (callee.op == Op::kGetAttr) {
    // A method is called without making a value of it first.
    self = Evaluate(context, *callee.kids[0]);
    context.runtime.at = callee.at;
    if (!self.Is(Kind::kNamespace) && !IsKeptBack(self, callee.name))
      method = FindMethod(self, callee.name);
    if (method == nullptr) self = GetAttribute(context.runtime, self, callee.name);
  } else {
    self = Evaluate(context, callee);
  }
  Args args = EvaluateArguments(context, expr);
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  context.runtime.at = expr.at;
  if (method == nullptr) return Call(context.runtime, self, args);
  return CallMethod(context.runtime, self, *method, args);
}

Value Evaluate(const Context& context, const Expr& expr) {
  context.runtime.Step();
  switch (expr.op) {
    case Op::kConst:
      return expr.value;
    case Op::kName:
    case Op::kNamespaceName:
      return EvaluateName(context, expr);
    case Op::kTuple:
      return context.runtime.Tuple(EvaluateAll(context, expr.kids));
    case Op::kList:
      return context.runtime.List(EvaluateAll(context, expr.kids));
    case Op::kDict:
      return EvaluateDict(context, expr);
    case Op::kGetAttr:
      return EvaluateAttribute(context, expr);
    case Op::kGetItem:
      return EvaluateItem(context, expr);
    case Op::kCall:
      return EvaluateCall(context, expr, nullptr);
    case Op::kFilter: {
      const Value input = Evaluate(context, *expr.kids[0]);
      return EvaluateFilterOf(context, expr, input);
    }
    case Op::kTest:
      return EvaluateTest(context, expr);
    case Op::kCond:
      return EvaluateCondition(context, expr);
    case Op::kAnd:
    case Op::kOr:
      return EvaluateLogic(context, expr);
    case Op::kNot:
    case Op::kNegate:
    case Op::kPlus:
      return EvaluateUnary(context, expr);
    case Op::kConcat:
      return EvaluateConcat(context, expr);
    case Op::kCompare:
      return EvaluateCompare(context, expr);
    default:
      return EvaluateBinary(context, expr);
  }
}

}  // namespace ftd::jinja
