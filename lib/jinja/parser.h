// From tokens to the statements and expressions of program.h.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/jinja/lexer.h"
#include "lib/jinja/program.h"

namespace ftd::jinja {

// A recursive-descent parser with Jinja2's grammar. Every error is a Failure with its position.
class Parser {
 public:
  // Requires: the tokens end with a kEnd.
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // Returns the whole template.
  Body ParseTemplate();

 private:
  // parser.cc: statements.
  Body ParseBody(std::initializer_list<std::string_view> ends);
  Body ParseBlock(std::initializer_list<std::string_view> ends);  // from the tag's end on
  StmtPtr ParseStatement();
  StmtPtr ParseStatementNamed(std::string_view name);
  StmtPtr ParseFor();
  StmtPtr ParseIf();
  StmtPtr ParseSet();
  StmtPtr ParseWith();
  StmtPtr ParseMacro();
  StmtPtr ParseCallBlock();
  StmtPtr ParseFilterBlock();
  StmtPtr ParseGeneration();
  StmtPtr ParsePrint();
  void ParseSignature(Stmt* stmt);
  ExprPtr ParseTarget(bool with_namespace, std::string_view end_name);
  ExprPtr ParseNameTarget();
  void MakeTarget(Expr* target, Access access);
  StmtPtr NewStmt(StmtOp op);

  // parse_expression.cc.
  enum TupleFlags {
    kPlain = 0,
    kSimplified = 1,
    kNoCondition = 2,
    kParentheses = 4,
    kNamespace = 8
  };
  ExprPtr ParseTuple(int flags, std::string_view end_name = "");
  ExprPtr ParseExpression() { return ParseCondition(); }
  ExprPtr ParseCondition();
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  bool ParseCompareOp(CompareOp* op);
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filter);
  ExprPtr ParsePrimary(bool with_namespace);
  ExprPtr ParseNamePrimary(bool with_namespace);
  ExprPtr ParseStrings();
  ExprPtr ParseList();
  ExprPtr ParseDict();

  // parse_postfix.cc.
  ExprPtr ParsePostfix(ExprPtr node);
  ExprPtr ParseFilters(ExprPtr node);
  ExprPtr ParseDot(ExprPtr node);
  ExprPtr ParseSubscript(ExprPtr node);
  ExprPtr ParseIndex();
  ExprPtr ParseFilter(ExprPtr input);  // from the filter's name on; `input` may be null
  ExprPtr ParseTest(ExprPtr input);
  ExprPtr ParseCall(ExprPtr callee);
  void ParseArguments(Expr* call);
  std::string ParseDottedName();

  // Stream.
  const Token& Current() const { return tokens_[next_]; }
  const Token& Following() const { return tokens_[std::min(next_ + 1, tokens_.size() - 1)]; }
  Token Next();
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view sign);
  Token Expect(TokenKind kind, std::string_view what);
  void ExpectName(std::string_view name);
  void ExpectOperator(std::string_view sign);
  [[noreturn]] void FailHere(std::string_view message) const;
  [[noreturn]] void FailExpected(std::string_view what) const;

  ExprPtr NewExpr(Op op, uint32_t at) const;
  // Adds a child; fails when the tree is too deep.
  void AddKid(Expr* parent, ExprPtr kid) const;
  ExprPtr NewBinary(Op op, ExprPtr left, ExprPtr right) const;

  // Brackets and blocks in one another.
  class Nesting;

  std::vector<Token> tokens_;
  size_t next_ = 0;
  int nesting_ = 0;
  std::vector<std::string> open_;  // names of the open blocks
};

// Returns how an error names a token.
std::string Describe(const Token& token);

}  // namespace ftd::jinja
