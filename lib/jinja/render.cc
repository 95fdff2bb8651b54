#include "lib/jinja/render.h"

#include <algorithm>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

void RunOutput(const Context& context, const Stmt& stmt) {
  for (const ExprPtr& expr : stmt.exprs) {
    if (expr->op == Op::kConst && expr->value.Is(Kind::kString)) {
      context.runtime.Write(expr->value.AsString());
      continue;
    }
    const Value value = Evaluate(context, *expr);
    context.runtime.at = expr->at;
    if (value.Is(Kind::kString)) {
      context.runtime.Write(value.AsString());
    } else {
      context.runtime.Write(Str(context.runtime, value));
    }
  }
}

Flow RunIf(const Context& context, const Stmt& stmt) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (IsTrue(context.runtime, Evaluate(context, *stmt.exprs[i])))
      return Run(context, stmt.bodies[i]);
  }
  return stmt.has_else ? Run(context, stmt.bodies.back()) : Flow::kNext;
}

void RunSet(const Context& context, const Stmt& stmt) {
  CheckNamespaces(context, *stmt.targets[0]);
  Assign(context, *stmt.targets[0], Evaluate(context, *stmt.expr));
}

// Runs a body whose output goes to `text`.
Flow RunCaptured(const Context& context, const Body& body, std::string* text) {
  Runtime::Capture capture(context.runtime);
  const Flow flow = Run(context, body);
  *text = std::move(capture.text);
  return flow;
}

Flow RunSetBlock(const Context& context, const Stmt& stmt) {
  const Frame frame(context, stmt.loads);
  frame.Enter();
  std::string text;
  if (const Flow flow = RunCaptured(context, stmt.bodies[0], &text); flow != Flow::kNext)
    return flow;
  Value value = Value::String(std::move(text));
  if (stmt.expr != nullptr) value = EvaluateFilter(context, *stmt.expr, value);
  Assign(context, *stmt.targets[0], std::move(value));
  return Flow::kNext;
}

// What a call or a filter writes must be a text: unlike {{ }}, the blocks convert nothing.
void WriteText(const Context& context, const Stmt& stmt, const Value& value) {
  context.runtime.at = stmt.at;
  if (!value.Is(Kind::kString)) Fail(Concat("the block gives a ", TypeName(value), ", not a text"));
  context.runtime.Write(value.AsString());
}

Flow RunFilterBlock(const Context& context, const Stmt& stmt) {
  const Frame frame(context, stmt.loads);
  frame.Enter();
  std::string text;
  if (const Flow flow = RunCaptured(context, stmt.bodies[0], &text); flow != Flow::kNext)
    return flow;
  WriteText(context, stmt, EvaluateFilter(context, *stmt.expr, Value::String(std::move(text))));
  return Flow::kNext;
}

Flow RunWith(const Context& context, const Stmt& stmt) {
  const Frame frame(context, stmt.loads);
  frame.Enter();
  for (size_t i = 0; i < stmt.exprs.size(); ++i)
    Assign(context, *stmt.targets[i], Evaluate(context, *stmt.exprs[i]));
  return Run(context, stmt.bodies[0]);
}

// Its function sees this one's variables, also after this one has ended.
Value MakeMacro(const Context& context, const Stmt& stmt) {
  if (!std::exchange(context.activation->kept, true)) context.runtime.Keep(context.activation);
  auto macro = std::make_shared<MacroObject>();
  macro->function = &stmt.function;
  macro->closure = context.activation;
  return {Kind::kMacro, std::move(macro)};
}

void RunCallBlock(const Context& context, const Stmt& stmt) {
  const Value caller = MakeMacro(context, stmt);
  WriteText(context, stmt, EvaluateCall(context, *stmt.expr, &caller));
}

// In transformers the body is a captured text of its own. A block whose text goes straight to the
// output is written there at once, which shows only in the spans of blocks inside it.
void RunGeneration(const Context& context, const Stmt& stmt) {
  Runtime& runtime = context.runtime;
  const Frame frame(context, stmt.loads);
  frame.Enter();
  const bool outermost = !runtime.generation_begin;
  const size_t begin = runtime.generation_begin.value_or(runtime.TextBytes());
  if (outermost && !runtime.IsCaptured()) {
    runtime.generation_begin = begin;
    Run(context, stmt.bodies[0]);
    runtime.generation_begin.reset();
    runtime.rendered.generations.push_back({begin, runtime.TextBytes(), false});
    return;
  }
  std::string text;
  RunCaptured(context, stmt.bodies[0], &text);
  runtime.Write(text);
  // For now the length in code points: the text after `begin` is not known yet.
  runtime.rendered.generations.push_back({begin, static_cast<size_t>(CountCodePoints(text)), true});
}

Flow RunStatement(const Context& context, const Stmt& stmt) {
  context.runtime.Step();
  context.runtime.at = stmt.at;
  switch (stmt.op) {
    case StmtOp::kOutput:
      RunOutput(context, stmt);
      return Flow::kNext;
    case StmtOp::kIf:
      return RunIf(context, stmt);
    case StmtOp::kFor:
      return RunFor(context, stmt);
    case StmtOp::kSet:
      RunSet(context, stmt);
      return Flow::kNext;
    case StmtOp::kSetBlock:
      return RunSetBlock(context, stmt);
    case StmtOp::kMacro:
      context.At(stmt.target) = MakeMacro(context, stmt);
      return Flow::kNext;
    case StmtOp::kCallBlock:
      RunCallBlock(context, stmt);
      return Flow::kNext;
    case StmtOp::kFilterBlock:
      return RunFilterBlock(context, stmt);
    case StmtOp::kWith:
      return RunWith(context, stmt);
    case StmtOp::kGeneration:
      RunGeneration(context, stmt);
      return Flow::kNext;
    case StmtOp::kBreak:
      return Flow::kBreak;
    case StmtOp::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

// Takes the named argument away; missing if there is none.
Value TakeNamed(Args* args, std::string_view name) {
  for (auto it = args->named.begin(); it != args->named.end(); ++it) {
    if (it->first != name) continue;
    Value value = std::move(it->second);
    args->named.erase(it);
    return value;
  }
  return Value::Missing();
}

// Puts a call's arguments into the slots of a macro's parameters; missing ones stay missing.
void BindArguments(Runtime& runtime, const Function& function, Args* args,
                   std::vector<Value>* slots) {
  const size_t count = function.parameters.size();
  const size_t given = std::min(count, args->positional.size());
  bool found_caller = given == count && function.explicit_caller;
  for (size_t i = 0; i < count; ++i) {
    Value& slot = (*slots)[function.parameter_slots[i]];
    slot = i < given ? args->positional[i] : TakeNamed(args, function.parameters[i]);
    if (i >= given && function.parameters[i] == "caller") found_caller = true;
  }
  if (function.takes_caller && !found_caller) {
    Value caller = TakeNamed(args, "caller");
    const bool none = caller.Is(Kind::kMissing) || caller.Is(Kind::kNone);
    (*slots)[function.caller_slot] = none ? Undefined("there is no caller") : std::move(caller);
  }
  if (function.takes_kwargs) {
    std::vector<std::pair<Value, Value>> items;
    for (auto& [name, value] : args->named)
      items.emplace_back(runtime.Text(name), std::move(value));
    (*slots)[function.kwargs_slot] = runtime.Dict(std::move(items));
  } else if (!args->named.empty()) {
    Fail(Concat("the macro '", function.name, "' has no parameter '", args->named[0].first, "'"));
  }
  if (function.takes_varargs) {
    const auto rest = args->positional.begin() + static_cast<ptrdiff_t>(given);
    (*slots)[function.varargs_slot] =
        runtime.Tuple(std::vector<Value>(rest, args->positional.end()));
  } else if (args->positional.size() > count) {
    Fail(Concat("the macro '", function.name, "' takes at most ", count, " arguments"));
  }
}

void SetDefaults(const Context& context, const Function& function) {
  const size_t without = function.parameters.size() - function.defaults.size();
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    const uint32_t slot = function.parameter_slots[i];
    if (!context.activation->slots[slot].Is(Kind::kMissing)) continue;
    Value value =
        i < without
            ? Undefined(Concat("the parameter '", function.parameters[i], "' was not given"))
            : Evaluate(context, *function.defaults[i - without]);
    context.activation->slots[slot] = std::move(value);
  }
}

// Turns lengths in code points into ends of spans, now that the text is whole.
void PlaceCapturedGenerations(Rendered* rendered) {
  for (Generation& generation : rendered->generations) {
    if (!generation.captured) continue;
    size_t end = std::min(generation.begin, rendered->text.size());
    for (size_t i = 0; i < generation.end && end < rendered->text.size(); ++i)
      end += Utf8Length(static_cast<unsigned char>(rendered->text[end]));
    generation.end = end;
  }
}

}  // namespace

Value& Context::At(const Variable& variable) const {
  Activation* at = activation.get();
  for (uint32_t i = 0; i < variable.outer; ++i) at = at->outer.get();
  return at->slots[variable.slot];
}

void EnterFrame(const Context& context, const std::vector<Load>& loads) {
  auto& slots = context.activation->slots;
  for (const Load& load : loads) {
    switch (load.from) {
      case Load::From::kParameter:
        break;
      case Load::From::kContext:
        slots[load.slot] = context.runtime.Resolve(load.name);
        break;
      case Load::From::kVariable:
        slots[load.slot] = context.At(load.source);
        break;
      case Load::From::kNothing:
        slots[load.slot] = Value::Missing();
    }
  }
}

Frame::~Frame() {
  for (const Load& load : loads_) context_.activation->slots[load.slot] = Value::Missing();
}

Flow Run(const Context& context, const Body& body) {
  for (const StmtPtr& stmt : body) {
    const Flow flow = RunStatement(context, *stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Value CallMacro(Runtime& runtime, const MacroObject& macro, Args& args) {
  const Runtime::Level level(runtime);
  const Function& function = *macro.function;
  runtime.Step(function.slots);
  const auto activation = std::make_shared<Activation>(function.slots, macro.closure);
  BindArguments(runtime, function, &args, &activation->slots);
  const Context context{runtime, activation};
  // The variables stay when the call has ended: macros that it has defined see them.
  Runtime::Capture capture(runtime);
  EnterFrame(context, function.loads);
  SetDefaults(context, function);
  Run(context, *function.body);
  return Value::String(std::move(capture.text));
}

void RenderProgram(Runtime& runtime, const Program& program) {
  const auto activation = std::make_shared<Activation>(program.root.slots, nullptr);
  const Context context{runtime, activation};
  EnterFrame(context, program.root.loads);
  Run(context, program.body);
  PlaceCapturedGenerations(&runtime.rendered);
}

}  // namespace ftd::jinja
