// What comes after a value in an expression: attributes, items, slices and calls.
#pragma once

#include <string>
#include <string_view>

#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;
struct Args;

// Returns object.name: an attribute, or else the item of that name, or else undefined. What the
// sandbox keeps back (private names, methods that change a list or a dict) is undefined as well.
Value GetAttribute(Runtime& runtime, const Value& object, const std::string& name);
// Returns object[key]: the item, or else the attribute of that name, or else undefined.
Value GetItem(Runtime& runtime, const Value& object, const Value& key);
// Returns the attribute alone, without the item in its place; missing if there is none.
Value FindAttribute(Runtime& runtime, const Value& object, const std::string& name);

// slices.cc. Returns object[start:stop:step]; None stands for what was left out.
Value GetSlice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
               const Value& step);

// Returns callee(*args, **kwargs).
Value Call(Runtime& runtime, const Value& callee, Args& args);
// Returns whether the sandbox keeps the method back because it would change the list or dict.
bool IsKeptBack(const Value& object, std::string_view name);
bool IsCallable(const Value& value);

// Returns the code points [begin, begin + length) of a text.
std::string Substring(const Value& text, int64_t begin, int64_t length);

}  // namespace ftd::jinja
