// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

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

  /// The same on tensors, where several that are the largest share the derivative. @param gradients  [...,
  /// size], any device @return [...]
  [[nodiscard]] at::Tensor operator()(const at::Tensor& gradients) const { return gradients.abs().amax(-1); }
};

static_assert(DifferentiableAggregation<MaxAbs>);

}  // namespace culprit::aggregate
