// The names of one scope, and what each of them means: Jinja2's rules, statement for statement.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/jinja/program.h"

namespace ftd::jinja {

// A function under construction. Scopes of one level of nesting share the variables of a name, as
// the local variables of a function of Python are shared.
class FunctionScope {
 public:
  FunctionScope(FunctionScope* outer, Function* function) : outer(outer), function(function) {}
  uint32_t SlotOf(int level, const std::string& name);

  FunctionScope* const outer;
  Function* const function;

 private:
  std::map<std::pair<int, std::string>, uint32_t> slots_;
};

// A variable: a slot of a function.
struct Ident {
  FunctionScope* function;
  uint32_t slot;
  bool operator<(const Ident& other) const {
    return std::pair(function, slot) < std::pair(other.function, other.slot);
  }
};

class Symbols {
 public:
  // Requires: `parent`, which may be null, outlives this one.
  Symbols(const Symbols* parent, FunctionScope* function)
      : parent_(parent), function_(function), level_(parent == nullptr ? 0 : parent->level_ + 1) {}

  // A statement or an expression of the scope itself, in the order of the source.
  void Visit(const Body& body);
  void Visit(const Stmt& stmt);
  void Visit(const Expr* expr);  // may be null
  // Every name of a loop's target is set by the loop.
  void VisitParameters(const Expr& target);
  void DeclareParameter(const std::string& name);

  const Ident* Find(const std::string& name) const;
  FunctionScope* function() const { return function_; }
  // Returns what is done on entry, in a form that a running template can use.
  std::vector<Load> Loads() const;

 private:
  struct Source {
    Load::From from;
    std::string name;
    Ident variable;
  };

  // Returns a scope that adds to this one, for a branch of an {% if %}.
  Symbols Branch() const;
  const Ident* FindHere(const std::string& name) const;
  void VisitIf(const Expr& condition, const Body& body);
  void VisitWholeIf(const Stmt& stmt);
  void Define(const std::string& name, Source source);
  void Store(const std::string& name);
  void LoadName(const std::string& name);
  // Merges what the branches of an {% if %} set: afterwards any of them may have run.
  void Merge(const std::vector<Symbols>& branches);

  const Symbols* parent_;
  const Symbols* base_ = nullptr;  // of a branch: what it adds to
  FunctionScope* function_;
  int level_;
  std::map<std::string, Ident> names_;
  std::map<Ident, Source> loads_;
  std::set<std::string> stores_;
};

// Returns how many functions out from `from` the function `to` is.
uint32_t Distance(const FunctionScope* from, const FunctionScope* to);

}  // namespace ftd::jinja
