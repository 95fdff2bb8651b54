#include "cuda_on_cpu.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "launches.h"

thread_local dim3 threadIdx, blockIdx;

namespace ftd::cuda_on_cpu {
namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStack = size_t{64} << 10;

enum class Order { kAscending, kDescending, kShuffled };

constexpr unsigned kMostThreads = 1024;  // of a block

std::atomic<int64_t> launches{0};

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "cuda_on_cpu: %s\n", what);
  std::abort();
}

// Where a group of threads wait for each other, again and again.
struct Meeting {
  unsigned expected = 0, arrived = 0;
  unsigned round = 0;
  // Of this round and the one before, which some may still be reading: nobody is two ahead.
  std::array<std::array<float, kWarp>, 2> values{};
  std::array<bool, 2> any{};
};

struct Thread {
  jmp_buf place{};  // where it continues, once it has begun
  bool begun = false;
  const Meeting* waits_at = nullptr;
  unsigned round = 0;  // that it waits for the end of
  bool ended = false;
};

// Stacks of the threads of a block.
class Stacks {
 public:
  explicit Stacks(unsigned threads) : bytes_(kStack * threads) {
    base_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base_ == MAP_FAILED) Die("no memory for a block's stacks");
  }
  ~Stacks() { munmap(base_, bytes_); }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  void* of(unsigned thread) const { return static_cast<char*>(base_) + kStack * thread; }

 private:
  size_t bytes_;
  void* base_;
};

// One block, on the OS thread that runs it.
class Block {
 public:
  Block(unsigned index, unsigned threads, const Stacks& stacks, const std::function<void()>& body)
      : body_(body), stacks_(stacks), threads_(threads), warps_((threads + kWarp - 1) / kWarp) {
    blockIdx.x = index;
    all_.expected = threads;
    for (unsigned i = 0; i < threads; ++i) ++warps_[i / kWarp].expected;
  }

  void Run(Order order);

  Meeting& all() { return all_; }
  Meeting& warp() { return warps_[threadIdx.x / kWarp]; }

  // Called by a thread once it has left at the meeting what the others come for. Returns which of
  // the two rounds' places it has ended.
  unsigned Meet(Meeting& meeting);

 private:
  [[noreturn]] static void Main();
  [[noreturn]] void Begin();
  void Resume();

  const std::function<void()>& body_;
  const Stacks& stacks_;
  std::vector<Thread> threads_;
  Meeting all_;
  std::vector<Meeting> warps_;
  jmp_buf scheduler_{};
};

thread_local Block* current = nullptr;

void Block::Main() {
  current->body_();
  current->threads_[threadIdx.x].ended = true;
  _longjmp(current->scheduler_, 1);
}

void Block::Begin() {
  ucontext_t context;
  if (getcontext(&context) != 0) Die("getcontext failed");
  context.uc_stack.ss_sp = stacks_.of(threadIdx.x);
  context.uc_stack.ss_size = kStack;
  makecontext(&context, Main, 0);
  setcontext(&context);
  Die("setcontext failed");
}

// Runs threadIdx until it waits or ends. A context only begins a thread: each swapcontext would
// take a system call, for the signal mask.
void Block::Resume() {
  Thread& thread = threads_[threadIdx.x];
  if (_setjmp(scheduler_) != 0) return;
  if (thread.begun) _longjmp(thread.place, 1);
  thread.begun = true;
  Begin();
}

unsigned Block::Meet(Meeting& meeting) {
  const unsigned round = meeting.round;
  if (++meeting.arrived == meeting.expected) {
    meeting.arrived = 0;
    meeting.any[(round + 1) % 2] = false;
    ++meeting.round;
  } else {
    Thread& thread = threads_[threadIdx.x];
    thread.waits_at = &meeting;
    thread.round = round;
    if (_setjmp(thread.place) == 0) _longjmp(scheduler_, 1);
    threads_[threadIdx.x].waits_at = nullptr;
  }
  return round % 2;
}

void Block::Run(Order order) {
  current = this;
  std::vector<unsigned> turns(threads_.size());
  std::iota(turns.begin(), turns.end(), 0U);
  if (order == Order::kDescending) std::reverse(turns.begin(), turns.end());
  if (order == Order::kShuffled) std::shuffle(turns.begin(), turns.end(), std::mt19937(blockIdx.x));
  for (size_t ended = 0; ended < turns.size();) {
    bool moved = false;
    for (const unsigned index : turns) {
      Thread& thread = threads_[index];
      if (thread.ended) continue;
      if (thread.waits_at != nullptr && thread.waits_at->round == thread.round) continue;
      threadIdx.x = index;
      Resume();
      moved = true;
      ended += thread.ended ? 1 : 0;
    }
    if (!moved) Die("threads wait for others that ended or wait elsewhere");
  }
  current = nullptr;
}

}  // namespace

int64_t Launches() { return launches; }

void RunBlocks(unsigned blocks, unsigned threads, const std::function<void()>& thread) {
  if (blocks == 0 || threads == 0 || threads > kMostThreads) Die("no launch of that size");
  const auto order = static_cast<Order>(launches++ % 3);
  thread_local const Stacks stacks(kMostThreads);
  const Stacks& mine = stacks;  // the lambda's thread would have others
  for (unsigned index = 0; index < blocks; ++index) {
    // An OS thread each: its thread-local variables are the block's shared memory.
    std::thread([&] { Block(index, threads, mine, thread).Run(order); }).join();
  }
}

}  // namespace ftd::cuda_on_cpu

using ftd::cuda_on_cpu::current;

// NOLINTBEGIN(bugprone-reserved-identifier)
void __syncthreads() { current->Meet(current->all()); }

int __syncthreads_or(int predicate) {
  ftd::cuda_on_cpu::Meeting& all = current->all();
  all.any[all.round % 2] |= predicate != 0;
  return all.any[current->Meet(all)] ? 1 : 0;
}

float __shfl_xor_sync(unsigned mask, float value, int lane_mask) {
  using ftd::cuda_on_cpu::kWarp;
  if (mask != 0xFFFFFFFF) ftd::cuda_on_cpu::Die("a shuffle is among all of a warp");
  ftd::cuda_on_cpu::Meeting& warp = current->warp();
  const unsigned lane = threadIdx.x % kWarp;
  warp.values[warp.round % 2][lane] = value;
  return warp.values[current->Meet(warp)][lane ^ static_cast<unsigned>(lane_mask)];
}
// NOLINTEND(bugprone-reserved-identifier)
