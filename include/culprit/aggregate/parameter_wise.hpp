// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "culprit/aggregate/mean_abs.hpp"

namespace culprit::aggregate {

/// The absolute gradient of every single parameter, |g_i|: parameter-wise saliency before Eq. 1 aggregates
/// it.
struct ParameterWise : MeanAbs {
  static constexpr std::string_view name = "parameter_wise";
  static constexpr Granularity granularity = Granularity::parameter;
};

static_assert(DifferentiableAggregation<ParameterWise>);

}  // namespace culprit::aggregate
