#include "lib/jinja/attributes.h"

#include <algorithm>

#include "lib/base/concat.h"
#include "lib/jinja/arguments.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/methods.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/program.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

// Private attributes that every object of Python has, and those of containers. The sandbox makes
// them undefined, even where a dict has an item of the name.
constexpr std::string_view kPrivate =
    " __class__ __class_getitem__ __contains__ __delattr__ __delitem__ __dir__ __doc__"
    " __eq__ __format__ __ge__ __getattribute__ __getitem__ __getstate__ __gt__ __hash__"
    " __init__ __init_subclass__ __ior__ __iter__ __le__ __len__ __lt__ __ne__ __new__"
    " __or__ __reduce__ __reduce_ex__ __repr__ __reversed__ __ror__ __setattr__"
    " __setitem__ __sizeof__ __str__ __subclasshook__ ";

}  // namespace

bool IsKeptBack(const Value& object, std::string_view name) {
  constexpr std::string_view kOfList[] = {"append", "clear",  "extend",  "insert",
                                          "pop",    "remove", "reverse", "sort"};
  constexpr std::string_view kOfDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (object.Is(Kind::kList))
    return std::find(std::begin(kOfList), std::end(kOfList), name) != std::end(kOfList);
  return object.Is(Kind::kDict) &&
         std::find(std::begin(kOfDict), std::end(kOfDict), name) != std::end(kOfDict);
}

namespace {

Value Unsafe(const Value& object, std::string_view name) {
  return Undefined(UndefinedObject::Why::kUnsafe, std::string(name), object.kind());
}

Value NumberAttribute(const Value& number, std::string_view name) {
  const bool real = number.Is(Kind::kFloat);
  if (name == "real") return real ? number : Value::Int(number.AsInt());
  if (name == "imag") return real ? Value::Float(0) : Value::Int(0);
  if (!real && name == "numerator") return Value::Int(number.AsInt());
  if (!real && name == "denominator") return Value::Int(1);
  return Value::Missing();
}

Value MacroAttribute(Runtime& runtime, const Function& function, std::string_view name) {
  if (name == "name") return function.name.empty() ? Value() : runtime.Text(function.name);
  if (name == "catch_kwargs") return Value::Bool(function.takes_kwargs);
  if (name == "catch_varargs") return Value::Bool(function.takes_varargs);
  if (name == "caller") return Value::Bool(function.takes_caller);
  if (name == "explicit_caller") return Value::Bool(function.explicit_caller);
  if (name != "arguments") return Value::Missing();
  std::vector<Value> names;
  for (const std::string& parameter : function.parameters) names.push_back(runtime.Text(parameter));
  return runtime.Tuple(std::move(names));
}

Value CyclerAttribute(Runtime& runtime, const CyclerObject& cycler, std::string_view name) {
  if (name == "current") return cycler.items[cycler.position];
  if (name == "pos") return Value::Int(static_cast<int64_t>(cycler.position));
  return name == "items" ? runtime.Tuple(cycler.items) : Value::Missing();
}

Value PlainAttribute(Runtime& runtime, const Value& object, const std::string& name) {
  switch (object.kind()) {
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return NumberAttribute(object, name);
    case Kind::kTuple: {
      const auto& tuple = object.As<ListObject>();
      if (tuple.group && name == "grouper") return tuple.items[0];
      return tuple.group && name == "list" ? tuple.items[1] : Value::Missing();
    }
    case Kind::kRange: {
      const auto& range = object.As<RangeObject>();
      if (name == "start") return Value::Int(range.start);
      if (name == "stop") return Value::Int(range.stop);
      return name == "step" ? Value::Int(range.step) : Value::Missing();
    }
    case Kind::kLoop:
      return LoopAttribute(runtime, object, name);
    case Kind::kMacro:
      return MacroAttribute(runtime, *object.As<MacroObject>().function, name);
    case Kind::kCycler:
      return CyclerAttribute(runtime, object.As<CyclerObject>(), name);
    case Kind::kJoiner:
      if (name == "sep") return object.As<JoinerObject>().separator;
      return name == "used" ? Value::Bool(object.As<JoinerObject>().used) : Value::Missing();
    case Kind::kFunction:
      return object.As<FunctionObject>().name == "dict" && name == "fromkeys"
                 ? GlobalNamed("dict.fromkeys")
                 : Value::Missing();
    default:
      return Value::Missing();
  }
}

Value NamespaceAttribute(const Value& object, std::string_view name) {
  for (const auto& [key, value] : object.As<NamespaceObject>().items) {
    if (key == name) return value;
  }
  return Value::Missing();
}

// An item by position; missing where there is none.
Value ItemAt(Runtime& runtime, const Value& object, int64_t index) {
  const int64_t length = *LengthOf(object);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return Value::Missing();
  if (object.Is(Kind::kRange)) return Value::Int(object.As<RangeObject>().At(index));
  if (!object.Is(Kind::kString)) return object.As<ListObject>().items[static_cast<size_t>(index)];
  std::string text = Substring(object, index, 1);
  return IsMarkup(object) ? MakeMarkup(std::move(text)) : runtime.Text(std::move(text));
}

// object[key] of Python; missing for what is an error of Python there.
Value PlainItem(Runtime& runtime, const Value& object, const Value& key) {
  switch (object.kind()) {
    case Kind::kUndefined:
      FailUndefined(object);
    case Kind::kDict: {
      if (const Nested* nested = NestedOf(key)) runtime.Step(nested->weight);
      if (!HashOf(key)) return Value::Missing();
      const auto& dict = object.As<DictObject>();
      const auto found = dict.Find(key);
      return found ? dict.items[*found].second : Value::Missing();
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kString:
      return IsInteger(key) ? ItemAt(runtime, object, key.AsInt()) : Value::Missing();
    default:
      return Value::Missing();
  }
}

}  // namespace

Value FindAttribute(Runtime& runtime, const Value& object, const std::string& name) {
  if (object.Is(Kind::kNamespace)) {
    if (name == "__class__") return Unsafe(object, name);
    return NamespaceAttribute(object, name);
  }
  if (name.starts_with("_")) {
    const bool is_private = kPrivate.find(Concat(" ", name, " ")) != std::string_view::npos ||
                            (object.Is(Kind::kUndefined) && name.starts_with("_undefined_"));
    return is_private ? Unsafe(object, name) : Value::Missing();
  }
  if (IsKeptBack(object, name)) return Unsafe(object, name);
  if (const MethodRow* method = FindMethod(object, name)) {
    auto bound = std::make_shared<MethodObject>();
    bound->self = object;
    bound->row = method;
    bound->Include(object);
    return runtime.Checked({Kind::kMethod, std::move(bound)});
  }
  return PlainAttribute(runtime, object, name);
}

Value GetAttribute(Runtime& runtime, const Value& object, const std::string& name) {
  Value found = FindAttribute(runtime, object, name);
  if (!found.Is(Kind::kMissing)) return found;
  if (object.Is(Kind::kDict)) {
    const auto& dict = object.As<DictObject>();
    if (const auto item = dict.Find(std::string_view(name))) return dict.items[*item].second;
  } else if (object.Is(Kind::kUndefined)) {
    FailUndefined(object);
  }
  return Undefined(UndefinedObject::Why::kAttribute, name, object.kind());
}

Value GetItem(Runtime& runtime, const Value& object, const Value& key) {
  Value item = PlainItem(runtime, object, key);
  if (!item.Is(Kind::kMissing)) return item;
  if (!key.Is(Kind::kString)) return Undefined(Concat("a ", TypeName(object), " has no such item"));
  Value attribute = FindAttribute(runtime, object, key.AsString());
  if (!attribute.Is(Kind::kMissing)) return attribute;
  return Undefined(UndefinedObject::Why::kItem, key.AsString(), object.kind());
}

bool IsCallable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kLoop:
    case Kind::kMacro:
    case Kind::kMethod:
    case Kind::kFunction:
    case Kind::kJoiner:
      return true;
    default:
      return false;
  }
}

Value Call(Runtime& runtime, const Value& callee, Args& args) {
  runtime.Step();
  switch (callee.kind()) {
    case Kind::kUndefined:
      FailUndefined(callee);
    case Kind::kMethod: {
      const auto& method = callee.As<MethodObject>();
      return CallMethod(runtime, method.self, *method.row, args);
    }
    case Kind::kFunction:
      return callee.As<FunctionObject>().call(runtime, args);
    case Kind::kMacro:
      return CallMacro(runtime, callee.As<MacroObject>(), args);
    case Kind::kLoop: {
      const Bound bound(runtime, "loop", {"iterable", 1}, args);
      const auto& loop = callee.As<LoopObject>();
      if (!loop.recurse) Fail("only a loop marked 'recursive' can be called");
      return loop.recurse(bound[0], loop.depth0 + 1);
    }
    case Kind::kJoiner: {
      const Bound bound(runtime, "joiner", {""}, args);
      auto& joiner = callee.Mutable<JoinerObject>();
      return std::exchange(joiner.used, true) ? joiner.separator : Value::String("");
    }
    default:
      Fail(Concat("a ", TypeName(callee), " cannot be called"));
  }
}

}  // namespace ftd::jinja
