#include "lib/jinja/runtime.h"

#include <algorithm>
#include <cstdlib>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/activation.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

// What one rendering may use of the stack, whatever the number of levels. A thread has 8 MB.
constexpr ptrdiff_t kStackBytes = 3 << 20;
// Bytes of bookkeeping that an element of a container needs.
constexpr uint64_t kElementBytes = sizeof(Value);

const char* StackPointer() { return static_cast<const char*>(__builtin_frame_address(0)); }

class ListIterator : public IteratorObject {
 public:
  explicit ListIterator(Value list) : list_(std::move(list)) { Include(list_); }
  std::optional<Value> Next(Runtime& runtime) override {
    runtime.Step();
    const auto& items = list_.As<ListObject>().items;
    return next_ < items.size() ? std::optional<Value>(items[next_++]) : std::nullopt;
  }

 private:
  const Value list_;
  size_t next_ = 0;
};

class TextIterator : public IteratorObject {
 public:
  explicit TextIterator(Value text) : text_(std::move(text)) {}
  std::optional<Value> Next(Runtime& runtime) override {
    runtime.Step();
    const std::string& text = text_.AsString();
    if (next_ >= text.size()) return std::nullopt;
    const size_t length = Utf8Length(static_cast<unsigned char>(text[next_]));
    next_ += length;
    return runtime.Text(text.substr(next_ - length, length));
  }

 private:
  const Value text_;
  size_t next_ = 0;
};

class DictIterator : public IteratorObject {
 public:
  DictIterator(Value dict, ViewObject::Part part) : dict_(std::move(dict)), part_(part) {
    Include(dict_);
  }
  std::optional<Value> Next(Runtime& runtime) override {
    runtime.Step();
    const auto& items = dict_.As<DictObject>().items;
    if (next_ >= items.size()) return std::nullopt;
    const auto& [key, value] = items[next_++];
    if (part_ == ViewObject::Part::kItems) return runtime.Tuple({key, value});
    return part_ == ViewObject::Part::kKeys ? key : value;
  }

 private:
  const Value dict_;
  const ViewObject::Part part_;
  size_t next_ = 0;
};

class RangeIterator : public IteratorObject {
 public:
  explicit RangeIterator(Value range) : range_(std::move(range)) {}
  std::optional<Value> Next(Runtime& runtime) override {
    runtime.Step();
    const auto& range = range_.As<RangeObject>();
    return next_ < range.length ? std::optional<Value>(Value::Int(range.At(next_++)))
                                : std::nullopt;
  }

 private:
  const Value range_;
  int64_t next_ = 0;
};

class NoElements : public IteratorObject {
 public:
  std::optional<Value> Next(Runtime&) override { return std::nullopt; }
};

// Iterators may stand on one another, as deep as a template likes.
class SharedIterator : public IteratorObject {
 public:
  explicit SharedIterator(Value iterator) : iterator_(std::move(iterator)) { Include(iterator_); }
  std::optional<Value> Next(Runtime& runtime) override {
    const Runtime::Level level(runtime);
    return iterator_.Mutable<IteratorObject>().Next(runtime);
  }

 private:
  const Value iterator_;
};

}  // namespace

Runtime::Runtime(const Options& options, const Value& variables)
    : options_(options), variables_(variables.As<DictObject>()), stack_(StackPointer()) {
  for (size_t i = 0; i < options.watched.size(); ++i) {
    if (options.watched[i].identity() != nullptr)
      watched_.try_emplace(options.watched[i].identity(), i);
  }
}

// One after the other, while the rest still holds them: no long chain is destroyed recursively.
Runtime::~Runtime() {
  for (const auto& activation : kept_activations_) activation->slots.clear();
  for (const Value& value : kept_values_) {
    if (value.Is(Kind::kNamespace)) value.Mutable<NamespaceObject>().items.clear();
    if (value.Is(Kind::kLoop)) value.Mutable<LoopObject>().last_changed.reset();
  }
}

void Runtime::FailSteps() const {
  FailLimit(Concat("the template takes more than ", options_.max_steps, " steps"));
}

void Runtime::Allocate(uint64_t bytes) {
  allocated_ += std::min(bytes, options_.max_value_bytes + 1);
  if (allocated_ > options_.max_value_bytes)
    FailLimit(Concat("the template's values take more than ", options_.max_value_bytes, " bytes"));
  Step(bytes / 64);
}

void Runtime::Descend() {
  if (level_ + 1 > options_.max_levels || std::abs(stack_ - StackPointer()) > kStackBytes)
    FailLimit(Concat("the template's calls nest deeper than ", level_, " levels"));
  ++level_;
}

Value Runtime::Text(std::string text) {
  Allocate(text.size());
  return Value::String(std::move(text));
}

Value Runtime::Checked(Value value) {
  const Nested* nested = NestedOf(value);
  if (nested != nullptr && nested->depth > Value::kMaxDepth)
    FailLimit(Concat("values nest deeper than ", Value::kMaxDepth, " levels"));
  if (nested != nullptr && nested->weight > options_.max_steps)
    FailLimit(Concat("a value holds more than ", options_.max_steps, " others"));
  return value;
}

Value Runtime::List(std::vector<Value> items) {
  Allocate(items.size() * kElementBytes);
  return Checked(Value::List(std::move(items)));
}

Value Runtime::Tuple(std::vector<Value> items) {
  Allocate(items.size() * kElementBytes);
  return Checked(Value::Tuple(std::move(items)));
}

Value Runtime::Dict(std::vector<std::pair<Value, Value>> items) {
  Allocate(items.size() * 2 * kElementBytes);
  return Checked(Value::Dict(std::move(items)));
}

void Runtime::Write(std::string_view text) {
  if (capture_ != nullptr) {
    Allocate(text.size());
    capture_->append(text);
    return;
  }
  written_ += text.size();
  if (written_ > options_.max_output_bytes)
    FailLimit(Concat("the text is longer than ", options_.max_output_bytes, " bytes"));
  rendered.text.append(text);
}

Value Runtime::Resolve(const std::string& name) const {
  if (const auto found = variables_.Find(std::string_view(name)))
    return variables_.items[*found].second;
  return GlobalNamed(name);
}

std::optional<size_t> Runtime::WatchedIndex(const Value& value) const {
  if (watched_.empty() || value.identity() == nullptr) return std::nullopt;
  const auto found = watched_.find(value.identity());
  return found == watched_.end() ? std::nullopt : std::optional<size_t>(found->second);
}

void Runtime::Keep(std::shared_ptr<Activation> activation) {
  Allocate(sizeof(Activation) + activation->slots.size() * kElementBytes);
  kept_activations_.push_back(std::move(activation));
}

std::shared_ptr<IteratorObject> Iterate(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kList:
    case Kind::kTuple:
      return std::make_shared<ListIterator>(value);
    case Kind::kString:
      return std::make_shared<TextIterator>(value);
    case Kind::kDict:
      return std::make_shared<DictIterator>(value, ViewObject::Part::kKeys);
    case Kind::kView:
      return std::make_shared<DictIterator>(value.As<ViewObject>().dict,
                                            value.As<ViewObject>().part);
    case Kind::kRange:
      return std::make_shared<RangeIterator>(value);
    case Kind::kUndefined:
      return std::make_shared<NoElements>();
    case Kind::kIterator:
      return std::make_shared<SharedIterator>(runtime.Checked(value));
    case Kind::kLoop:
      Fail("iterating over `loop` itself is not supported");
    default:
      Fail(Concat(TypeName(value), " is not iterable"));
  }
}

std::vector<Value> ToVector(Runtime& runtime, const Value& value) {
  if (value.Is(Kind::kList) || value.Is(Kind::kTuple)) {
    const auto& items = value.As<ListObject>().items;
    runtime.Allocate(items.size() * kElementBytes);
    return items;
  }
  std::vector<Value> items;
  const auto iterator = Iterate(runtime, value);
  while (auto item = iterator->Next(runtime)) {
    runtime.Allocate(kElementBytes);
    items.push_back(*std::move(item));
  }
  return items;
}

const Value& HashableKey(Runtime& runtime, const Value& key) {
  if (const Nested* nested = NestedOf(key)) runtime.Step(nested->weight);
  if (!HashOf(key)) Fail(Concat("a ", TypeName(key), " cannot be a key: it is not hashable"));
  return key;
}

std::string UndefinedObject::Message() const {
  switch (why) {
    case Why::kName:
      return Concat("'", text, "' is undefined");
    case Why::kAttribute:
      return Concat("a ", TypeName(of), " has no attribute '", text, "'");
    case Why::kItem:
      return Concat("a ", TypeName(of), " has no item ", ReprOfText(text));
    case Why::kUnsafe:
      return Concat("the sandbox keeps the attribute '", text, "' of a ", TypeName(of), " back");
    default:
      return text;
  }
}

void FailUndefined(const Value& value) { Fail(value.As<UndefinedObject>().Message()); }

std::optional<int64_t> LengthOf(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return value.As<StringObject>().Length();
    case Kind::kList:
    case Kind::kTuple:
      return value.As<ListObject>().items.size();
    case Kind::kDict:
      return value.As<DictObject>().items.size();
    case Kind::kView:
      return LengthOf(value.As<ViewObject>().dict);
    case Kind::kRange:
      return value.As<RangeObject>().length;
    default:
      return std::nullopt;
  }
}

bool IsTrue(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
    case Kind::kMissing:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.AsInt() != 0;
    case Kind::kFloat:
      return value.AsFloat() != 0;
    case Kind::kString:
      return !value.AsString().empty();
    case Kind::kLoop:
      return LoopLength(runtime, value.Mutable<LoopObject>()) != 0;
    default:
      return LengthOf(value).value_or(1) != 0;
  }
}

}  // namespace ftd::jinja
