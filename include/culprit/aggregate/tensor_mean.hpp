// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/concepts.hpp"

namespace culprit::aggregate {

/// Mean of the absolute gradient over a whole parameter tensor: Eq. 1 with one unit for each layer.
struct TensorMean : MeanAbs {
  static constexpr std::string_view name = "tensor_mean";
  static constexpr Granularity granularity = Granularity::tensor;
};

static_assert(DifferentiableAggregation<TensorMean>);

}  // namespace culprit::aggregate
