// What the engine sets for the process, and how it names what goes wrong at its border.
#include <c10/util/Exception.h>

#include <cstdlib>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>

#include "gtest/gtest.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

const c10::SourceLocation kHere{"function", "file", 1};

TEST(InitializeProcessTest, OnlyDeterministicWorkspacesOfCublasStay) {
  for (const auto& [set, expected] : {std::pair{"", ":4096:8"},
                                      {":4096:8", ":4096:8"},
                                      {":16:8", ":16:8"},
                                      {":0:0", ":4096:8"},
                                      {":4096:2:16:8", ":4096:8"}}) {
    ::setenv("CUBLAS_WORKSPACE_CONFIG", set, 1);
    InitializeProcess();
    EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), expected) << set;
  }
}

TEST(InitializeProcessTest, TheUsersAllocatorSettingsStay) {
  ::unsetenv("PYTORCH_ALLOC_CONF");
  InitializeProcess();
  EXPECT_STREQ(std::getenv("PYTORCH_ALLOC_CONF"), "expandable_segments:True");
  ::unsetenv("PYTORCH_ALLOC_CONF");
  ::setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:512", 1);  // the name before
  InitializeProcess();
  EXPECT_EQ(std::getenv("PYTORCH_ALLOC_CONF"), nullptr);
  ::unsetenv("PYTORCH_CUDA_ALLOC_CONF");
  ::setenv("PYTORCH_ALLOC_CONF", "backend:cudaMallocAsync", 1);
  InitializeProcess();
  EXPECT_STREQ(std::getenv("PYTORCH_ALLOC_CONF"), "backend:cudaMallocAsync");
}

EngineError::Kind KindOf(const std::function<void()>& body) {
  try {
    Guarded([&] { body(); });
  } catch (const EngineError& error) {
    EXPECT_STRNE(error.what(), "");
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return EngineError::Kind::kInternal;
}

TEST(GuardedTest, AFullDeviceIsOneKindOfErrorHoweverItShows) {
  const auto full = [](const std::function<void()>& body) {
    EXPECT_EQ(KindOf(body), EngineError::Kind::kOutOfMemory);
  };
  full([] { throw c10::OutOfMemoryError(kHere, "CUDA out of memory. Tried to allocate 20 GiB"); });
  full([] { throw c10::AcceleratorError(kHere, 2, "CUDA error: out of memory"); });
  for (const char* status : {"CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED"}) {
    full([&] {
      throw c10::Error(
          kHere, std::string("CUDA error: ") + status + " when calling `cublasCreate(handle)`");
    });
  }
  full([] { throw std::bad_alloc(); });
  full([] { throw EngineError(EngineError::Kind::kOutOfMemory, "a launch of the engine's own"); });
}

TEST(GuardedTest, OtherErrorsAreNot) {
  EXPECT_EQ(KindOf([] {
              throw c10::AcceleratorError(kHere, 700, "CUDA error: an illegal memory access");
            }),
            EngineError::Kind::kInternal);
  EXPECT_EQ(KindOf([] { throw c10::Error(kHere, "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"); }),
            EngineError::Kind::kInternal);
  EXPECT_EQ(KindOf([] { throw EngineError(EngineError::Kind::kModel, "a tensor is missing"); }),
            EngineError::Kind::kModel);
  EXPECT_THROW(Guarded([] { throw std::logic_error("not torch's"); }), std::logic_error);
}

// Real ones, of the CPU.
TEST(GuardedTest, WhatTheCpusAllocatorRefusesIsMemory) {
  EXPECT_EQ(KindOf([] {
              const std::string huge(std::string().max_size() / 2, 'x');
              EXPECT_TRUE(huge.empty());
            }),
            EngineError::Kind::kOutOfMemory);
}

}  // namespace
}  // namespace ftd::engine
