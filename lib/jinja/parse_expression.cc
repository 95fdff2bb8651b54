// The grammar of expressions: from the inline `if`, which binds least, to names and literals.
#include <array>

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/nesting.h"
#include "lib/jinja/parser.h"

namespace ftd::jinja {

// Comma-separated expressions; without a comma, the expression itself.
ExprPtr Parser::ParseTuple(int flags, std::string_view end_name) {
  ExprPtr tuple = NewExpr(Op::kTuple, Current().at);
  bool is_tuple = false;
  for (;;) {
    if (!tuple->kids.empty()) ExpectOperator(",");
    if (Current().kind == TokenKind::kVariableEnd || Current().kind == TokenKind::kBlockEnd ||
        Current().IsOperator(")") || (!end_name.empty() && Current().IsName(end_name)))
      break;
    AddKid(tuple.get(), (flags & kSimplified)    ? ParsePrimary(flags & kNamespace)
                        : (flags & kNoCondition) ? ParseOr()
                                                 : ParseExpression());
    if (!Current().IsOperator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return tuple;
  if (!tuple->kids.empty()) return std::move(tuple->kids[0]);
  if (!(flags & kParentheses)) FailExpected("an expression");
  return tuple;
}

ExprPtr Parser::ParseCondition() {
  const Nesting nesting(this);
  ExprPtr value = ParseOr();
  while (Current().IsName("if")) {
    ExprPtr cond = NewExpr(Op::kCond, Next().at);
    AddKid(cond.get(), ParseOr());
    AddKid(cond.get(), std::move(value));
    AddKid(cond.get(), SkipName("else") ? ParseCondition() : nullptr);
    value = std::move(cond);
  }
  return value;
}

ExprPtr Parser::NewBinary(Op op, ExprPtr left, ExprPtr right) const {
  ExprPtr expr = NewExpr(op, left->at);
  AddKid(expr.get(), std::move(left));
  AddKid(expr.get(), std::move(right));
  return expr;
}

ExprPtr Parser::ParseOr() {
  ExprPtr left = ParseAnd();
  while (SkipName("or")) left = NewBinary(Op::kOr, std::move(left), ParseAnd());
  return left;
}

ExprPtr Parser::ParseAnd() {
  ExprPtr left = ParseNot();
  while (SkipName("and")) left = NewBinary(Op::kAnd, std::move(left), ParseNot());
  return left;
}

ExprPtr Parser::ParseNot() {
  if (!Current().IsName("not")) return ParseCompare();
  const Nesting nesting(this);
  ExprPtr expr = NewExpr(Op::kNot, Next().at);
  AddKid(expr.get(), ParseNot());
  return expr;
}

bool Parser::ParseCompareOp(CompareOp* op) {
  constexpr std::array<std::string_view, 6> kSigns = {"==", "!=", "<", "<=", ">", ">="};
  for (size_t i = 0; i < kSigns.size(); ++i) {
    if (!SkipOperator(kSigns[i])) continue;
    *op = static_cast<CompareOp>(i);
    return true;
  }
  if (SkipName("in")) {
    *op = CompareOp::kIn;
    return true;
  }
  if (!Current().IsName("not") || !Following().IsName("in")) return false;
  next_ += 2;
  *op = CompareOp::kNotIn;
  return true;
}

ExprPtr Parser::ParseCompare() {
  ExprPtr first = ParseSum();
  CompareOp op;
  if (!ParseCompareOp(&op)) return first;
  ExprPtr expr = NewExpr(Op::kCompare, first->at);
  AddKid(expr.get(), std::move(first));
  do {
    expr->compare.push_back(op);
    AddKid(expr.get(), ParseSum());
  } while (ParseCompareOp(&op));
  return expr;
}

ExprPtr Parser::ParseSum() {
  ExprPtr left = ParseConcat();
  for (;;) {
    if (SkipOperator("+")) {
      left = NewBinary(Op::kAdd, std::move(left), ParseConcat());
    } else if (SkipOperator("-")) {
      left = NewBinary(Op::kSub, std::move(left), ParseConcat());
    } else {
      return left;
    }
  }
}

ExprPtr Parser::ParseConcat() {
  ExprPtr first = ParseProduct();
  if (!Current().IsOperator("~")) return first;
  ExprPtr expr = NewExpr(Op::kConcat, first->at);
  AddKid(expr.get(), std::move(first));
  while (SkipOperator("~")) AddKid(expr.get(), ParseProduct());
  return expr;
}

ExprPtr Parser::ParseProduct() {
  constexpr std::array<std::pair<std::string_view, Op>, 4> kSigns = {
      {{"*", Op::kMul}, {"/", Op::kDiv}, {"//", Op::kFloorDiv}, {"%", Op::kMod}}};
  ExprPtr left = ParsePower();
  for (size_t i = 0; i < kSigns.size();) {
    if (!SkipOperator(kSigns[i].first)) {
      ++i;
      continue;
    }
    left = NewBinary(kSigns[i].second, std::move(left), ParsePower());
    i = 0;
  }
  return left;
}

// From left to right, unlike Python's.
ExprPtr Parser::ParsePower() {
  ExprPtr left = ParseUnary(true);
  while (SkipOperator("**")) left = NewBinary(Op::kPow, std::move(left), ParseUnary(true));
  return left;
}

// A sign binds tighter than filters, so that -1|abs is 1.
ExprPtr Parser::ParseUnary(bool with_filter) {
  ExprPtr node;
  if (Current().IsOperator("-") || Current().IsOperator("+")) {
    const Nesting nesting(this);
    const Token sign = Next();
    node = NewExpr(sign.text == "-" ? Op::kNegate : Op::kPlus, sign.at);
    AddKid(node.get(), ParseUnary(false));
  } else {
    node = ParsePrimary(false);
  }
  node = ParsePostfix(std::move(node));
  return with_filter ? ParseFilters(std::move(node)) : std::move(node);
}

ExprPtr Parser::ParsePrimary(bool with_namespace) {
  const Nesting nesting(this);
  switch (Current().kind) {
    case TokenKind::kName:
      return ParseNamePrimary(with_namespace);
    case TokenKind::kString:
      return ParseStrings();
    case TokenKind::kInteger: {
      ExprPtr expr = NewExpr(Op::kConst, Current().at);
      expr->value = Value::Int(Next().integer);
      return expr;
    }
    case TokenKind::kFloat: {
      ExprPtr expr = NewExpr(Op::kConst, Current().at);
      expr->value = Value::Float(Next().real);
      return expr;
    }
    default:
      break;
  }
  if (SkipOperator("(")) {
    ExprPtr expr = ParseTuple(kParentheses);
    ExpectOperator(")");
    return expr;
  }
  if (Current().IsOperator("[")) return ParseList();
  if (Current().IsOperator("{")) return ParseDict();
  FailExpected("an expression");
}

ExprPtr Parser::ParseNamePrimary(bool with_namespace) {
  const Token token = Next();
  ExprPtr expr = NewExpr(Op::kConst, token.at);
  if (token.text == "true" || token.text == "True") {
    expr->value = Value::Bool(true);
  } else if (token.text == "false" || token.text == "False") {
    expr->value = Value::Bool(false);
  } else if (token.text != "none" && token.text != "None") {
    expr->op = Op::kName;
    expr->name = token.text;
    if (with_namespace && SkipOperator(".")) {
      expr->op = Op::kNamespaceName;
      expr->attribute = Expect(TokenKind::kName, "a name").text;
    }
  }
  return expr;
}

ExprPtr Parser::ParseStrings() {
  ExprPtr expr = NewExpr(Op::kConst, Current().at);
  std::string text;
  while (Current().kind == TokenKind::kString) text.append(Next().text);
  expr->value = Value::String(std::move(text));
  return expr;
}

ExprPtr Parser::ParseList() {
  ExprPtr list = NewExpr(Op::kList, Next().at);
  while (!Current().IsOperator("]")) {
    if (!list->kids.empty()) ExpectOperator(",");
    if (Current().IsOperator("]")) break;
    AddKid(list.get(), ParseExpression());
  }
  ExpectOperator("]");
  return list;
}

ExprPtr Parser::ParseDict() {
  ExprPtr dict = NewExpr(Op::kDict, Next().at);
  while (!Current().IsOperator("}")) {
    if (!dict->kids.empty()) ExpectOperator(",");
    if (Current().IsOperator("}")) break;
    AddKid(dict.get(), ParseExpression());
    ExpectOperator(":");
    AddKid(dict.get(), ParseExpression());
  }
  ExpectOperator("}");
  return dict;
}

}  // namespace ftd::jinja
