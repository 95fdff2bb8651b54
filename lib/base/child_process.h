// Another program, run to its end.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

// The outcome of a program that has ended.
struct ChildResult {
  int exit_code = 0;   // 128 + n where signal n ended it
  std::string output;  // the beginning of what it wrote on stdout and stderr, 64 KiB at most
};

struct ChildOptions {
  // It is killed, with all that it has started in `own_group`, when it has not ended by then.
  std::chrono::milliseconds limit{0};
  std::string input;                     // on stdin
  std::vector<std::string> environment;  // "NAME=value", besides this process's own
  // In a process group of its own, which signals that are typed do not reach.
  bool own_group = false;
  // Asked about ten times a second; true: it is killed. May be empty.
  std::function<bool()> cancelled;
};

// Runs argv[0], a path. NOT_FOUND and others where it cannot be started; DEADLINE_EXCEEDED where it
// has not ended within the limit, CANCELLED. Safe among threads.
absl::StatusOr<ChildResult> RunChild(const std::vector<std::string>& argv,
                                     const ChildOptions& options);

// The last line of a program's output that is not blank, which mostly says why it failed; or "".
std::string LastLine(const std::string& output);

}  // namespace ftd
