// A parsed template: its statements and expressions, and which variable each name means.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/jinja/value.h"

namespace ftd::jinja {

struct FilterRow;
struct TestRow;

// Where a variable is: `outer` functions out, in this slot.
struct Variable {
  uint32_t outer = 0;
  uint32_t slot = 0;
};

// What a frame does with its variables when it is entered.
struct Load {
  enum class From : uint8_t { kParameter, kContext, kVariable, kNothing };
  From from;
  uint32_t slot;     // of the function that the frame belongs to
  std::string name;  // kContext: the variable of the caller's
  Variable source;   // kVariable
};

enum class Op : uint8_t {
  kConst,
  kName,
  kNamespaceName,  // the target `name.text`
  kTuple,
  kList,
  kDict,     // key, value, key, value, …
  kGetAttr,  // object
  kGetItem,  // object, index
  kSlice,    // start, stop, step; each may be null
  kCall,     // callee, arguments
  kFilter,   // input (null in a filter block), arguments
  kTest,     // input, arguments
  kCond,     // condition, value, otherwise (may be null)
  kAnd,
  kOr,
  kNot,
  kNegate,
  kPlus,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kConcat,
  kCompare,  // first, and one for each of `compare`
};

enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

enum class Access : uint8_t { kLoad, kStore, kParameter };  // of a name

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  Op op = Op::kConst;
  Access access = Access::kLoad;
  bool star = false, double_star = false;  // calls: the last kids are *x and **x
  uint16_t depth = 1;                      // of the tree below
  uint32_t at = 0;
  std::vector<ExprPtr> kids;
  Value value;                     // kConst
  std::string name;                // of a variable, attribute, filter or test
  std::string attribute;           // kNamespaceName
  std::vector<std::string> named;  // calls: names of the arguments before *x
  std::vector<CompareOp> compare;
  Variable variable;                  // kName, kNamespaceName
  const FilterRow* filter = nullptr;  // nullptr: unknown, an error where it is reached
  const TestRow* test = nullptr;
};

enum class StmtOp : uint8_t {
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kGeneration,
  kBreak,
  kContinue,
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

// The code of a macro, a call block, a recursive loop, or the template.
struct Function {
  std::string name;  // "" for a call block
  std::vector<std::string> parameters;
  std::vector<uint32_t> parameter_slots;
  std::vector<const Expr*> defaults;  // of the last parameters
  bool takes_caller = false, takes_kwargs = false, takes_varargs = false;
  bool explicit_caller = false;  // `caller` is among the parameters
  uint32_t caller_slot = 0, kwargs_slot = 0, varargs_slot = 0;
  uint32_t slots = 0;
  std::vector<Load> loads;
  const Body* body = nullptr;
  uint32_t at = 0;
};

struct Stmt {
  StmtOp op;
  uint32_t at = 0;
  std::string name;  // kMacro
  std::vector<ExprPtr>
      exprs;  // kOutput; kIf: conditions; kWith: values; kMacro, kCallBlock: defaults
  std::vector<ExprPtr> targets;  // kFor, kSet, kSetBlock: one; kWith, kMacro, kCallBlock: names
  ExprPtr expr;  // kFor: iterated; kSet: value; kSetBlock, kFilterBlock: filter; kCallBlock: call
  ExprPtr test;  // kFor: condition, or null
  std::vector<Body> bodies;  // kIf: one per condition, and one more for else; kFor: body, else
  bool recursive = false;    // kFor
  bool has_else = false;     // kIf, kFor

  // Made by scopes.cc.
  bool extended = false;         // kFor: the body uses `loop`
  bool in_function = false;      // kBreak, kContinue: within a loop of its function
  std::vector<Load> loads;       // the frame of the first body
  std::vector<Load> else_loads;  // kFor
  std::vector<Load> test_loads;  // kFor
  Variable loop_variable;        // kFor
  Variable target;               // kMacro
  ExprPtr test_target;           // kFor: the target as the condition's function sees it
  Function function;             // kMacro, kCallBlock, and the recursive kFor
  Function test_function;        // kFor
};

struct Program {
  std::string source;  // normalised
  Body body;
  Function root;
};

// Parses and resolves a template. Throws a Failure. Requires: valid UTF-8.
std::shared_ptr<const Program> Compile(std::string_view source);

}  // namespace ftd::jinja
