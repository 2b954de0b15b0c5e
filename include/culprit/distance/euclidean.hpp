// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <Eigen/Core>

#include "culprit/concepts.hpp"

namespace culprit::distance {

/// Length of a - b.
struct Euclidean {
  static constexpr std::string_view name = "euclidean";
  using Vector = Eigen::Ref<const Eigen::VectorXd>;

  [[nodiscard]] double operator()(const Vector& a, const Vector& b) const { return (a - b).stableNorm(); }

  /// (a - b) / |a - b|; 0 where both are equal.
  [[nodiscard]] Eigen::VectorXd gradient(const Vector& a, const Vector& b) const {
    return (a - b).stableNormalized();
  }
};

static_assert(DifferentiableDistance<Euclidean>);

}  // namespace culprit::distance
