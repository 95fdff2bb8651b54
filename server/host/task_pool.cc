#include "server/host/task_pool.h"

#include <malloc.h>
#include <pthread.h>

#include <chrono>
#include <system_error>
#include <utility>

namespace ftd {
namespace {

// std's, since absl's timed waits follow the wall clock.
constexpr auto kIdleTime = std::chrono::seconds(5);

void JoinAll(std::list<std::thread>& threads) {
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TaskPool::TaskPool(size_t most_threads) : most_threads_(most_threads) {
  const std::lock_guard lock(mutex_);
  AddThread();
}

void TaskPool::AddThread() {
  const auto self = threads_.emplace(threads_.end());
  *self = std::thread([this, self] { Run(self); });
}

TaskPool::~TaskPool() {
  std::unique_lock lock(mutex_);
  ending_ = true;
  posted_.notify_all();
  // A thread takes itself off the list, so the list is looked at again after each.
  while (!threads_.empty() || !ended_.empty()) {
    std::list<std::thread> ended = std::exchange(ended_, {});
    if (ended.empty()) {
      posted_.wait(lock, [this] { return !ended_.empty(); });
      continue;
    }
    lock.unlock();
    JoinAll(ended);
    lock.lock();
  }
}

void TaskPool::Post(std::function<void()> task) {
  std::list<std::thread> ended;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    ended.swap(ended_);
    if (tasks_.size() > idle_ && threads_.size() < most_threads_) {
      try {
        AddThread();
      } catch (const std::system_error&) {  // the system has none to spare: the others do it
        threads_.pop_back();
      }
    }
    wake = MayWake();
  }
  if (wake) posted_.notify_one();  // without the lock, which the thread that wakes takes first
  JoinAll(ended);
}

// To wake a thread costs more than a small task, so a burst wakes one, and that one the next.
bool TaskPool::MayWake() {
  if (tasks_.empty() || idle_ == 0 || waking_) return false;
  waking_ = true;
  return true;
}

size_t TaskPool::threads() const {
  const std::lock_guard lock(mutex_);
  return threads_.size();
}

void TaskPool::Run(std::list<std::thread>::iterator self) {
  pthread_setname_np(pthread_self(), "ftd-pool");  // else that of the thread that posted
  std::unique_lock lock(mutex_);
  while (true) {
    if (tasks_.empty() && !ending_) {
      ++idle_;
      const bool timed_out = posted_.wait_for(lock, kIdleTime) == std::cv_status::timeout;
      --idle_;
      waking_ = false;
      if (tasks_.empty() && !ending_ && (!timed_out || threads_.size() == 1)) continue;
    }
    if (tasks_.empty()) break;  // tasks that were posted before the end are still run
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    const bool wake = MayWake();
    lock.unlock();
    if (wake) posted_.notify_one();
    task();
    task = nullptr;  // what it holds goes without the lock
    lock.lock();
  }
  ended_.splice(ended_.end(), threads_, self);
  posted_.notify_all();
  const bool burst_over = !ending_ && threads_.size() == 1;
  lock.unlock();
  if (burst_over) malloc_trim(0);  // glibc gives back nothing that it may need again by itself
}

}  // namespace ftd
