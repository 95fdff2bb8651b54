// {% for %}.
#include "lib/jinja/failure.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/render.h"

namespace ftd::jinja {
namespace {

// The elements for which a loop's condition holds. The condition is a function of its own: it has
// the loop's names, and sees the variables around the loop as they are when it is asked.
class ConditionIterator : public IteratorObject {
 public:
  ConditionIterator(const Stmt& stmt, Value iterable, std::shared_ptr<Activation> outer)
      : stmt_(stmt),
        iterable_(std::move(iterable)),
        activation_(std::make_shared<Activation>(stmt.test_function.slots, std::move(outer))) {
    Include(iterable_);
  }

  std::optional<Value> Next(Runtime& runtime) override {
    const Context context{runtime, activation_};
    if (source_ == nullptr) {
      EnterFrame(context, stmt_.test_loads);
      source_ = Iterate(runtime, iterable_);
    }
    while (auto item = source_->Next(runtime)) {
      Assign(context, *stmt_.test_target, *item);
      if (!IsTrue(runtime, Evaluate(context, *stmt_.test))) continue;
      // A tuple is made again from its names; a single name keeps the element itself.
      return stmt_.test_target->op == Op::kTuple ? ValueOf(context, *stmt_.test_target) : *item;
    }
    return std::nullopt;
  }

 private:
  const Stmt& stmt_;
  const Value iterable_;
  const std::shared_ptr<Activation> activation_;
  std::shared_ptr<IteratorObject> source_;
};

class Loop {
 public:
  Loop(const Context& context, const Stmt& stmt) : context_(context), stmt_(stmt) {}

  // `defined_in`: the function that the condition stands in.
  void Begin(const Value& iterable, const std::shared_ptr<Activation>& defined_in, int depth0) {
    Value source = iterable;
    if (stmt_.test != nullptr) {
      iterator_ = std::make_shared<ConditionIterator>(stmt_, iterable, defined_in);
      source = Value(Kind::kIterator, iterator_);
    } else {
      iterator_ = Iterate(context_.runtime, iterable);
    }
    if (!stmt_.extended) return;
    auto loop = std::make_shared<LoopObject>();
    loop->iterable = source;
    loop->iterator = iterator_;
    loop->depth0 = depth0;
    loop->Include(source);
    loop_ = context_.runtime.Checked({Kind::kLoop, std::move(loop)});
  }

  void MakeRecursive(std::function<Value(const Value&, int)> recurse) {
    loop_.Mutable<LoopObject>().recurse = std::move(recurse);
  }

  // Returns what its `else` leaves to the loop around; else kNext.
  Flow Run() {
    bool none = true;
    {
      const Frame frame(context_, stmt_.loads);
      while (const auto item = Next()) {
        Assign(context_, *stmt_.targets[0], *item);
        if (stmt_.extended) context_.At(stmt_.loop_variable) = loop_;
        frame.Enter();
        const Flow flow = RunBody(*item);
        if (flow == Flow::kBreak) break;
        // As in Jinja2, an iteration that `continue` or `break` ends does not count for `else`.
        if (flow == Flow::kNext) none = false;
      }
    }
    if (!stmt_.has_else || !none) return Flow::kNext;
    const Frame frame(context_, stmt_.else_loads);
    frame.Enter();
    return jinja::Run(context_, stmt_.bodies[1]);
  }

 private:
  std::optional<Value> Next() {
    context_.runtime.at = stmt_.at;
    return stmt_.extended ? Advance(context_.runtime, loop_.Mutable<LoopObject>())
                          : iterator_->Next(context_.runtime);
  }

  Flow RunBody(const Value& item) {
    Runtime& runtime = context_.runtime;
    const auto watched = runtime.IsCaptured() ? std::nullopt : runtime.WatchedIndex(item);
    const size_t begin = runtime.TextBytes();
    const Flow flow = jinja::Run(context_, stmt_.bodies[0]);
    if (watched) {
      runtime.Step();
      runtime.rendered.visits.push_back({*watched, begin, runtime.TextBytes()});
    }
    return flow;
  }

  const Context& context_;
  const Stmt& stmt_;
  std::shared_ptr<IteratorObject> iterator_;
  Value loop_;
};

// A recursive loop is a function that gives its output as a text. `closure` is where it stands.
Value RunRecursive(Runtime& runtime, const Stmt& stmt, const std::shared_ptr<Activation>& closure,
                   const Value& iterable, int depth0) {
  const Runtime::Level level(runtime);
  const auto activation = std::make_shared<Activation>(stmt.function.slots, closure);
  const Context context{runtime, activation};
  Runtime::Capture capture(runtime);
  Loop loop(context, stmt);
  loop.Begin(iterable, closure, depth0);
  loop.MakeRecursive([&runtime, &stmt, closure](const Value& inner, int depth) {
    return RunRecursive(runtime, stmt, closure, inner, depth);
  });
  loop.Run();
  return Value::String(std::move(capture.text));
}

}  // namespace

Flow RunFor(const Context& context, const Stmt& stmt) {
  const Value iterable = Evaluate(context, *stmt.expr);
  context.runtime.at = stmt.expr->at;
  if (stmt.recursive) {
    context.runtime.Write(
        RunRecursive(context.runtime, stmt, context.activation, iterable, 0).AsString());
    return Flow::kNext;
  }
  Loop loop(context, stmt);
  loop.Begin(iterable, context.activation, 0);
  return loop.Run();
}

}  // namespace ftd::jinja
