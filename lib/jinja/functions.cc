#include "lib/jinja/functions.h"

#include <clocale>
#include <ctime>

#include "absl/container/flat_hash_map.h"
#include "lib/base/concat.h"
#include "lib/jinja/arguments.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/runtime.h"

namespace ftd::jinja {
namespace {

constexpr int64_t kLongestRange = 100000;  // the sandbox's

Value Range(Runtime& runtime, Args& args) {
  const Bound bound(runtime, "range", {"start stop step", 1, false}, args);
  const int64_t start = bound.Has(1) ? ToIndex(bound[0]) : 0;
  const int64_t stop = ToIndex(bound[bound.Has(1) ? 1 : 0]);
  const int64_t step = bound.IntegerOr(2, 1);
  if (step == 0) Fail("the step of a range cannot be 0");
  auto range = std::make_shared<RangeObject>(start, stop, step);
  if (range->length > kLongestRange)
    Fail(Concat("the sandbox allows ranges of at most ", kLongestRange, " numbers"));
  return {Kind::kRange, std::move(range)};
}

// The items of dict(*args, **kwargs): a dict or pairs, and named ones.
std::vector<std::pair<Value, Value>> ItemsOf(Runtime& runtime, std::string_view what, Args& args) {
  std::vector<std::pair<Value, Value>> items;
  if (args.positional.size() > 1) Fail(Concat("'", what, "' takes at most one argument"));
  if (!args.positional.empty() && args.positional[0].Is(Kind::kDict)) {
    items = args.positional[0].As<DictObject>().items;
  } else if (!args.positional.empty()) {
    // Python looks for a method of the value, which an undefined one does not allow.
    if (args.positional[0].Is(Kind::kUndefined)) FailUndefined(args.positional[0]);
    for (const Value& pair : ToVector(runtime, args.positional[0])) {
      std::vector<Value> parts = ToVector(runtime, pair);
      if (parts.size() != 2) Fail(Concat("'", what, "' needs pairs of a key and a value"));
      items.emplace_back(HashableKey(runtime, parts[0]), parts[1]);
    }
  }
  for (const auto& [name, value] : args.named) items.emplace_back(runtime.Text(name), value);
  return items;
}

Value MakeDict(Runtime& runtime, Args& args) {
  return runtime.Dict(ItemsOf(runtime, "dict", args));
}

Value DictFromKeys(Runtime& runtime, Args& args) {
  const Bound bound(runtime, "fromkeys", {"iterable value", 1, false}, args);
  std::vector<std::pair<Value, Value>> items;
  for (const Value& key : ToVector(runtime, bound[0]))
    items.emplace_back(HashableKey(runtime, key), bound.Or(1, Value()));
  return runtime.Dict(std::move(items));
}

Value MakeNamespace(Runtime& runtime, Args& args) {
  auto names = std::make_shared<NamespaceObject>();
  // As a dict first: of equal names the last value counts.
  const Value dict = runtime.Dict(ItemsOf(runtime, "namespace", args));
  for (const auto& [name, value] : dict.As<DictObject>().items) {
    if (TextOf(name).starts_with("_")) {
      Fail(Concat("a namespace cannot have the attribute '", name.AsString(),
                  "': names that begin with an underscore are private"));
    }
    names->items.emplace_back(name.AsString(), value);
  }
  Value made(Kind::kNamespace, std::move(names));
  runtime.Keep(made);
  return made;
}

Value MakeCycler(Runtime& runtime, Args& args) {
  if (!args.named.empty()) Fail("'cycler' takes no named arguments");
  if (args.positional.empty()) Fail("'cycler' needs an item");
  auto cycler = std::make_shared<CyclerObject>();
  for (const Value& item : args.positional) cycler->Include(item);
  cycler->items = std::move(args.positional);
  return runtime.Checked({Kind::kCycler, std::move(cycler)});
}

Value MakeJoiner(Runtime& runtime, Args& args) {
  const Bound bound(runtime, "joiner", {"sep"}, args);
  auto joiner = std::make_shared<JoinerObject>();
  joiner->separator = bound.Or(0, Value::String(", "));
  // The separator may be anything, and an object without depth must not hold it deeper and deeper.
  if (!joiner->separator.Is(Kind::kString)) Fail("the separator of a joiner must be a string");
  return {Kind::kJoiner, std::move(joiner)};
}

Value RaiseException(Runtime& runtime, Args& args) {
  const Bound bound(runtime, "raise_exception", {"message", 1}, args);
  throw Failure{Str(runtime, bound[0]), absl::StatusCode::kInvalidArgument, /*raised=*/true};
}

// A locale of its own, for the program may have set another.
size_t FormatTime(char* out, size_t size, const std::string& format, const std::tm& time) {
  static const locale_t c_locale = ::newlocale(LC_ALL_MASK, "C", nullptr);
  return ::strftime_l(out, size, format.c_str(), &time, c_locale);
}

Value StrftimeNow(Runtime& runtime, Args& args) {
  const Bound bound(runtime, "strftime_now", {"format", 1}, args);
  if (!runtime.options().now) Fail("strftime_now: this rendering has no date");
  const absl::CivilSecond now = *runtime.options().now;
  // Python's own directives: a naive time has no zone, and none has microseconds here.
  std::string format;
  for (size_t i = 0; i < bound.Text(0).size(); ++i) {
    const std::string& text = bound.Text(0);
    if (text[i] == '\0') Fail("the format of strftime_now has a NUL");
    if (text[i] != '%' || i + 1 == text.size()) {
      format.push_back(text[i]);
      continue;
    }
    const char directive = text[++i];
    if (directive == 'f') Fail("strftime_now: microseconds (%f) are not supported");
    if (directive == 's') Fail("strftime_now: seconds since 1970 (%s) are not supported");
    if (directive != 'z' && directive != 'Z') format.append({'%', directive});
  }
  std::tm time{};
  time.tm_year = static_cast<int>(now.year() - 1900);
  time.tm_mon = now.month() - 1;
  time.tm_mday = now.day();
  time.tm_hour = now.hour();
  time.tm_min = now.minute();
  time.tm_sec = now.second();
  time.tm_wday = (static_cast<int>(absl::GetWeekday(now)) + 1) % 7;
  time.tm_yday = absl::GetYearDay(now) - 1;
  time.tm_isdst = -1;
  if (format.empty()) return Value::String("");
  constexpr size_t kLongest = size_t{1} << 20;
  for (size_t size = 256; size <= kLongest; size *= 4) {
    std::string text(size, '\0');
    const size_t length = FormatTime(text.data(), size, format, time);
    if (length > 0 || size * 4 > kLongest) {
      text.resize(length);
      return runtime.Text(std::move(text));
    }
  }
  Fail("the format of strftime_now is too long");
}

const Value* FindGlobal(const std::string& name) {
  struct Row {
    std::string_view name;
    Value (*call)(Runtime&, Args&);
  };
  static constexpr Row kRows[] = {
      {"range", Range},
      {"dict", MakeDict},
      {"dict.fromkeys", DictFromKeys},
      {"namespace", MakeNamespace},
      {"cycler", MakeCycler},
      {"joiner", MakeJoiner},
      {"raise_exception", RaiseException},
      {"strftime_now", StrftimeNow},
  };
  static const auto* const globals = [] {
    auto* made =
        new absl::flat_hash_map<std::string, Value>();  // NOLINT: lives as long as the program
    for (const Row& row : kRows) {
      made->emplace(row.name,
                    Value(Kind::kFunction, std::make_shared<FunctionObject>(row.name, row.call)));
    }
    return made;
  }();
  const auto found = globals->find(name);
  return found == globals->end() ? nullptr : &found->second;
}

class RestIterator : public IteratorObject {
 public:
  explicit RestIterator(std::vector<Value> items) : items_(std::move(items)) {}
  std::optional<Value> Next(Runtime& runtime) override {
    runtime.Step();
    return next_ < items_.size() ? std::optional<Value>(items_[next_++]) : std::nullopt;
  }

 private:
  const std::vector<Value> items_;
  size_t next_ = 0;
};

}  // namespace

Value GlobalNamed(const std::string& name) {
  const Value* found = FindGlobal(name);
  return found == nullptr ? Value::Missing() : *found;
}

int64_t LoopLength(Runtime& runtime, LoopObject& loop) {
  if (loop.length) return *loop.length;
  loop.length = LengthOf(loop.iterable);
  if (!loop.length) {
    std::vector<Value> rest;
    while (auto item = loop.iterator->Next(runtime)) {
      runtime.Allocate(sizeof(Value));
      rest.push_back(*std::move(item));
    }
    loop.length = static_cast<int64_t>(rest.size()) + loop.index0 + 1 + (loop.after ? 1 : 0);
    loop.iterator = std::make_shared<RestIterator>(std::move(rest));
  }
  return *loop.length;
}

const std::optional<Value>& PeekNext(Runtime& runtime, LoopObject& loop) {
  if (!loop.after && !loop.ended) {
    loop.after = loop.iterator->Next(runtime);
    loop.ended = !loop.after;
  }
  return loop.after;
}

std::optional<Value> Advance(Runtime& runtime, LoopObject& loop) {
  std::optional<Value> next = PeekNext(runtime, loop);
  if (!next) return next;
  loop.after.reset();
  ++loop.index0;
  loop.before = std::move(loop.current);
  loop.current = *next;
  return next;
}

Value LoopAttribute(Runtime& runtime, const Value& self, const std::string& name) {
  auto& loop = self.Mutable<LoopObject>();
  if (name == "index") return Value::Int(loop.index0 + 1);
  if (name == "index0") return Value::Int(loop.index0);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(!PeekNext(runtime, loop));
  if (name == "length") return Value::Int(LoopLength(runtime, loop));
  if (name == "revindex") return Value::Int(LoopLength(runtime, loop) - loop.index0);
  if (name == "revindex0") return Value::Int(LoopLength(runtime, loop) - loop.index0 - 1);
  if (name == "depth") return Value::Int(loop.depth0 + 1);
  if (name == "depth0") return Value::Int(loop.depth0);
  if (name == "previtem")
    return loop.index0 == 0 ? Undefined("there is no previous item") : loop.before;
  if (name != "nextitem") return Value::Missing();
  const auto& next = PeekNext(runtime, loop);
  return next ? *next : Undefined("there is no next item");
}

}  // namespace ftd::jinja
