// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <Eigen/Core>

#include "culprit/concepts.hpp"
#include "culprit/distance/length.hpp"

namespace culprit::distance {

/// Length of a - b.
struct Euclidean {
  static constexpr std::string_view name = "euclidean";

  [[nodiscard]] double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    const Eigen::VectorXd difference = a - b;
    return length(difference);
  }

  /// (a - b) / |a - b|; 0 where both are equal.
  [[nodiscard]] Eigen::VectorXd gradient(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    Eigen::VectorXd difference = a - b;
    const double distance = length(difference);
    if (distance != 0.0) difference /= distance;
    return difference;
  }
};

static_assert(DifferentiableDistance<Euclidean>);

}  // namespace culprit::distance
