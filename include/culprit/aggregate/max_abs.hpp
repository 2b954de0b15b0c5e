// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "culprit/concepts.hpp"

namespace culprit::aggregate {

/// Largest absolute gradient in the unit, max |g_i|. A NaN stays a NaN.
struct MaxAbs {
  static constexpr std::string_view name = "max_abs";

  template <class T>
  static constexpr T map(T gradient) {
    return gradient < T(0) ? -gradient : gradient;
  }
  template <class T>
  static constexpr T combine(T a, T b) {
    return a > b || a != a ? a : b;
  }
  template <class T>
  static constexpr T finish(T largest, Index /*size*/) {
    return largest;
  }
  /// sign(g_i) where |g_i| is the largest, else 0.
  template <class T>
  static constexpr T derivative(T gradient, T result, Index /*size*/) {
    return map(gradient) == result ? static_cast<T>((gradient > T(0)) - (gradient < T(0))) : T(0);
  }
};

static_assert(DifferentiableAggregation<MaxAbs>);

}  // namespace culprit::aggregate
