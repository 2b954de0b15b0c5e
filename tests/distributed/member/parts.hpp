// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace culprit::test {

/// What a rank gives in one of the rounds of a job; not two of them are alike, in length neither.
inline std::string part_of(int rank, std::size_t size, int round) {
  std::string part(rank == 2 ? 0 : size + static_cast<std::size_t>(100 * rank + round), '\0');
  auto state = static_cast<std::uint32_t>(977 * rank + 31 * round + 1);
  for (char& byte : part) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24U);
  }
  return part;
}

}  // namespace culprit::test
