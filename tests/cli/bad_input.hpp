// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "cli/workspace.hpp"
#include "support/catch.hpp"

namespace culprit::test {

/// What the program refuses: one line that says what is wrong, the exit status, and nothing left behind.
struct BadInput {
  std::string name;
  Arguments arguments;
  int status;
  /// The line behind "culprit: error: "; where it goes on in the words of a library, which differ between
  /// versions, "..." stands for them.
  std::string error;
};

inline void check(const Workspace& workspace, const std::vector<BadInput>& inputs) {
  for (const BadInput& input : inputs) {
    INFO(input.name);
    const auto before = workspace.listing();
    const Run run = workspace.run(input.arguments);
    CHECK(run.status == input.status);
    const std::string line = "culprit: error: " + input.error;
    if (line.ends_with("...")) {
      CHECK(run.err.substr(0, line.size() - 3) == line.substr(0, line.size() - 3));
      CHECK(run.err.find('\n') == run.err.size() - 1);
    } else {
      CHECK(run.err == line + '\n');
    }
    CHECK(run.out.empty());
    CHECK(workspace.listing() == before);
  }
}

}  // namespace culprit::test
