// Runs the statements and expressions of a parsed template.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/jinja/activation.h"
#include "lib/jinja/program.h"
#include "lib/jinja/runtime.h"

namespace ftd::jinja {

// Where code runs: the rendering, and the variables of the function that it is in.
struct Context {
  Runtime& runtime;
  const std::shared_ptr<Activation>& activation;

  Value& At(const Variable& variable) const;
};

// evaluate.cc.
Value Evaluate(const Context& context, const Expr& expr);
// A filter of {% filter %} or {% set %}: its innermost input is `input`.
Value EvaluateFilter(const Context& context, const Expr& expr, const Value& input);
// The call of {% call %}: with one more named argument.
Value EvaluateCall(const Context& context, const Expr& expr, const Value* caller);

// targets.cc. Requires: the targets are those of a set or a for statement.
void Assign(const Context& context, const Expr& target, Value value);
// Fails unless each attribute to be set is one of a namespace.
void CheckNamespaces(const Context& context, const Expr& target);
// Returns the current values of a target's names.
Value ValueOf(const Context& context, const Expr& target);

// What a statement leaves to the loop around it.
enum class Flow : uint8_t { kNext, kBreak, kContinue };
Flow Run(const Context& context, const Body& body);
// loops.cc.
Flow RunFor(const Context& context, const Stmt& stmt);

// Gives the variables of a frame their first values.
void EnterFrame(const Context& context, const std::vector<Load>& loads);

// A frame within a function. When it is left, also by an error, its variables are unset, so that no
// cycle of a loop and its variables stays.
class Frame {
 public:
  Frame(const Context& context, const std::vector<Load>& loads)
      : context_(context), loads_(loads) {}
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  void Enter() const { EnterFrame(context_, loads_); }

 private:
  const Context& context_;
  const std::vector<Load>& loads_;
};

// Writes the template to runtime.rendered. Throws a Failure.
void RenderProgram(Runtime& runtime, const Program& program);

}  // namespace ftd::jinja
