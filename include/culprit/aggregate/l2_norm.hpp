// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>

#include <ATen/core/Tensor.h>

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
  /// g_i / norm; 0 where the norm is 0.
  template <class T>
  static constexpr T derivative(T gradient, T result, Index /*size*/) {
    return result > T(0) ? gradient / result : T(0);
  }

  /// The same on tensors. @param gradients  [..., size], any device @return [...]
  [[nodiscard]] at::Tensor operator()(const at::Tensor& gradients) const { return gradients.norm(2, -1); }
};

static_assert(DifferentiableAggregation<L2Norm>);

}  // namespace culprit::aggregate
