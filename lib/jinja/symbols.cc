#include "lib/jinja/symbols.h"

namespace ftd::jinja {

uint32_t FunctionScope::SlotOf(int level, const std::string& name) {
  const auto [found, added] = slots_.try_emplace({level, name}, function->slots);
  if (added) ++function->slots;
  return found->second;
}

uint32_t Distance(const FunctionScope* from, const FunctionScope* to) {
  uint32_t distance = 0;
  for (; from != to; from = from->outer) ++distance;
  return distance;
}

Symbols Symbols::Branch() const {
  Symbols branch(parent_, function_);
  branch.base_ = this;
  return branch;
}

const Ident* Symbols::FindHere(const std::string& name) const {
  for (const Symbols* part = this; part != nullptr; part = part->base_) {
    const auto found = part->names_.find(name);
    if (found != part->names_.end()) return &found->second;
  }
  return nullptr;
}

const Ident* Symbols::Find(const std::string& name) const {
  for (const Symbols* scope = this; scope != nullptr; scope = scope->parent_) {
    if (const Ident* ident = scope->FindHere(name)) return ident;
  }
  return nullptr;
}

void Symbols::Define(const std::string& name, Source source) {
  const Ident ident{function_, function_->SlotOf(level_, name)};
  names_.insert_or_assign(name, ident);
  loads_.insert_or_assign(ident, std::move(source));
}

void Symbols::DeclareParameter(const std::string& name) {
  stores_.insert(name);
  Define(name, {Load::From::kParameter, "", {}});
}

void Symbols::LoadName(const std::string& name) {
  if (Find(name) == nullptr) Define(name, {Load::From::kContext, name, {}});
}

void Symbols::Store(const std::string& name) {
  stores_.insert(name);
  if (FindHere(name) != nullptr) return;
  const Ident* outer = parent_ == nullptr ? nullptr : parent_->Find(name);
  if (outer != nullptr) return Define(name, {Load::From::kVariable, "", *outer});
  Define(name, {Load::From::kNothing, "", {}});
}

void Symbols::Merge(const std::vector<Symbols>& branches) {
  std::set<std::string> stored;
  for (const Symbols& branch : branches)
    stored.insert(branch.stores_.begin(), branch.stores_.end());
  for (const Symbols* part = this; part != nullptr; part = part->base_)
    std::erase_if(stored, [&](const std::string& name) { return part->stores_.contains(name); });
  for (const Symbols& branch : branches) {
    for (const auto& [name, ident] : branch.names_) names_.insert_or_assign(name, ident);
    for (const auto& [ident, source] : branch.loads_) loads_.insert_or_assign(ident, source);
    stores_.insert(branch.stores_.begin(), branch.stores_.end());
  }
  for (const std::string& name : stored) {
    const Ident ident = *Find(name);
    const Ident* outer = parent_ == nullptr ? nullptr : parent_->Find(name);
    loads_.insert_or_assign(ident, outer != nullptr ? Source{Load::From::kVariable, "", *outer}
                                                    : Source{Load::From::kContext, name, {}});
  }
}

void Symbols::Visit(const Expr* expr) {
  if (expr == nullptr) return;
  if (expr->op == Op::kNamespaceName) return LoadName(expr->name);
  if (expr->op == Op::kName) {
    switch (expr->access) {
      case Access::kLoad:
        return LoadName(expr->name);
      case Access::kStore:
        return Store(expr->name);
      case Access::kParameter:
        return DeclareParameter(expr->name);
    }
  }
  for (const ExprPtr& kid : expr->kids) Visit(kid.get());
}

void Symbols::VisitParameters(const Expr& target) {
  if (target.op == Op::kName) DeclareParameter(target.name);
  for (const ExprPtr& kid : target.kids) VisitParameters(*kid);
}

void Symbols::Visit(const Body& body) {
  for (const StmtPtr& stmt : body) Visit(*stmt);
}

void Symbols::VisitIf(const Expr& condition, const Body& body) {
  Visit(&condition);
  Symbols branch = Branch();
  branch.Visit(body);
  Merge({std::move(branch)});
}

// The conditions after the first, with their bodies, are together one branch.
void Symbols::VisitWholeIf(const Stmt& stmt) {
  Visit(stmt.exprs[0].get());
  std::vector<Symbols> branches(3, Branch());
  branches[0].Visit(stmt.bodies[0]);
  for (size_t i = 1; i < stmt.exprs.size(); ++i)
    branches[1].VisitIf(*stmt.exprs[i], stmt.bodies[i]);
  if (stmt.has_else) branches[2].Visit(stmt.bodies.back());
  Merge(branches);
}

// Bodies that are scopes of their own are not part of this one.
void Symbols::Visit(const Stmt& stmt) {
  switch (stmt.op) {
    case StmtOp::kIf:
      return VisitWholeIf(stmt);
    case StmtOp::kMacro:
      return Store(stmt.name);
    case StmtOp::kOutput:
    case StmtOp::kWith:
      for (const ExprPtr& expr : stmt.exprs) Visit(expr.get());
      return;
    case StmtOp::kFor:
    case StmtOp::kCallBlock:
    case StmtOp::kFilterBlock:
      return Visit(stmt.expr.get());
    case StmtOp::kSet:
      Visit(stmt.expr.get());
      return Visit(stmt.targets[0].get());
    case StmtOp::kSetBlock:
      return Visit(stmt.targets[0].get());
    default:
      return;
  }
}

std::vector<Load> Symbols::Loads() const {
  std::vector<Load> loads;
  for (const auto& [ident, source] : loads_) {
    Load load{source.from, ident.slot, source.name, {}};
    if (source.from == Load::From::kVariable)
      load.source = {Distance(function_, source.variable.function), source.variable.slot};
    loads.push_back(std::move(load));
  }
  return loads;
}

}  // namespace ftd::jinja
