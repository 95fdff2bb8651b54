// Values as text: str() and repr() of Python, and json.dumps.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;

// Returns the name of a value's type, as Python's errors have it: "int", "NoneType".
std::string_view TypeName(Kind kind);
inline std::string_view TypeName(const Value& value) { return TypeName(value.kind()); }

// Returns str(value). Throws for what Python shows with an address of memory.
std::string Str(Runtime& runtime, const Value& value);
// Returns repr(value); throws as Str does.
std::string Repr(Runtime& runtime, const Value& value);
// Returns repr() of a float: the shortest digits that read back as the same number.
std::string ReprOfFloat(double value);
// Returns repr() of a string, quoted.
std::string ReprOfText(std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // one level of it; nullopt: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
// Returns json.dumps(value); throws for what JSON cannot hold.
std::string JsonDump(Runtime& runtime, const Value& value, const JsonStyle& style);

// Returns the text with the five characters escaped that HTML gives a meaning.
std::string EscapeHtml(std::string_view text);

}  // namespace ftd::jinja
