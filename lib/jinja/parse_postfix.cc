// The grammar of what follows an expression: attributes, items, calls, filters and tests.
#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/parser.h"
#include "lib/jinja/tests.h"

namespace ftd::jinja {

ExprPtr Parser::ParsePostfix(ExprPtr node) {
  for (;;) {
    if (Current().IsOperator(".")) {
      node = ParseDot(std::move(node));
    } else if (Current().IsOperator("[")) {
      node = ParseSubscript(std::move(node));
    } else if (Current().IsOperator("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::ParseFilters(ExprPtr node) {
  for (;;) {
    if (SkipOperator("|")) {
      node = ParseFilter(std::move(node));
    } else if (Current().IsName("is")) {
      node = ParseTest(std::move(node));
    } else if (Current().IsOperator("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::ParseDot(ExprPtr node) {
  const uint32_t at = Next().at;
  if (Current().kind == TokenKind::kInteger) {
    ExprPtr item = NewExpr(Op::kGetItem, at);
    ExprPtr index = NewExpr(Op::kConst, Current().at);
    index->value = Value::Int(Next().integer);
    AddKid(item.get(), std::move(node));
    AddKid(item.get(), std::move(index));
    return item;
  }
  ExprPtr expr = NewExpr(Op::kGetAttr, at);
  expr->name = Expect(TokenKind::kName, "a name or an integer").text;
  AddKid(expr.get(), std::move(node));
  return expr;
}

ExprPtr Parser::ParseSubscript(ExprPtr node) {
  ExprPtr item = NewExpr(Op::kGetItem, Next().at);
  ExprPtr tuple = NewExpr(Op::kTuple, item->at);
  bool slice = false;
  while (!Current().IsOperator("]")) {
    if (!tuple->kids.empty()) ExpectOperator(",");
    ExprPtr index = ParseIndex();
    slice = slice || index->op == Op::kSlice;
    AddKid(tuple.get(), std::move(index));
  }
  ExpectOperator("]");
  if (slice && tuple->kids.size() > 1) FailAt(item->at, "a slice cannot be part of a tuple");
  AddKid(item.get(), std::move(node));
  AddKid(item.get(), tuple->kids.size() == 1 ? std::move(tuple->kids[0]) : std::move(tuple));
  return item;
}

// An index, or a slice: up to three expressions with colons between them.
ExprPtr Parser::ParseIndex() {
  const auto at_end = [&] { return Current().IsOperator("]") || Current().IsOperator(","); };
  ExprPtr slice = NewExpr(Op::kSlice, Current().at);
  ExprPtr start;
  if (!Current().IsOperator(":")) {
    start = ParseExpression();
    if (!Current().IsOperator(":")) return start;
  }
  Next();
  AddKid(slice.get(), std::move(start));
  AddKid(slice.get(), Current().IsOperator(":") || at_end() ? nullptr : ParseExpression());
  AddKid(slice.get(), SkipOperator(":") && !at_end() ? ParseExpression() : nullptr);
  return slice;
}

std::string Parser::ParseDottedName() {
  std::string name = Expect(TokenKind::kName, "a name").text;
  while (SkipOperator(".")) name.append(".").append(Expect(TokenKind::kName, "a name").text);
  return name;
}

ExprPtr Parser::ParseFilter(ExprPtr input) {
  ExprPtr filter = NewExpr(Op::kFilter, Current().at);
  filter->name = ParseDottedName();
  filter->filter = FilterNamed(filter->name);
  if (filter->filter == nullptr && IsRefusedFilter(filter->name))
    FailAt(filter->at, Concat("the filter '", filter->name, "' is not supported"));
  AddKid(filter.get(), std::move(input));
  if (Current().IsOperator("(")) ParseArguments(filter.get());
  return filter;
}

ExprPtr Parser::ParseTest(ExprPtr input) {
  const uint32_t at = Next().at;
  const bool negated = SkipName("not");
  ExprPtr test = NewExpr(Op::kTest, at);
  test->name = ParseDottedName();
  test->test = TestNamed(test->name);
  AddKid(test.get(), std::move(input));
  const Token& next = Current();
  const bool operand = next.kind == TokenKind::kName || next.kind == TokenKind::kString ||
                       next.kind == TokenKind::kInteger || next.kind == TokenKind::kFloat ||
                       next.IsOperator("[") || next.IsOperator("{");
  if (next.IsOperator("(")) {
    ParseArguments(test.get());
  } else if (operand && !next.IsName("else") && !next.IsName("or") && !next.IsName("and")) {
    if (next.IsName("is")) FailHere("tests cannot be chained with 'is'");
    AddKid(test.get(), ParsePostfix(ParsePrimary(false)));
  }
  if (!negated) return test;
  ExprPtr expr = NewExpr(Op::kNot, at);
  AddKid(expr.get(), std::move(test));
  return expr;
}

ExprPtr Parser::ParseCall(ExprPtr callee) {
  ExprPtr call = NewExpr(Op::kCall, Current().at);
  AddKid(call.get(), std::move(callee));
  ParseArguments(call.get());
  return call;
}

// Positional arguments, then named ones, then *x, then **x.
void Parser::ParseArguments(Expr* call) {
  const uint32_t at = Current().at;
  const auto ensure = [&](bool valid) {
    if (!valid) FailAt(at, "the arguments of the call are out of order");
  };
  ExpectOperator("(");
  ExprPtr star, double_star;
  for (bool first = true; !Current().IsOperator(")"); first = false) {
    if (!first) {
      ExpectOperator(",");
      if (Current().IsOperator(")")) break;
    }
    if (SkipOperator("*")) {
      ensure(star == nullptr && double_star == nullptr);
      star = ParseExpression();
    } else if (SkipOperator("**")) {
      ensure(double_star == nullptr);
      double_star = ParseExpression();
    } else if (Current().kind == TokenKind::kName && Following().IsOperator("=")) {
      ensure(double_star == nullptr);
      const Token name = Next();
      Next();
      for (const std::string& other : call->named) {
        if (other == name.text)
          FailAt(name.at, Concat("the argument '", name.text, "' occurs twice"));
      }
      call->named.push_back(name.text);
      AddKid(call, ParseExpression());
    } else {
      ensure(star == nullptr && double_star == nullptr && call->named.empty());
      AddKid(call, ParseExpression());
    }
  }
  ExpectOperator(")");
  call->star = star != nullptr;
  call->double_star = double_star != nullptr;
  if (star != nullptr) AddKid(call, std::move(star));
  if (double_star != nullptr) AddKid(call, std::move(double_star));
}

}  // namespace ftd::jinja
