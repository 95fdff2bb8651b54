// The parts that the kernels share: dtypes as C++ types, and elements of a row sixteen bytes at a
// time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "lib/base/ceil_div.h"
#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

constexpr int kWarp = 32;

// f(a value of the C++ type).
template <typename F>
auto WithType(Type type, F f) {
  if (type == Type::kBfloat16) return f(__nv_bfloat16());
  if (type == Type::kFloat16) return f(__half());
  return f(float());
}

// N elements that lie together and are read and written at once.
template <typename T, int N>
struct Elements {
  T x[N];
};

constexpr int kVectorBytes = 16;

// f(a value of the C++ type, how many elements a thread may take at once): as many as make a vector
// where the pointers and the strides, in elements, are whole numbers of it, else one. `f` launches.
template <typename F>
const char* WithElements(Type type, std::initializer_list<const void*> pointers,
                         std::initializer_list<int64_t> strides, F f) {
  WithType(type, [&](auto zero) {
    constexpr int kVector = kVectorBytes / sizeof(zero);
    bool fits = true;
    for (const void* pointer : pointers)
      fits &= reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0;
    for (const int64_t stride : strides) fits &= stride % kVector == 0;
    if (fits) {
      f(zero, std::integral_constant<int, kVector>());
    } else {
      f(zero, std::integral_constant<int, 1>());
    }
  });
  return LaunchError();
}

template <int N, typename T>
__device__ Elements<T, N> Load(const T* from) {
  if constexpr (N == 1) {
    return {*from};
  } else {
    static_assert(sizeof(Elements<T, N>) == sizeof(uint4), "one vector");
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    Elements<T, N> elements;
    memcpy(&elements, &words, sizeof(words));
    return elements;
  }
}

template <int N, typename T>
__device__ void Store(const Elements<T, N>& elements, T* to) {
  if constexpr (N == 1) {
    *to = elements.x[0];
  } else {
    uint4 words;
    memcpy(&words, &elements, sizeof(words));
    __stwb(reinterpret_cast<uint4*>(to), words);  // an assignment may come out as several stores
  }
}

// Returns a float32 result as ATen keeps it in T between two operators.
template <typename T>
__device__ float Rounded(float value) {
  return static_cast<float>(static_cast<T>(value));
}

inline unsigned BlocksFor(int64_t threads, int threads_per_block) {
  return static_cast<unsigned>(CeilDiv(threads, threads_per_block));
}

}  // namespace ftd::engine::cuda
