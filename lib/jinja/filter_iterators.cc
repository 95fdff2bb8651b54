// Filters that give their elements one by one, as generators of Python do.
#include <algorithm>
#include <unordered_map>

#include "lib/base/concat.h"
#include "lib/jinja/attribute_path.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/tests.h"

namespace ftd::jinja {
namespace {

// Begins with its input when it is asked for the first element, so that errors appear only then.
class FilterIterator : public IteratorObject {
 public:
  explicit FilterIterator(Value input) : input_(std::move(input)) { Include(input_); }

 protected:
  std::optional<Value> NextInput(Runtime& runtime) {
    if (source_ == nullptr) source_ = Iterate(runtime, input_);
    return source_->Next(runtime);
  }
  const Value& input() const { return input_; }

 private:
  const Value input_;
  std::shared_ptr<IteratorObject> source_;
};

template <typename Iterator, typename... Parts>
Value Make(Runtime& runtime, Parts&&... parts) {
  return runtime.Checked(
      {Kind::kIterator, std::make_shared<Iterator>(std::forward<Parts>(parts)...)});
}

// The filter or attribute of `map`, or the test of `select` and its kin.
class ApplyIterator : public FilterIterator {
 public:
  ApplyIterator(Value input, Args args) : FilterIterator(std::move(input)), args_(std::move(args)) {
    for (const Value& value : args_.positional) Include(value);
    for (const auto& [name, value] : args_.named) Include(value);
  }

  std::optional<Value> Next(Runtime& runtime) override {
    if (!prepared_) {
      empty_ = !IsTrue(runtime, input());
      if (!empty_) Prepare(runtime);
      prepared_ = true;
    }
    return empty_ ? std::nullopt : NextResult(runtime);
  }

 protected:
  virtual void Prepare(Runtime& runtime) = 0;
  virtual std::optional<Value> NextResult(Runtime& runtime) = 0;
  // Removes the first positional argument and returns it.
  Value TakeFirst(std::string_view what) {
    if (args_.positional.empty()) Fail(std::string(what));
    Value first = args_.positional[0];
    args_.positional.erase(args_.positional.begin());
    return first;
  }
  Args args_;

 private:
  bool prepared_ = false, empty_ = false;
};

class MapIterator : public ApplyIterator {
 public:
  using ApplyIterator::ApplyIterator;

 protected:
  void Prepare(Runtime& runtime) override {
    const bool by_attribute =
        args_.positional.empty() &&
        std::any_of(args_.named.begin(), args_.named.end(),
                    [](const auto& named) { return named.first == "attribute"; });
    if (by_attribute) {
      const Bound bound(runtime, "map", {"attribute default"}, args_);
      path_.emplace(runtime, bound[0]);
      otherwise_ = bound.Or(1, Value());
      return;
    }
    const Value name = TakeFirst("map needs a filter or an attribute");
    if (name.Is(Kind::kString)) filter_ = FilterNamed(name.AsString());
    if (filter_ == nullptr) Fail("map is given a filter that there is not");
  }

  std::optional<Value> NextResult(Runtime& runtime) override {
    const auto item = NextInput(runtime);
    if (!item) return std::nullopt;
    if (path_) return path_->Follow(runtime, *item, &otherwise_);
    return CallFilter(runtime, *filter_, *item, args_);
  }

 private:
  std::optional<AttributePath> path_;
  Value otherwise_;
  const FilterRow* filter_ = nullptr;
};

class SelectIterator : public ApplyIterator {
 public:
  SelectIterator(Value input, Args args, bool of_attribute, bool wanted)
      : ApplyIterator(std::move(input), std::move(args)),
        of_attribute_(of_attribute),
        wanted_(wanted) {}

 protected:
  void Prepare(Runtime& runtime) override {
    if (of_attribute_) path_.emplace(runtime, TakeFirst("the name of an attribute is missing"));
    by_test_ = !args_.positional.empty();
    if (!by_test_) return;
    const Value name = TakeFirst("");
    if (name.Is(Kind::kString)) test_ = TestNamed(name.AsString());
    if (test_ == nullptr) Fail("a test is named that there is not");
  }

  std::optional<Value> NextResult(Runtime& runtime) override {
    while (auto item = NextInput(runtime)) {
      const Value tested = path_ ? path_->Follow(runtime, *item) : *item;
      const bool passed =
          by_test_ ? CallTest(runtime, *test_, tested, args_) : IsTrue(runtime, tested);
      if (passed == wanted_) return item;
    }
    return std::nullopt;
  }

 private:
  const bool of_attribute_, wanted_;
  bool by_test_ = false;
  std::optional<AttributePath> path_;
  const TestRow* test_ = nullptr;
};

class UniqueIterator : public FilterIterator {
 public:
  UniqueIterator(Value input, bool case_sensitive, Value attribute)
      : FilterIterator(std::move(input)),
        case_sensitive_(case_sensitive),
        attribute_(std::move(attribute)) {}

  std::optional<Value> Next(Runtime& runtime) override {
    const AttributePath path(runtime, attribute_);
    while (auto item = NextInput(runtime)) {
      const Value key = KeyOf(runtime, path.Follow(runtime, *item), case_sensitive_);
      const uint64_t hash = *HashOf(HashableKey(runtime, key));
      const auto [begin, end] = seen_.equal_range(hash);
      const bool known =
          std::any_of(begin, end, [&](const auto& other) { return SameKey(other.second, key); });
      if (known) continue;
      seen_.emplace(hash, key);
      return item;
    }
    return std::nullopt;
  }

 private:
  const bool case_sensitive_;
  const Value attribute_;
  std::unordered_multimap<uint64_t, Value> seen_;
};

class BatchIterator : public FilterIterator {
 public:
  BatchIterator(Value input, Value size, Value fill)
      : FilterIterator(std::move(input)), size_(std::move(size)), fill_(std::move(fill)) {}

  std::optional<Value> Next(Runtime& runtime) override {
    if (ended_) return std::nullopt;
    while (auto item = NextInput(runtime)) {
      const auto length = static_cast<int64_t>(batch_.size());
      std::vector<Value> full;
      const bool whole = Equals(runtime, Value::Int(length), size_);
      if (whole) full = std::exchange(batch_, {});
      batch_.push_back(*std::move(item));
      if (whole) return runtime.List(std::move(full));
    }
    ended_ = true;
    if (batch_.empty()) return std::nullopt;
    const auto length = static_cast<int64_t>(batch_.size());
    if (!fill_.Is(Kind::kNone) && Less(runtime, Value::Int(length), size_)) {
      runtime.Allocate(static_cast<uint64_t>(ToIndex(size_)) * sizeof(Value));
      batch_.resize(static_cast<size_t>(ToIndex(size_)), fill_);
    }
    return runtime.List(std::move(batch_));
  }

 private:
  const Value size_, fill_;
  std::vector<Value> batch_;
  bool ended_ = false;
};

class SliceIterator : public FilterIterator {
 public:
  SliceIterator(Value input, Value slices, Value fill)
      : FilterIterator(std::move(input)), slices_(std::move(slices)), fill_(std::move(fill)) {}

  std::optional<Value> Next(Runtime& runtime) override {
    runtime.Step();
    if (slice_ == 0) {
      items_ = ToVector(runtime, input());
      count_ = ToIndex(slices_);
      if (count_ == 0) Fail("slice needs at least one slice");
    }
    if (slice_ >= count_) return std::nullopt;
    const auto length = static_cast<int64_t>(items_.size());
    const int64_t size = length / count_, larger = length % count_;
    const auto begin = items_.begin() + slice_ * size + std::min(slice_, larger);
    std::vector<Value> items(begin, begin + size + (slice_ < larger ? 1 : 0));
    if (!fill_.Is(Kind::kNone) && slice_ >= larger) items.push_back(fill_);
    ++slice_;
    return runtime.List(std::move(items));
  }

 private:
  const Value slices_, fill_;
  std::vector<Value> items_;
  int64_t slice_ = 0, count_ = 0;
};

class ReverseIterator : public FilterIterator {
 public:
  using FilterIterator::FilterIterator;
  std::optional<Value> Next(Runtime& runtime) override {
    if (!begun_) items_ = ToVector(runtime, input());
    begun_ = true;
    if (items_.empty()) return std::nullopt;
    Value last = std::move(items_.back());
    items_.pop_back();
    return last;
  }

 private:
  std::vector<Value> items_;
  bool begun_ = false;
};

class ItemsIterator : public FilterIterator {
 public:
  using FilterIterator::FilterIterator;
  std::optional<Value> Next(Runtime& runtime) override {
    if (input().Is(Kind::kUndefined)) return std::nullopt;
    if (!input().Is(Kind::kDict)) Fail(Concat("items needs a dict, not a ", TypeName(input())));
    const auto key = NextInput(runtime);
    if (!key) return std::nullopt;
    return runtime.Tuple({*key, input().As<DictObject>().items[next_++].second});
  }

 private:
  size_t next_ = 0;
};

}  // namespace

Value Map(Runtime& runtime, const Value& input, Args args) {
  return Make<MapIterator>(runtime, input, std::move(args));
}
Value Select(Runtime& runtime, const Value& input, Args args) {
  return Make<SelectIterator>(runtime, input, std::move(args), false, true);
}
Value Reject(Runtime& runtime, const Value& input, Args args) {
  return Make<SelectIterator>(runtime, input, std::move(args), false, false);
}
Value SelectAttribute(Runtime& runtime, const Value& input, Args args) {
  return Make<SelectIterator>(runtime, input, std::move(args), true, true);
}
Value RejectAttribute(Runtime& runtime, const Value& input, Args args) {
  return Make<SelectIterator>(runtime, input, std::move(args), true, false);
}
Value Unique(Runtime& runtime, const Value& input, const Bound& args) {
  return Make<UniqueIterator>(runtime, input, args.FlagOr(0, false), args.Or(1, Value()));
}
Value Batch(Runtime& runtime, const Value& input, const Bound& args) {
  return Make<BatchIterator>(runtime, input, args[0], args.Or(1, Value()));
}
Value SliceInto(Runtime& runtime, const Value& input, const Bound& args) {
  return Make<SliceIterator>(runtime, input, args[0], args.Or(1, Value()));
}
Value Items(Runtime& runtime, const Value& input, const Bound&) {
  return Make<ItemsIterator>(runtime, input);
}

// A text gives a text; what has no end to begin from gives a list.
Value Reverse(Runtime& runtime, const Value& input, const Bound&) {
  if (input.Is(Kind::kString)) return GetSlice(runtime, input, Value(), Value(), Value::Int(-1));
  if (LengthOf(input)) return Make<ReverseIterator>(runtime, input);
  std::vector<Value> items = ToVector(runtime, input);
  std::reverse(items.begin(), items.end());
  return runtime.Checked(Value::List(std::move(items)));
}

}  // namespace ftd::jinja
