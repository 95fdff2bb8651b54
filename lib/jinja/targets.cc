// What is set: names, attributes of namespaces, and tuples of them.
#include <algorithm>

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/render.h"

namespace ftd::jinja {
namespace {

NamespaceObject& NamespaceAt(const Context& context, const Expr& target) {
  const Value& value = context.At(target.variable);
  if (!value.Is(Kind::kNamespace)) {
    FailAt(target.at, Concat("'", target.name,
                             "' is not a namespace: only those have attributes "
                             "that can be set"));
  }
  return value.Mutable<NamespaceObject>();
}

void SetAttribute(const Context& context, const Expr& target, Value value) {
  if (target.attribute.starts_with("_")) {
    FailAt(target.at, Concat("a namespace cannot have the attribute '", target.attribute,
                             "': names that begin with an underscore are private"));
  }
  auto& items = NamespaceAt(context, target).items;
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const auto& item) { return item.first == target.attribute; });
  if (found != items.end()) {
    found->second = std::move(value);
  } else {
    items.emplace_back(target.attribute, std::move(value));
  }
}

}  // namespace

void Assign(const Context& context, const Expr& target, Value value) {
  if (target.op == Op::kName) {
    context.At(target.variable) = std::move(value);
    return;
  }
  if (target.op == Op::kNamespaceName) return SetAttribute(context, target, std::move(value));
  context.runtime.at = target.at;
  const auto iterator = Iterate(context.runtime, value);
  std::vector<Value> parts;
  while (parts.size() <= target.kids.size()) {
    auto part = iterator->Next(context.runtime);
    if (!part) break;
    parts.push_back(*std::move(part));
  }
  if (parts.size() != target.kids.size()) {
    FailAt(target.at, Concat(target.kids.size(), " names are set from ",
                             parts.size() > target.kids.size() ? "more" : "fewer", " values"));
  }
  for (size_t i = 0; i < parts.size(); ++i) Assign(context, *target.kids[i], std::move(parts[i]));
}

void CheckNamespaces(const Context& context, const Expr& target) {
  if (target.op == Op::kNamespaceName) NamespaceAt(context, target);
  for (const ExprPtr& kid : target.kids) CheckNamespaces(context, *kid);
}

// The current values of a target's names.
Value ValueOf(const Context& context, const Expr& target) {
  if (target.op != Op::kTuple) return context.At(target.variable);
  std::vector<Value> values;
  for (const ExprPtr& kid : target.kids) values.push_back(ValueOf(context, *kid));
  return context.runtime.Tuple(std::move(values));
}

}  // namespace ftd::jinja
