// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

// Code that is compiled for several instruction sets in one program, which chooses when it runs: a library of
// headers is compiled for the oldest processor that its user wants to serve.
namespace culprit::engine::detail {

/// The instruction sets that are told apart, from the smallest vectors on.
enum class Instructions { any, avx2, avx512 };

/// The bytes of a vector.
constexpr std::size_t vector_bytes(Instructions set) {
  return set == Instructions::any ? 16 : set == Instructions::avx2 ? 32 : 64;
}

// A job's operator()<bytes> is always inlined, so that it is compiled anew for each set.
template <class Job>
void run_anywhere(Job& job) {
  job.template operator()<vector_bytes(Instructions::any)>();
}

#if defined(__x86_64__)
template <class Job>
[[gnu::target("avx2,fma")]] void run_avx2(Job& job) {
  job.template operator()<vector_bytes(Instructions::avx2)>();
}
template <class Job>
[[gnu::target("avx512f")]] void run_avx512(Job& job) {
  job.template operator()<vector_bytes(Instructions::avx512)>();
}

inline bool runs_here(Instructions set) {
  switch (set) {
    case Instructions::any:
      return true;
    case Instructions::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Instructions::avx512:
      return __builtin_cpu_supports("avx512f");
  }
  return false;
}

template <class Job>
void run(Instructions set, Job job) {
  switch (set) {
    case Instructions::any:
      return run_anywhere(job);
    case Instructions::avx2:
      return run_avx2(job);
    case Instructions::avx512:
      return run_avx512(job);
  }
}
#else
inline bool runs_here(Instructions set) { return set == Instructions::any; }

template <class Job>
void run(Instructions /*set*/, Job job) {
  run_anywhere(job);
}
#endif

/// The largest that this processor runs.
inline Instructions best_instructions() {
  static const Instructions best = runs_here(Instructions::avx512) ? Instructions::avx512
                                   : runs_here(Instructions::avx2) ? Instructions::avx2
                                                                   : Instructions::any;
  return best;
}

}  // namespace culprit::engine::detail
