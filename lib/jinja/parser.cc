#include "lib/jinja/parser.h"

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/nesting.h"

namespace ftd::jinja {
namespace {

// What Jinja2 has and templates of one file have no use for.
constexpr std::string_view kUnsupported[] = {"include", "import",     "from", "extends",
                                             "block",   "autoescape", "do",   "trans"};

bool IsReserved(std::string_view name) {
  for (const std::string_view word : {"true", "false", "none", "True", "False", "None"}) {
    if (word == name) return true;
  }
  return false;
}

}  // namespace

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
      return "an integer";
    case TokenKind::kFloat:
      return "a number";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      return Concat("'", token.text, "'");
  }
}

Token Parser::Next() {
  Token token = tokens_[next_];
  if (token.kind != TokenKind::kEnd) ++next_;
  return token;
}

bool Parser::SkipName(std::string_view name) {
  if (!Current().IsName(name)) return false;
  ++next_;
  return true;
}

bool Parser::SkipOperator(std::string_view sign) {
  if (!Current().IsOperator(sign)) return false;
  ++next_;
  return true;
}

Token Parser::Expect(TokenKind kind, std::string_view what) {
  if (Current().kind != kind) FailExpected(what);
  return Next();
}

void Parser::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailExpected(Concat("'", name, "'"));
}

void Parser::ExpectOperator(std::string_view sign) {
  if (!SkipOperator(sign)) FailExpected(Concat("'", sign, "'"));
}

void Parser::FailHere(std::string_view message) const {
  FailAt(Current().at, std::string(message));
}

void Parser::FailExpected(std::string_view what) const {
  FailHere(Concat("expected ", what, ", got ", Describe(Current())));
}

Body Parser::ParseTemplate() { return ParseBody({}); }

// Stops before the name of an end tag, or at the end of the template.
Body Parser::ParseBody(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(this);
  Body body;
  StmtPtr output;
  const auto flush = [&] {
    if (output != nullptr) body.push_back(std::move(output));
  };
  while (Current().kind != TokenKind::kEnd) {
    const Token token = Next();
    if (token.kind == TokenKind::kBlockBegin) {
      flush();
      for (const std::string_view end : ends) {
        if (Current().IsName(end)) return body;
      }
      body.push_back(ParseStatement());
      Expect(TokenKind::kBlockEnd, "'%}'");
      continue;
    }
    if (output == nullptr) {
      output = std::make_unique<Stmt>();
      output->op = StmtOp::kOutput;
      output->at = token.at;
    }
    if (token.kind == TokenKind::kData) {
      ExprPtr data = NewExpr(Op::kConst, token.at);
      data->value = Value::String(token.text);
      output->exprs.push_back(std::move(data));
    } else {
      output->exprs.push_back(ParseTuple(kPlain));
      Expect(TokenKind::kVariableEnd, "'}}'");
    }
  }
  flush();
  if (ends.size() > 0) {
    FailHere(Concat("the template ends within {% ", open_.back(), " %}: expected {% ",
                    *(ends.end() - 1), " %}"));
  }
  return body;
}

Body Parser::ParseBlock(std::initializer_list<std::string_view> ends) {
  SkipOperator(":");
  Expect(TokenKind::kBlockEnd, "'%}'");
  return ParseBody(ends);
}

StmtPtr Parser::NewStmt(StmtOp op) {
  auto stmt = std::make_unique<Stmt>();
  stmt->op = op;
  stmt->at = tokens_[next_ > 0 ? next_ - 1 : 0].at;  // the tag's name
  return stmt;
}

StmtPtr Parser::ParseStatement() {
  const Token tag = Expect(TokenKind::kName, "the name of a tag");
  open_.push_back(tag.text);
  StmtPtr stmt = ParseStatementNamed(tag.text);
  if (stmt == nullptr) {
    for (const std::string_view name : kUnsupported) {
      if (tag.text == name) FailAt(tag.at, Concat("{% ", name, " %} is not supported"));
    }
    open_.pop_back();
    FailAt(tag.at, open_.empty()
                       ? Concat("unknown tag '", tag.text, "'")
                       : Concat("unknown tag '", tag.text, "' within {% ", open_.back(), " %}"));
  }
  open_.pop_back();
  return stmt;
}

StmtPtr Parser::ParseStatementNamed(std::string_view name) {
  if (name == "for") return ParseFor();
  if (name == "if") return ParseIf();
  if (name == "set") return ParseSet();
  if (name == "with") return ParseWith();
  if (name == "macro") return ParseMacro();
  if (name == "call") return ParseCallBlock();
  if (name == "filter") return ParseFilterBlock();
  if (name == "generation") return ParseGeneration();
  if (name == "print") return ParsePrint();
  if (name == "break") return NewStmt(StmtOp::kBreak);
  if (name == "continue") return NewStmt(StmtOp::kContinue);
  return nullptr;
}

StmtPtr Parser::ParseFor() {
  StmtPtr stmt = NewStmt(StmtOp::kFor);
  stmt->targets.push_back(ParseTarget(false, "in"));
  ExpectName("in");
  stmt->expr = ParseTuple(kNoCondition, "recursive");
  if (SkipName("if")) stmt->test = ParseExpression();
  stmt->recursive = SkipName("recursive");
  stmt->bodies.push_back(ParseBlock({"else", "endfor"}));
  stmt->has_else = Next().text == "else";
  if (stmt->has_else) {
    stmt->bodies.push_back(ParseBlock({"endfor"}));
    Next();
  }
  return stmt;
}

StmtPtr Parser::ParseIf() {
  StmtPtr stmt = NewStmt(StmtOp::kIf);
  for (;;) {
    stmt->exprs.push_back(ParseTuple(kNoCondition));
    stmt->bodies.push_back(ParseBlock({"elif", "else", "endif"}));
    const Token end = Next();
    if (end.text == "elif") continue;
    stmt->has_else = end.text == "else";
    break;
  }
  if (stmt->has_else) {
    stmt->bodies.push_back(ParseBlock({"endif"}));
    Next();
  }
  return stmt;
}

StmtPtr Parser::ParseSet() {
  StmtPtr stmt = NewStmt(StmtOp::kSet);
  stmt->targets.push_back(ParseTarget(true, ""));
  if (SkipOperator("=")) {
    stmt->expr = ParseTuple(kPlain);
    return stmt;
  }
  stmt->op = StmtOp::kSetBlock;
  while (SkipOperator("|")) stmt->expr = ParseFilter(std::move(stmt->expr));
  stmt->bodies.push_back(ParseBlock({"endset"}));
  Next();
  return stmt;
}

StmtPtr Parser::ParseWith() {
  StmtPtr stmt = NewStmt(StmtOp::kWith);
  while (Current().kind != TokenKind::kBlockEnd) {
    if (!stmt->targets.empty()) ExpectOperator(",");
    ExprPtr target = ParseTarget(false, "");
    MakeTarget(target.get(), Access::kParameter);
    stmt->targets.push_back(std::move(target));
    ExpectOperator("=");
    stmt->exprs.push_back(ParseExpression());
  }
  stmt->bodies.push_back(ParseBlock({"endwith"}));
  Next();
  return stmt;
}

void Parser::ParseSignature(Stmt* stmt) {
  ExpectOperator("(");
  while (!Current().IsOperator(")")) {
    if (!stmt->targets.empty()) ExpectOperator(",");
    ExprPtr target = ParseNameTarget();
    MakeTarget(target.get(), Access::kParameter);
    for (const ExprPtr& other : stmt->targets) {
      if (other->name == target->name)
        FailAt(target->at, Concat("the parameter '", target->name, "' occurs twice"));
    }
    if (SkipOperator("=")) {
      stmt->exprs.push_back(ParseExpression());
    } else if (!stmt->exprs.empty()) {
      FailHere("a parameter without a default follows one with a default");
    }
    stmt->targets.push_back(std::move(target));
  }
  ExpectOperator(")");
}

StmtPtr Parser::ParseMacro() {
  StmtPtr stmt = NewStmt(StmtOp::kMacro);
  stmt->name = ParseNameTarget()->name;
  ParseSignature(stmt.get());
  stmt->bodies.push_back(ParseBlock({"endmacro"}));
  Next();
  return stmt;
}

StmtPtr Parser::ParseCallBlock() {
  StmtPtr stmt = NewStmt(StmtOp::kCallBlock);
  if (Current().IsOperator("(")) ParseSignature(stmt.get());
  stmt->expr = ParseExpression();
  if (stmt->expr->op != Op::kCall) FailAt(stmt->expr->at, "{% call %} needs a call");
  stmt->bodies.push_back(ParseBlock({"endcall"}));
  Next();
  return stmt;
}

StmtPtr Parser::ParseFilterBlock() {
  StmtPtr stmt = NewStmt(StmtOp::kFilterBlock);
  do {
    stmt->expr = ParseFilter(std::move(stmt->expr));
  } while (SkipOperator("|"));
  stmt->bodies.push_back(ParseBlock({"endfilter"}));
  Next();
  return stmt;
}

StmtPtr Parser::ParseGeneration() {
  StmtPtr stmt = NewStmt(StmtOp::kGeneration);
  stmt->bodies.push_back(ParseBlock({"endgeneration"}));
  Next();
  return stmt;
}

StmtPtr Parser::ParsePrint() {
  StmtPtr stmt = NewStmt(StmtOp::kOutput);
  while (Current().kind != TokenKind::kBlockEnd) {
    if (!stmt->exprs.empty()) ExpectOperator(",");
    stmt->exprs.push_back(ParseExpression());
  }
  return stmt;
}

ExprPtr Parser::ParseNameTarget() {
  const Token token = Expect(TokenKind::kName, "a name");
  ExprPtr target = NewExpr(Op::kName, token.at);
  target->name = token.text;
  MakeTarget(target.get(), Access::kStore);
  return target;
}

ExprPtr Parser::ParseTarget(bool with_namespace, std::string_view end_name) {
  ExprPtr target = ParseTuple(kSimplified | (with_namespace ? kNamespace : kPlain), end_name);
  MakeTarget(target.get(), Access::kStore);
  return target;
}

void Parser::MakeTarget(Expr* target, Access access) {
  if (target->op == Op::kNamespaceName) return;
  const bool name = target->op == Op::kName && !IsReserved(target->name);
  if (!name && target->op != Op::kTuple) FailAt(target->at, "cannot assign to this expression");
  target->access = access;
  for (const ExprPtr& kid : target->kids) MakeTarget(kid.get(), access);
}

ExprPtr Parser::NewExpr(Op op, uint32_t at) const {
  auto expr = std::make_unique<Expr>();
  expr->op = op;
  expr->at = at;
  return expr;
}

void Parser::AddKid(Expr* parent, ExprPtr kid) const {
  constexpr int kMaxTreeDepth = 400;
  if (kid != nullptr) {
    if (kid->depth >= kMaxTreeDepth) FailAt(kid->at, "the expression is too long");
    parent->depth = std::max<uint16_t>(parent->depth, kid->depth + 1);
  }
  parent->kids.push_back(std::move(kid));
}

}  // namespace ftd::jinja
