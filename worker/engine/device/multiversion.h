// One binary for every x86-64: the compiler makes a version of a function for each vector width and
// the loader picks.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FTD_MULTIVERSION \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FTD_MULTIVERSION
#endif
