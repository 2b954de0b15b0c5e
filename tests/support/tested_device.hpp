// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/core/Tensor.h>

#include "support/catch.hpp"

// For tests that are compiled once and linked into several programs, each with its own device.
namespace culprit::test {

/// The device that the tests of this program run on.
[[nodiscard]] at::Device tested_device();

/// Whether it is there; says, in words that ctest looks for, that it is not.
[[nodiscard]] bool have_tested_device();

/// What must lie on that device, as a tensor on the CPU.
[[nodiscard]] inline at::Tensor from_tested_device(const at::Tensor& result) {
  REQUIRE(result.device() == tested_device());
  return result.cpu();
}

}  // namespace culprit::test

/// Leaves the test case, which ctest then lists as skipped, when the device is not there.
#define CULPRIT_REQUIRE_DEVICE()                      \
  do {                                                \
    if (!culprit::test::have_tested_device()) return; \
  } while (false)
