// The tests: `value is name(arguments)`.
#pragma once

#include <string_view>

#include "lib/jinja/arguments.h"
#include "lib/jinja/value.h"

namespace ftd::jinja {

struct TestRow {
  std::string_view name;
  Signature signature;
  bool (*call)(Runtime&, const Value& input, const Bound&);
};

// Returns the test of that name; nullptr if there is none.
const TestRow* TestNamed(std::string_view name);
bool CallTest(Runtime& runtime, const TestRow& row, const Value& input, const Args& args);

}  // namespace ftd::jinja
