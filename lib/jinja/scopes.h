// Which variable a name of a template means, by the rules of Jinja2's compiler: blocks have scopes
// of their own, except {% if %}; a name that a scope sets anywhere is its own in all of it, and
// begins with the outer scope's value; macros see the variables of the scopes around them as these
// are when the macro runs.
#pragma once

#include "lib/jinja/program.h"

namespace ftd::jinja {

// Fills in what of `program` is made by scopes.cc. Throws a Failure.
void ResolveScopes(Program* program);

}  // namespace ftd::jinja
