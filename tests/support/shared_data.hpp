// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <iostream>
#include <string_view>

namespace culprit::test {

/// Where the large test data lie that are no part of the project; the folder may be missing.
inline std::filesystem::path shared_data(std::string_view name = "") {
  return std::filesystem::path(CULPRIT_SHARED_DIR) / "data" / name;
}

/// Whether they are there; says, in words that ctest looks for, which are missing.
inline bool have_shared_data(std::string_view name) {
  if (std::filesystem::exists(shared_data(name))) return true;
  std::cout << "SKIPPED: needs shared data " << name << '\n';
  return false;
}

}  // namespace culprit::test

/// Leaves the test case, which ctest then lists as skipped, when a file or folder of the shared data is
/// missing.
#define CULPRIT_REQUIRE_DATA(name)                      \
  do {                                                  \
    if (!culprit::test::have_shared_data(name)) return; \
  } while (false)
