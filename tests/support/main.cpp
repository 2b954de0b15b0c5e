// SPDX-License-Identifier: MIT
#define CATCH_CONFIG_RUNNER
#include <algorithm>
#include <iostream>
#include <string_view>

#include "support/catch.hpp"

int main(int argc, char* argv[]) {
  Catch::Session session;
  session.configData().rngSeed = 20221128;
  if (const int wrong_usage = session.applyCommandLine(argc, argv); wrong_usage != 0) return wrong_usage;

  // ctest reads the lists that the program prints, so nothing else may be printed then.
  const bool lists_only = std::any_of(
      argv + 1, argv + argc, [](std::string_view argument) { return argument.starts_with("--list"); });
  if (!lists_only) std::cout << "seed: " << session.configData().rngSeed << std::endl;
  return session.run();
}
