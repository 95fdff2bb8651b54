// Formatting of values into texts: the operator %, str.format, and what a format spec means.
#pragma once

#include <string>
#include <string_view>

#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;
struct Args;

// Returns format % values: one value, a tuple of them, or a dict for %(name)s.
std::string PercentFormat(Runtime& runtime, const std::string& format, const Value& values);

// Returns format.format(*args, **kwargs), with the sandbox's access to attributes.
std::string BraceFormat(Runtime& runtime, const std::string& format, const Args& args);

// Returns format(value, spec): fill, alignment, sign, width, grouping, precision and type.
std::string FormatValue(Runtime& runtime, const Value& value, const std::string& spec);

}  // namespace ftd::jinja
