#include "worker/run/memory_guard.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_format.h"
#include "lib/base/error.h"
#include "worker/engine/train.h"

namespace ftd {
namespace {

constexpr int kPauseMillis = 100;
constexpr int64_t kUnifiedMemoryReserve = 8LL << 30;

double Gibibytes(int64_t bytes) { return static_cast<double>(bytes) / (1LL << 30); }

// Both figures, so that a user sees whether a smaller job would have fitted.
absl::Status Exhausted(int64_t available, int64_t reserve) {
  return Error(Reason::kHostMemoryGuard,
               absl::StrFormat("the host had %.1f GiB of memory left, %.1f GiB is what jobs must "
                               "leave free",
                               Gibibytes(available), Gibibytes(reserve)));
}

}  // namespace

// On a machine whose GPU shares the host's memory, a training that takes too much freezes the whole
// machine instead of failing. Elsewhere the guard is off unless it is set.
int64_t HostMemoryReserve(int64_t wanted) {
  if (wanted >= 0) return wanted;
  return engine::DeviceSharesHostMemory() ? kUnifiedMemoryReserve : 0;
}

// Without a reserve there is no thread, and verdict() stays OK.
absl::StatusOr<std::unique_ptr<MemoryGuard>> MemoryGuard::Start(
    int64_t reserve, StopFlags* flags, Emergency on_emergency, std::function<int64_t()> available) {
  std::unique_ptr<MemoryGuard> guard(new MemoryGuard);
  if (reserve <= 0) return guard;
  guard->reserve_ = reserve;
  guard->flags_ = flags;
  guard->on_emergency_ = std::move(on_emergency);
  guard->available_ = std::move(available);
  guard->wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!guard->wake_.valid()) return ErrnoError(errno, "eventfd");
  guard->Look();  // before anything is taken
  guard->thread_ = std::thread([raw = guard.get()] { raw->Watch(); });
  return guard;
}

MemoryGuard::~MemoryGuard() {
  if (!thread_.joinable()) return;
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
}

absl::Status MemoryGuard::verdict() const {
  return seen_ == 0 ? absl::OkStatus() : Exhausted(seen_, reserve_);
}

void MemoryGuard::Watch() {
  pollfd woken{wake_.get(), POLLIN, 0};
  while (::poll(&woken, 1, kPauseMillis) <= 0) Look();
}

// Two thresholds. Below the reserve the run stops at its next step, with a checkpoint. Below half
// of it there is no time for that, and the process ends at once.
void MemoryGuard::Look() {
  const int64_t available = available_();
  if (available <= 0 || available >= reserve_) return;
  if (available < reserve_ / 2) on_emergency_(Exhausted(available, reserve_));
  if (seen_ != 0) return;
  seen_ = available;
  flags_->Stop();
}

}  // namespace ftd
