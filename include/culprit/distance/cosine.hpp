// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <Eigen/Core>

#include "culprit/concepts.hpp"
#include "culprit/distance/length.hpp"

namespace culprit::distance {

/// 1 - cos(a, b), the distance of the paper's Eq. 4: 0 for the same direction, 2 for the opposite one,
/// whatever the lengths. A zero vector is at distance 1 from any other, and 0 from itself.
///
/// Computed as half the squared distance of the unit vectors, which keeps the digits of a small distance.
struct Cosine {
  static constexpr std::string_view name = "cosine";

  [[nodiscard]] double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    const double a_length = length(a);
    const double b_length = length(b);
    if (a_length == 0.0 || b_length == 0.0) return a_length == b_length ? 0.0 : 1.0;
    const Eigen::VectorXd u = a / a_length;
    const Eigen::VectorXd v = b / b_length;
    return 0.5 * (u - v).squaredNorm();
  }

  /// With unit vectors u and v of a and b: ((u . v) u - v) / |a|; 0 for a zero vector.
  [[nodiscard]] Eigen::VectorXd gradient(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {
    const double a_length = length(a);
    const double b_length = length(b);
    if (a_length == 0.0 || b_length == 0.0) return Eigen::VectorXd::Zero(a.size());
    Eigen::VectorXd u = a / a_length;
    const Eigen::VectorXd v = b / b_length;
    const double cosine = u.dot(v);
    for (Index k = 0; k < u.size(); ++k) u[k] = (cosine * u[k] - v[k]) / a_length;
    return u;
  }
};

static_assert(DifferentiableDistance<Cosine>);

}  // namespace culprit::distance
