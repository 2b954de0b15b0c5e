// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>

namespace culprit::test {

/// Each target reads bytes from a stranger: an Error is a right answer; a std::logic_error says which promise
/// of the reader is broken, and any other way out is a defect too. True when the bytes were accepted.

inline void require(bool holds, const char* promise) {
  if (!holds) throw std::logic_error(promise);
}

/// What the sanitizers must see touched: every byte a reader hands out.
inline unsigned sum_of(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  return sum;
}

}  // namespace culprit::test
