// ftctl's command line as data, from which its manual page and its completions are made.
#pragma once

#include "lib/cli/command_doc.h"

namespace ftd {

// Asks every verb to describe itself (Invocation::describe).
ProgramDoc DescribeFtctl();

}  // namespace ftd
