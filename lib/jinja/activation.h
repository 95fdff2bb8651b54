// The variables of one call of a function: the template itself, a macro, a call block, a recursive
// loop, or the condition of a for loop. What compiled templates have as functions of Python.
#pragma once

#include <memory>
#include <vector>

#include "lib/jinja/value.h"

namespace ftd::jinja {

struct Activation {
  Activation(size_t size, std::shared_ptr<Activation> outer)
      : slots(size, Value::Missing()), outer(std::move(outer)) {}

  std::vector<Value> slots;
  const std::shared_ptr<Activation> outer;  // where the function was defined
  bool kept = false;                        // by the runtime, because a macro sees it
};

}  // namespace ftd::jinja
