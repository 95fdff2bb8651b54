// Verbs below a verb: `ftctl models pull`.
#pragma once

#include "absl/types/span.h"
#include "client/command/verbs.h"

namespace ftd {

// Runs the one of `sub_verbs` that follows `verb` on the command line; the first of them when none
// does. Describes all of them when `call` asks for that.
int RunSubVerb(const Invocation& call, const char* verb, absl::Span<const Verb> sub_verbs);

}  // namespace ftd
