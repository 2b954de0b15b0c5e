// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>

#include "culprit/concepts.hpp"

namespace culprit::aggregate {

/// Euclidean norm of the gradient over the unit, sqrt(sum g_i^2).
struct L2Norm {
  static constexpr std::string_view name = "l2_norm";

  template <class T>
  static constexpr T map(T gradient) {
    return gradient * gradient;
  }
  template <class T>
  static constexpr T combine(T a, T b) {
    return a + b;
  }
  template <class T>
  static constexpr T finish(T sum, Index /*size*/) {
    return std::sqrt(sum);
  }
};

static_assert(Aggregation<L2Norm>);

}  // namespace culprit::aggregate
