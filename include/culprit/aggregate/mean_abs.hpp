// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "culprit/concepts.hpp"

namespace culprit::aggregate {

/// Mean of the absolute gradient over the unit: Eq. 1 of the paper, 1/|a| * sum |g_i|.
struct MeanAbs {
  static constexpr std::string_view name = "mean_abs";

  template <class T>
  static constexpr T map(T gradient) {
    return gradient < T(0) ? -gradient : gradient;
  }
  template <class T>
  static constexpr T combine(T a, T b) {
    return a + b;
  }
  template <class T>
  static constexpr T finish(T sum, Index size) {
    return sum / static_cast<T>(size);
  }
  /// sign(g_i) / |a|; 0 at the kink.
  template <class T>
  static constexpr T derivative(T gradient, T /*result*/, Index size) {
    return static_cast<T>((gradient > T(0)) - (gradient < T(0))) / static_cast<T>(size);
  }

  /// The same on tensors. @param gradients  [..., size], any device @return [...]
  [[nodiscard]] at::Tensor operator()(const at::Tensor& gradients) const { return gradients.abs().mean(-1); }
};

static_assert(DifferentiableAggregation<MeanAbs>);

}  // namespace culprit::aggregate
