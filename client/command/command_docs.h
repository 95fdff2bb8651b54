// What ftctl takes, as data: what its manual page and its completions are made of.
#pragma once

#include "lib/cli/command_doc.h"

namespace ftd {

// Asks every verb to describe itself (Invocation::describe).
ProgramDoc DescribeFtctl();

}  // namespace ftd
