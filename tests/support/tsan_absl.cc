// Tells ThreadSanitizer of Abseil's mutexes, condition variables and notifications. Debian's Abseil
// is not instrumented and its locks are atomics and futexes that the sanitizer does not see, so
// everything that they guard would count as a race. Every program of a ThreadSanitizer build has
// these definitions, which take the place of those of libabsl_synchronization.so for our code, for
// gRPC's and for the library's own calls alike; each calls the function that it stands for. The
// functions with a timeout call those with a deadline.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <absl/synchronization/mutex.h>
#include <absl/synchronization/notification.h>

namespace {

constexpr unsigned kWrite = 0;
constexpr unsigned kRead = __tsan_mutex_read_lock;

template <typename Function>
Function* Next(const char* mangled) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, mangled));
}
// The names of the real functions hold the name of Debian's inline namespace, as the headers' do.
#define FTD_REAL(type, rest) static auto* const real = Next<type>("_ZN4absl7debian3" rest)

// For the time of a call that takes the mutex. Within it the sanitizer sees no other access, such
// as those of a condition.
class Taking {
 public:
  Taking(absl::Mutex* mutex, unsigned mode) : mutex_(mutex), mode_(mode) {
    __tsan_mutex_pre_lock(mutex_, mode_);
  }
  ~Taking() { __tsan_mutex_post_lock(mutex_, mode_, 0); }

 private:
  absl::Mutex* mutex_;
  unsigned mode_;
};

bool Try(absl::Mutex* mutex, unsigned mode, bool (*real)(absl::Mutex*)) {
  mode |= __tsan_mutex_try_lock;
  __tsan_mutex_pre_lock(mutex, mode);
  const bool taken = real(mutex);
  __tsan_mutex_post_lock(mutex, mode | (taken ? 0 : __tsan_mutex_try_lock_failed), 0);
  return taken;
}

// For a call that waits: it releases the mutex and takes it again. Nobody waits so who has the
// mutex for reading alone.
absl::Mutex* Released(absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kWrite);
  __tsan_mutex_post_unlock(mutex, kWrite);
  return mutex;
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

Mutex::~Mutex() {
  FTD_REAL(void(Mutex*), "5MutexD1Ev");
  real(this);
  __tsan_mutex_destroy(this, __tsan_mutex_not_static);
}

void Mutex::Lock() {
  FTD_REAL(void(Mutex*), "5Mutex4LockEv");
  const Taking taking(this, kWrite);
  real(this);
}

void Mutex::Unlock() {
  FTD_REAL(void(Mutex*), "5Mutex6UnlockEv");
  __tsan_mutex_pre_unlock(this, kWrite);
  real(this);
  __tsan_mutex_post_unlock(this, kWrite);
}

void Mutex::ReaderLock() {
  FTD_REAL(void(Mutex*), "5Mutex10ReaderLockEv");
  const Taking taking(this, kRead);
  real(this);
}

void Mutex::ReaderUnlock() {
  FTD_REAL(void(Mutex*), "5Mutex12ReaderUnlockEv");
  __tsan_mutex_pre_unlock(this, kRead);
  real(this);
  __tsan_mutex_post_unlock(this, kRead);
}

bool Mutex::TryLock() {
  FTD_REAL(bool(Mutex*), "5Mutex7TryLockEv");
  return Try(this, kWrite, real);
}

bool Mutex::ReaderTryLock() {
  FTD_REAL(bool(Mutex*), "5Mutex13ReaderTryLockEv");
  return Try(this, kRead, real);
}

void Mutex::LockWhen(const Condition& condition) {
  FTD_REAL(void(Mutex*, const Condition&), "5Mutex8LockWhenERKNS0_9ConditionE");
  const Taking taking(this, kWrite);
  real(this, condition);
}

bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  FTD_REAL(bool(Mutex*, const Condition&, Time),
           "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const Taking taking(this, kWrite);
  return real(this, condition, deadline);
}

void Mutex::ReaderLockWhen(const Condition& condition) {
  FTD_REAL(void(Mutex*, const Condition&), "5Mutex14ReaderLockWhenERKNS0_9ConditionE");
  const Taking taking(this, kRead);
  real(this, condition);
}

bool Mutex::ReaderLockWhenWithDeadline(const Condition& condition, Time deadline) {
  FTD_REAL(bool(Mutex*, const Condition&, Time),
           "5Mutex26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const Taking taking(this, kRead);
  return real(this, condition, deadline);
}

void Mutex::Await(const Condition& condition) {
  FTD_REAL(void(Mutex*, const Condition&), "5Mutex5AwaitERKNS0_9ConditionE");
  const Taking again(Released(this), kWrite);
  real(this, condition);
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  FTD_REAL(bool(Mutex*, const Condition&, Time),
           "5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const Taking again(Released(this), kWrite);
  return real(this, condition, deadline);
}

void CondVar::Wait(Mutex* mutex) {
  FTD_REAL(void(CondVar*, Mutex*), "7CondVar4WaitEPNS0_5MutexE");
  const Taking again(Released(mutex), kWrite);
  real(this, mutex);
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  FTD_REAL(bool(CondVar*, Mutex*, Time), "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  const Taking again(Released(mutex), kWrite);
  return real(this, mutex, deadline);
}

// Whoever finds the notification made looks no further than its flag, so that is set and read here.
void Notification::Notify() {
  const MutexLock lock(&mutex_);
  notified_yet_.store(true, std::memory_order_release);
}

void Notification::WaitForNotification() const {
  if (HasBeenNotified()) return;
  const MutexLock lock(&mutex_, Condition(&HasBeenNotifiedInternal, &notified_yet_));
}

ABSL_NAMESPACE_END
}  // namespace absl
