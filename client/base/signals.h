// Signals as a file descriptor, so that Ctrl-C is an event among others.
#pragma once

#include <csignal>
#include <initializer_list>

#include "lib/base/file.h"

namespace ftd {

// Blocks the signals for this thread and those that it starts, for the life of the process; they
// are read from fd(). Construct it before anything that starts threads (gRPC does).
class Signals {
 public:
  // Signals that arrive before anybody reads them are kept, one of each number.
  Signals(std::initializer_list<int> numbers);

  // Readable while a signal waits; for poll(2).
  int fd() const { return fd_.get(); }

  // The signal that waits, or 0. Does not block.
  int Take();

  // Puts back, in a child between fork and exec, what the constructor blocked.
  void UnblockInChild() const;

 private:
  sigset_t set_{};
  Fd fd_;
};

}  // namespace ftd
