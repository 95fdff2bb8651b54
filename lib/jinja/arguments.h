// The arguments of a call in the order of the function's parameters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/jinja/operators.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {

// A function's parameters: "width first blank", those without a default first.
struct Signature {
  std::string_view names;
  int required = 0;
  bool keywords = true;  // false: none can be given by name
};

class Bound {
 public:
  // Throws for arguments that are missing, unknown, too many, or given twice. `what` names the
  // function in the error.
  Bound(Runtime& runtime, std::string_view what, const Signature& signature, const Args& args);

  bool Has(size_t i) const { return i < values_.size() && !values_[i].Is(Kind::kMissing); }
  // Requires: it has the argument.
  const Value& operator[](size_t i) const { return values_[i]; }
  // The argument, or else the default; throws for one of another type.
  Value Or(size_t i, const Value& otherwise) const { return Has(i) ? values_[i] : otherwise; }
  bool FlagOr(size_t i, bool otherwise) const;
  int64_t IntegerOr(size_t i, int64_t otherwise) const;
  const std::string& Text(size_t i) const;
  // Returns whether the argument is None or was not given.
  bool IsNone(size_t i) const { return !Has(i) || values_[i].Is(Kind::kNone); }

 private:
  Runtime& runtime_;
  std::vector<Value> values_;
};

// Returns a string's text; throws for anything else.
const std::string& TextOf(const Value& value);

}  // namespace ftd::jinja
