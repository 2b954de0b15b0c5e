// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "culprit/concepts.hpp"

namespace culprit::standardize {

/// s as it is: the raw profile of Eq. 1.
struct Identity {
  static constexpr std::string_view name = "identity";

  [[nodiscard]] constexpr double operator()(double s, const UnitStatistics& /*unit*/) const { return s; }
  [[nodiscard]] constexpr double derivative(double /*s*/, const UnitStatistics& /*unit*/) const {
    return 1.0;
  }
};

static_assert(DifferentiableStandardization<Identity>);

}  // namespace culprit::standardize
