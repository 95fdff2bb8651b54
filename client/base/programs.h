// The programs that ftctl starts: where they are, and whether they may be trusted.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace ftd {

// The path of `program` without links, if none but root and this user can change what lies there:
// what somebody else named may be started then. PERMISSION_DENIED if others can; NOT_FOUND.
absl::StatusOr<std::string> InTrustedHands(const std::string& program);

// The path of a program beside this one.
std::string ProgramBeside(const std::string& name);

}  // namespace ftd
