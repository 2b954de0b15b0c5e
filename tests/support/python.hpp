// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

namespace culprit::test {

/// Whether the Python of the tests has a module; says, in words that ctest looks for, if it has not.
inline bool have_python(const std::string& module) {
  const std::string command = "'" CULPRIT_PYTHON
                              "' -c 'import sys, importlib.util; sys.exit(importlib.util.find_spec(\"" +
                              module + "\") is None)'";
  if (std::system(command.c_str()) == 0) return true;
  std::cout << "SKIPPED: needs Python with " << module << '\n';
  return false;
}

}  // namespace culprit::test

/// Leaves the test case, which ctest then lists as skipped, where there is no such Python module to compare
/// with: with a LibTorch of one's own, torch and torchvision are not installed.
#define CULPRIT_REQUIRE_PYTHON(module)               \
  do {                                               \
    if (!culprit::test::have_python(module)) return; \
  } while (false)
