// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "culprit/concepts.hpp"

namespace culprit::aggregate {

/// Median of the absolute gradient over the unit, which single large gradients do not move; of an even number
/// the mean of the two in the middle. A NaN stays a NaN.
///
/// Needs the whole unit at once, so it is written on tensors.
struct MedianAbs {
  static constexpr std::string_view name = "median_abs";

  /// @param gradients  [..., size] @return [...]
  [[nodiscard]] at::Tensor operator()(const at::Tensor& gradients) const {
    const at::Tensor sorted = std::get<0>(gradients.abs().sort(-1));
    const Index size = gradients.size(-1);
    const at::Tensor median = (sorted.select(-1, (size - 1) / 2) + sorted.select(-1, size / 2)) / 2;
    return median + (sorted.select(-1, size - 1) - sorted.select(-1, size - 1));  // sort puts NaN last
  }
};

static_assert(DifferentiableAggregation<MedianAbs>);

}  // namespace culprit::aggregate
