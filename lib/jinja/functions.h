// The functions that every template has, and what belongs to loops and macros.
#pragma once

#include <optional>
#include <string>

#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;
struct Args;
struct LoopObject;
struct MacroObject;

// Returns range, dict, namespace, cycler, joiner, raise_exception or strftime_now; else missing.
Value GlobalNamed(const std::string& name);

// loop.length: of what has no length, all elements are taken.
int64_t LoopLength(Runtime& runtime, LoopObject& loop);
// The next element, if there is one, without going to it.
const std::optional<Value>& PeekNext(Runtime& runtime, LoopObject& loop);
// Goes to the next element; nullopt at the end.
std::optional<Value> Advance(Runtime& runtime, LoopObject& loop);
// loop.name; missing if there is no such attribute.
Value LoopAttribute(Runtime& runtime, const Value& loop, const std::string& name);

// render.cc: runs the macro, and returns its output.
Value CallMacro(Runtime& runtime, const MacroObject& macro, Args& args);

}  // namespace ftd::jinja
