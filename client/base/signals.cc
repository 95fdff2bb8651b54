#include "client/base/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace ftd {

Signals::Signals(std::initializer_list<int> numbers) {
  sigemptyset(&set_);
  for (const int number : numbers) sigaddset(&set_, number);
  // Blocked signals wait for signalfd; no handler interrupts anything.
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  fd_ = Fd(signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
}

int Signals::Take() {
  signalfd_siginfo info{};
  return read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void Signals::UnblockInChild() const { pthread_sigmask(SIG_UNBLOCK, &set_, nullptr); }

}  // namespace ftd
