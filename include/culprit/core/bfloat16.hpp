// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstdint>

namespace culprit {

/// A bfloat16 number as it lies in files: the upper half of a float32.
struct Bfloat16 {
  std::uint16_t bits = 0;  ///< sign, 8 of exponent, 7 of fraction

  /// Exact: a float32 whose lower half is 0.
  explicit operator float() const noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
  explicit operator double() const noexcept { return static_cast<float>(*this); }  ///< exact
};
static_assert(sizeof(Bfloat16) == 2);

}  // namespace culprit
