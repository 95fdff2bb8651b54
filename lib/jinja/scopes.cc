#include "lib/jinja/scopes.h"

#include <algorithm>

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/symbols.h"

namespace ftd::jinja {
namespace {

// Calls `visit` for each name below, in the order in which Jinja2 visits its tree.
template <typename Visit>
void ForEachName(const Expr* expr, const Visit& visit) {
  if (expr == nullptr) return;
  if (expr->op == Op::kName) visit(*expr);
  for (const ExprPtr& kid : expr->kids) ForEachName(kid.get(), visit);
}

template <typename Visit>
void ForEachName(const std::vector<ExprPtr>& exprs, const Visit& visit) {
  for (const ExprPtr& expr : exprs) ForEachName(expr.get(), visit);
}

template <typename Visit>
void ForEachName(const Body& body, const Visit& visit);

template <typename Visit>
void ForEachName(const Stmt& stmt, const Visit& visit) {
  if (stmt.op == StmtOp::kCallBlock) ForEachName(stmt.expr.get(), visit);
  if (stmt.op == StmtOp::kIf) {
    for (size_t i = 0; i < stmt.bodies.size(); ++i) {
      if (i < stmt.exprs.size()) ForEachName(stmt.exprs[i].get(), visit);
      ForEachName(stmt.bodies[i], visit);
    }
    return;
  }
  ForEachName(stmt.targets, visit);
  ForEachName(stmt.exprs, visit);
  const bool filter_last = stmt.op == StmtOp::kFilterBlock;
  if (stmt.op != StmtOp::kCallBlock && !filter_last) ForEachName(stmt.expr.get(), visit);
  for (const Body& body : stmt.bodies) ForEachName(body, visit);
  if (filter_last) ForEachName(stmt.expr.get(), visit);
  ForEachName(stmt.test.get(), visit);
}

template <typename Visit>
void ForEachName(const Body& body, const Visit& visit) {
  for (const StmtPtr& stmt : body) ForEachName(*stmt, visit);
}

// Returns which of `names` the body reads before it sets them.
std::vector<bool> ReadsFirst(const Body& body, const std::vector<std::string>& names) {
  std::vector<bool> read(names.size()), set(names.size());
  ForEachName(body, [&](const Expr& name) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] != name.name) continue;
      if (name.access != Access::kLoad) set[i] = true;
      if (!set[i]) read[i] = true;
    }
  });
  return read;
}

ExprPtr Clone(const Expr& target) {
  auto copy = std::make_unique<Expr>();
  copy->op = target.op;
  copy->access = target.access;
  copy->at = target.at;
  copy->name = target.name;
  for (const ExprPtr& kid : target.kids) copy->kids.push_back(Clone(*kid));
  return copy;
}

// Where a statement stands.
struct Frame {
  const Symbols* symbols;
  bool soft = false;     // in a condition, where an unknown filter is an error only when it runs
  bool in_loop = false;  // of this function

  Frame Soft() const { return {symbols, true, in_loop}; }
};

class Resolver {
 public:
  void Root(Program* program) {
    FunctionScope function(nullptr, &program->root);
    Symbols symbols(nullptr, &function);
    symbols.Visit(program->body);
    RefuseNames(program->body);
    program->root.body = &program->body;
    program->root.loads = symbols.Loads();
    Resolve(program->body, {&symbols});
  }

 private:
  // What Jinja2 itself gives these names is not supported.
  static void RefuseNames(const Body& body) {
    const std::vector<std::string> names = {"self", "lipsum"};
    const std::vector<bool> read = ReadsFirst(body, names);
    ForEachName(body, [&](const Expr& name) {
      for (size_t i = 0; i < names.size(); ++i) {
        if (read[i] && name.name == names[i] && name.access == Access::kLoad)
          FailAt(name.at, Concat("'", name.name, "' is not supported"));
      }
    });
  }

  static Variable VariableOf(const std::string& name, uint32_t at, const Frame& frame) {
    const Ident* ident = frame.symbols->Find(name);
    if (ident == nullptr) FailAt(at, Concat("the name '", name, "' cannot be used here"));
    return {Distance(frame.symbols->function(), ident->function), ident->slot};
  }

  void Resolve(Expr* expr, const Frame& frame) {
    if (expr == nullptr) return;
    if (expr->op == Op::kName || expr->op == Op::kNamespaceName)
      expr->variable = VariableOf(expr->name, expr->at, frame);
    if (!frame.soft && expr->op == Op::kFilter && expr->filter == nullptr)
      FailAt(expr->at, Concat("there is no filter named '", expr->name, "'"));
    if (!frame.soft && expr->op == Op::kTest && expr->test == nullptr)
      FailAt(expr->at, Concat("there is no test named '", expr->name, "'"));
    const Frame inner = expr->op == Op::kCond ? frame.Soft() : frame;
    for (const ExprPtr& kid : expr->kids) Resolve(kid.get(), inner);
  }

  void Resolve(const std::vector<ExprPtr>& exprs, const Frame& frame) {
    for (const ExprPtr& expr : exprs) Resolve(expr.get(), frame);
  }

  void Resolve(const Body& body, const Frame& frame) {
    for (const StmtPtr& stmt : body) Resolve(stmt.get(), frame);
  }

  void Resolve(Stmt* stmt, const Frame& frame) {
    switch (stmt->op) {
      case StmtOp::kOutput:
        return Resolve(stmt->exprs, frame);
      case StmtOp::kIf:
        Resolve(stmt->exprs, frame.Soft());
        for (const Body& body : stmt->bodies) Resolve(body, frame.Soft());
        return;
      case StmtOp::kFor:
        return ResolveFor(stmt, frame);
      case StmtOp::kSet:
        Resolve(stmt->targets, frame);
        return Resolve(stmt->expr.get(), frame);
      case StmtOp::kMacro:
        stmt->target = VariableOf(stmt->name, stmt->at, frame);
        return ResolveMacro(stmt, frame);
      case StmtOp::kCallBlock:
        Resolve(stmt->expr.get(), frame);
        return ResolveMacro(stmt, frame);
      case StmtOp::kBreak:
      case StmtOp::kContinue:
        if (!frame.in_loop) FailAt(stmt->at, "not within a loop");
        return;
      default:
        return ResolveBlock(stmt, frame);
    }
  }

  // {% set %}…{% endset %}, {% filter %}, {% with %} and {% generation %}: one scope.
  void ResolveBlock(Stmt* stmt, const Frame& frame) {
    Symbols symbols(frame.symbols, frame.symbols->function());
    const bool with = stmt->op == StmtOp::kWith;
    if (with) {
      for (const ExprPtr& target : stmt->targets) symbols.Visit(target.get());
    }
    symbols.Visit(stmt->bodies[0]);
    if (stmt->op == StmtOp::kFilterBlock) symbols.Visit(stmt->expr.get());
    stmt->loads = symbols.Loads();
    const Frame inner{&symbols, false, frame.in_loop && stmt->op != StmtOp::kGeneration};
    Resolve(stmt->targets, with ? inner : frame);
    Resolve(stmt->exprs, frame);
    Resolve(stmt->expr.get(), inner);
    Resolve(stmt->bodies[0], inner);
  }

  void ResolveFor(Stmt* stmt, const Frame& frame) {
    ForEachName(*stmt, [](const Expr& name) {
      if (name.access == Access::kStore && name.name == "loop")
        FailAt(name.at, "within a for loop, 'loop' cannot be set");
    });
    FunctionScope* const outer = frame.symbols->function();
    FunctionScope own(outer, &stmt->function);
    FunctionScope* const function = stmt->recursive ? &own : outer;
    Symbols symbols(frame.symbols, function);
    stmt->extended = stmt->recursive || ReadsFirst(stmt->bodies[0], {"loop"})[0];
    if (stmt->extended) symbols.DeclareParameter("loop");
    symbols.VisitParameters(*stmt->targets[0]);
    symbols.Visit(stmt->bodies[0]);
    stmt->loads = symbols.Loads();
    const Frame inner{&symbols, false, true};
    if (stmt->extended) stmt->loop_variable = VariableOf("loop", stmt->at, inner);
    if (stmt->test != nullptr) ResolveTest(stmt, frame);
    Resolve(stmt->targets, inner);
    Resolve(stmt->expr.get(), frame);
    Resolve(stmt->bodies[0], inner);
    if (!stmt->has_else) return;
    Symbols otherwise(frame.symbols, function);
    otherwise.Visit(stmt->bodies[1]);
    stmt->else_loads = otherwise.Loads();
    Resolve(stmt->bodies[1], {&otherwise, false, frame.in_loop && !stmt->recursive});
  }

  // The condition is a function of its own, which the loop asks for its next element.
  void ResolveTest(Stmt* stmt, const Frame& frame) {
    FunctionScope function(frame.symbols->function(), &stmt->test_function);
    Symbols symbols(frame.symbols, &function);
    symbols.VisitParameters(*stmt->targets[0]);
    symbols.Visit(stmt->test.get());
    stmt->test_loads = symbols.Loads();
    stmt->test_target = Clone(*stmt->targets[0]);
    Resolve(stmt->test_target.get(), {&symbols});
    Resolve(stmt->test.get(), {&symbols});
  }

  static void VisitMacro(const Stmt& stmt, Symbols* symbols) {
    for (const ExprPtr& target : stmt.targets) symbols->Visit(target.get());
    for (const ExprPtr& expr : stmt.exprs) symbols->Visit(expr.get());
    symbols->Visit(stmt.bodies[0]);
  }

  void ResolveMacro(Stmt* stmt, const Frame& frame) {
    Function& function = stmt->function;
    FunctionScope scope(frame.symbols->function(), &function);
    Symbols symbols(frame.symbols, &scope);
    VisitMacro(*stmt, &symbols);
    function.name = stmt->name;
    function.at = stmt->at;
    function.body = &stmt->bodies[0];
    for (const ExprPtr& target : stmt->targets) function.parameters.push_back(target->name);
    for (const ExprPtr& expr : stmt->exprs) function.defaults.push_back(expr.get());
    DeclareSpecial(*stmt, &function, &symbols);
    // Once more: the special parameters are known now.
    VisitMacro(*stmt, &symbols);
    const Frame inner{&symbols};
    const auto slot = [&](const std::string& name) {
      return VariableOf(name, stmt->at, inner).slot;
    };
    for (const std::string& name : function.parameters)
      function.parameter_slots.push_back(slot(name));
    if (function.takes_caller && !function.explicit_caller) function.caller_slot = slot("caller");
    if (function.takes_kwargs) function.kwargs_slot = slot("kwargs");
    if (function.takes_varargs) function.varargs_slot = slot("varargs");
    function.loads = symbols.Loads();
    Resolve(stmt->exprs, inner);
    Resolve(stmt->bodies[0], inner);
  }

  // `caller`, `kwargs` and `varargs` are parameters of a macro that reads them.
  static void DeclareSpecial(const Stmt& stmt, Function* function, Symbols* symbols) {
    const auto& names = function->parameters;
    const auto has = [&](const char* name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    const std::vector<bool> read = ReadsFirst(stmt.bodies[0], {"caller", "kwargs", "varargs"});
    function->takes_caller = read[0];
    function->explicit_caller = has("caller");
    function->takes_kwargs = read[1] && !has("kwargs");
    function->takes_varargs = read[2] && !has("varargs");
    if (function->takes_caller && function->explicit_caller) {
      const auto at = std::find(names.begin(), names.end(), "caller") - names.begin();
      if (static_cast<size_t>(at) + function->defaults.size() < names.size())
        FailAt(stmt.at, "the parameter 'caller' needs a default");
    }
    if (function->takes_caller && !function->explicit_caller) symbols->DeclareParameter("caller");
    if (function->takes_kwargs) symbols->DeclareParameter("kwargs");
    if (function->takes_varargs) symbols->DeclareParameter("varargs");
  }
};

}  // namespace

void ResolveScopes(Program* program) { Resolver().Root(program); }

}  // namespace ftd::jinja
