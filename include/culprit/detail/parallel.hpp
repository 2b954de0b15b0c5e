// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

#include "culprit/core/units.hpp"

namespace culprit::detail {

/// Calls `each(begin, end)` for parts of [first, last), on as many threads as LibTorch would use and none
/// with less than `grain`. What the first part to fail threw is thrown when all are done.
///
/// at::parallel_for runs on one thread in a program that is compiled without OpenMP, as most are.
template <class Each>
void in_parallel(Index first, Index last, Index grain, const Each& each) {
  const Index threads = std::clamp<Index>((last - first) / grain, 1, at::get_num_threads());
  const auto begin_of = [&](Index part) { return first + (last - first) * part / threads; };
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(threads));
  const auto run = [&](Index part) {
    try {
      each(begin_of(part), begin_of(part + 1));
    } catch (...) {
      failures[static_cast<std::size_t>(part)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (Index part = 1; part < threads; ++part) others.emplace_back(run, part);
    run(0);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace culprit::detail
