// For libraries that are preloaded: the function that a definition of the same name stands before.
#pragma once

#include <dlfcn.h>

template <typename Function>
Function* RealCall(Function* /*like*/, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name)                                    \
  ([]() {                                             \
    static auto* const real = RealCall(&name, #name); \
    return real;                                      \
  }())
