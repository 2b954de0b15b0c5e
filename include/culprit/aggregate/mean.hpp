// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "culprit/concepts.hpp"

namespace culprit::aggregate {

/// Signed mean of the gradient over the unit, 1/|a| * sum g_i: opposite gradients cancel.
struct Mean {
  static constexpr std::string_view name = "mean";

  template <class T>
  static constexpr T map(T gradient) {
    return gradient;
  }
  template <class T>
  static constexpr T combine(T a, T b) {
    return a + b;
  }
  template <class T>
  static constexpr T finish(T sum, Index size) {
    return sum / static_cast<T>(size);
  }
  /// 1 / |a|.
  template <class T>
  static constexpr T derivative(T /*gradient*/, T /*result*/, Index size) {
    return T(1) / static_cast<T>(size);
  }

  /// The same on tensors. @param gradients  [..., size], any device @return [...]
  [[nodiscard]] at::Tensor operator()(const at::Tensor& gradients) const { return gradients.mean(-1); }
};

static_assert(DifferentiableAggregation<Mean>);

}  // namespace culprit::aggregate
