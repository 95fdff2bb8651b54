// Threads for calls that wait for the disk, so that gRPC's own threads never do.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace ftd {

// Has as many threads as it needs, from one up to a number, and gives them up when they have had
// nothing to do for a while: what a burst has taken goes back. Thread-safe.
class TaskPool {
 public:
  explicit TaskPool(size_t most_threads);
  // Runs what was posted before it ends.
  ~TaskPool();
  void Post(std::function<void()> task);
  size_t threads() const;

 private:
  // These require the lock.
  void AddThread();
  bool MayWake();  // whether a thread is to be woken for a task that waits
  void Run(std::list<std::thread>::iterator self);

  const size_t most_threads_;
  mutable std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
  std::list<std::thread> threads_;
  std::list<std::thread> ended_;  // to be joined
  size_t idle_ = 0;               // threads that wait
  bool waking_ = false;           // one of them has been woken, and not yet begun
  bool ending_ = false;
};

}  // namespace ftd
