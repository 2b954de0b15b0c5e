// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>

#include "culprit/core/units.hpp"

namespace culprit::detail {

/// Parts of a job that threads take one after the other.
template <class Each>
class Parts {
 public:
  Parts(Index count, const Each& each)
      : each_(each), count_(count), failures_(static_cast<std::size_t>(count)) {}

  /// Does parts until none is left to begin.
  void work() {
    for (Index part = next_++; part < count_; part = next_++) {
      std::exception_ptr failure;
      try {
        each_(part);
      } catch (...) {
        failure = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      failures_[static_cast<std::size_t>(part)] = std::move(failure);
      if (++done_ == count_) all_done_.notify_one();
    }
  }

  /// Until all are done. @throws what the first part to fail threw
  void wait() {
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [&] { return done_ == count_; });
    for (const std::exception_ptr& failure : failures_) {
      if (failure) std::rethrow_exception(failure);
    }
  }

 private:
  const Each& each_;  // not touched once all parts are done
  Index count_;
  std::atomic<Index> next_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
  Index done_ = 0;
  std::vector<std::exception_ptr> failures_;
};

/// Calls `each(part)` for parts 0 to `parts` - 1, on the calling thread and with the help of LibTorch's pool
/// of inter-op threads, on `threads` at most; in the caller's thread-local state of LibTorch. What the first
/// part to fail threw is thrown when all are done.
///
/// The caller waits for parts that have begun only, so that a job may be part of another. The first call
/// starts the pool, whose size is then fixed (at::set_num_interop_threads).
template <class Each>
void on_threads(Index parts, Index threads, const Each& each) {
  const auto shared = std::make_shared<Parts<Each>>(parts, each);
  try {
    for (Index thread = 1; thread < std::min(parts, threads); ++thread)
      at::launch([shared] { shared->work(); });
  } catch (const std::exception&) {
    // Without help the caller does it all; those that help already must not outlive `each`.
  }
  shared->work();
  shared->wait();
}

/// Calls `each(begin, end)` for parts of [first, last), on as many threads as LibTorch would use and none
/// with less than `grain`.
///
/// at::parallel_for runs on one thread in a program that is compiled without OpenMP, as most are.
template <class Each>
void in_parallel(Index first, Index last, Index grain, const Each& each) {
  constexpr Index parts_of_thread = 4;  // so that one that is late has less to do
  const Index threads = at::get_num_threads();
  const Index most = threads == 1 ? 1 : threads * parts_of_thread;
  const Index parts = std::clamp<Index>((last - first) / grain, 1, most);
  const auto begin_of = [&](Index part) { return first + (last - first) * part / parts; };
  on_threads(parts, threads, [&](Index part) { each(begin_of(part), begin_of(part + 1)); });
}

/// Calls `each(part)` as on_threads does, with one thread of LibTorch's for each of the workers.
template <class Each>
void on_workers(Index parts, Index workers, const Each& each) {
  const int intra_op_threads = at::get_num_threads();
  on_threads(parts, workers, [&](Index part) {
    struct Restored {
      int threads;
      ~Restored() { at::set_num_threads(threads); }
    } const restored{intra_op_threads};
    at::get_num_threads();  // a thread's first question sets the process's number in it
    at::set_num_threads(1);
    each(part);
  });
}

}  // namespace culprit::detail
