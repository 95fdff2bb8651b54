#include "server/jobs/id.h"

#include <sys/random.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/jobs/job.h"

namespace ftd {
namespace {

using Bits128 = unsigned __int128;

Bits128 RandomBits() {
  Bits128 bits = 0;
  // The kernel never fails or shortens a request of up to 256 bytes once it is seeded.
  [[maybe_unused]] const ssize_t size = getrandom(&bits, sizeof(bits), 0);
  return bits;
}

// One for the process: ids of all threads are compared.
ABSL_CONST_INIT absl::Mutex mutex(absl::kConstInit);
Bits128 last ABSL_GUARDED_BY(mutex) = 0;

}  // namespace

std::string NewJobId() {
  constexpr char kAlphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
  constexpr Bits128 kRandomMask = (static_cast<Bits128>(1) << 80) - 1;
  // A ULID: 48 bits of milliseconds above 80 random bits, which is why ids sort by time.
  Bits128 value =
      (static_cast<Bits128>(absl::ToUnixMillis(absl::Now())) << 80) | (RandomBits() & kRandomMask);
  {
    absl::MutexLock lock(&mutex);
    if (value <= last) value = last + 1;  // the same millisecond, or the clock went back
    last = value;
  }
  // 130 bits in 26 digits of 5; the top two are 0. The alphabet is Crockford's: no i, l, o or u.
  std::string id(26, '0');
  for (int i = 25; i >= 0; --i, value >>= 5) id[i] = kAlphabet[static_cast<unsigned>(value & 31)];
  return "ft-" + id;
}

}  // namespace ftd
