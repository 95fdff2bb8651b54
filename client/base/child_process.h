// Another program, run to its end.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

// The outcome of a program that has ended.
struct ChildResult {
  int exit_code = 0;   // 128 + n where signal n ended it
  std::string output;  // what it wrote on stdout and stderr
};

// Runs argv[0], a path, with no input. NOT_FOUND and others where it cannot be started;
// DEADLINE_EXCEEDED where it has not ended after `limit`, and is killed. Safe among threads.
absl::StatusOr<ChildResult> RunChild(const std::vector<std::string>& argv,
                                     std::chrono::milliseconds limit);

// The path of `program` without links, if none but root and this user can change what lies there:
// what somebody else named may be started then. PERMISSION_DENIED if others can; NOT_FOUND.
absl::StatusOr<std::string> InTrustedHands(const std::string& program);

// The path of a program beside this one.
std::string ProgramBeside(const std::string& name);

}  // namespace ftd
