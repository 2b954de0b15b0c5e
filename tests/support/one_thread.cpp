// SPDX-License-Identifier: MIT
// Linked into every test program that uses LibTorch: tests run side by side, and threads that wait for each
// other by spinning make every one of them slow.
#include <ATen/Parallel.h>

namespace {

[[maybe_unused]] const bool one_thread = [] {
  at::set_num_threads(1);
  return true;
}();

}  // namespace
