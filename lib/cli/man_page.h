// A program's manual page.
#pragma once

#include <string>

#include "lib/cli/command_doc.h"

namespace ftd {

// In troff with the macros of man(7), in ASCII, without a date: equal programs have equal pages. A
// flag that the program takes before its verbs is not repeated with each of them.
std::string ManPage(const ProgramDoc& program);

}  // namespace ftd
