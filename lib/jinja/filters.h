// The filters: `value | name(arguments)`.
#pragma once

#include <string_view>

#include "lib/jinja/arguments.h"
#include "lib/jinja/value.h"

namespace ftd::jinja {

struct FilterRow {
  std::string_view name;
  Signature signature;
  Value (*call)(Runtime&, const Value& input, const Bound&);
  Value (*call_any)(Runtime&, const Value& input, Args) = nullptr;  // takes any arguments
};

// Returns the filter of that name; nullptr if there is none, or if it is refused.
const FilterRow* FilterNamed(std::string_view name);
// Returns whether Jinja2 has the filter and this library does not.
bool IsRefusedFilter(std::string_view name);
Value CallFilter(Runtime& runtime, const FilterRow& row, const Value& input, Args args);

// filter_texts.cc.
Value Capitalize(Runtime&, const Value&, const Bound&);
Value CenterText(Runtime&, const Value&, const Bound&);
Value Escape(Runtime&, const Value&, const Bound&);
Value ForceEscape(Runtime&, const Value&, const Bound&);
Value FileSize(Runtime&, const Value&, const Bound&);
Value FormatText(Runtime&, const Value&, Args);
Value Indent(Runtime&, const Value&, const Bound&);
Value Lower(Runtime&, const Value&, const Bound&);
Value MarkSafe(Runtime&, const Value&, const Bound&);
Value Replace(Runtime&, const Value&, const Bound&);
Value ToText(Runtime&, const Value&, const Bound&);
Value TitleText(Runtime&, const Value&, const Bound&);
Value ToJson(Runtime&, const Value&, const Bound&);
Value Trim(Runtime&, const Value&, const Bound&);
Value Truncate(Runtime&, const Value&, const Bound&);
Value Upper(Runtime&, const Value&, const Bound&);
Value UrlEncode(Runtime&, const Value&, const Bound&);
Value WordCount(Runtime&, const Value&, const Bound&);

// filter_numbers.cc.
Value Absolute(Runtime&, const Value&, const Bound&);
Value ToFloat(Runtime&, const Value&, const Bound&);
Value ToInteger(Runtime&, const Value&, const Bound&);
Value Round(Runtime&, const Value&, const Bound&);

// filter_lists.cc.
Value DictSort(Runtime&, const Value&, const Bound&);
Value First(Runtime&, const Value&, const Bound&);
Value GroupBy(Runtime&, const Value&, const Bound&);
Value JoinTexts(Runtime&, const Value&, const Bound&);
Value Largest(Runtime&, const Value&, const Bound&);
Value Last(Runtime&, const Value&, const Bound&);
Value Length(Runtime&, const Value&, const Bound&);
Value ListOf(Runtime&, const Value&, const Bound&);
Value Smallest(Runtime&, const Value&, const Bound&);
Value Sort(Runtime&, const Value&, const Bound&);
Value Sum(Runtime&, const Value&, const Bound&);

// filter_iterators.cc: these compute their elements when they are asked for.
Value Batch(Runtime&, const Value&, const Bound&);
Value Items(Runtime&, const Value&, const Bound&);
Value Map(Runtime&, const Value&, Args);
Value Reject(Runtime&, const Value&, Args);
Value RejectAttribute(Runtime&, const Value&, Args);
Value Reverse(Runtime&, const Value&, const Bound&);
Value Select(Runtime&, const Value&, Args);
Value SelectAttribute(Runtime&, const Value&, Args);
Value SliceInto(Runtime&, const Value&, const Bound&);
Value Unique(Runtime&, const Value&, const Bound&);

}  // namespace ftd::jinja
