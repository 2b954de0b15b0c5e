// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <Eigen/Core>

#include "culprit/concepts.hpp"

namespace culprit::distance {

/// 1 - cos(a, b), the distance of the paper's Eq. 4: 0 for the same direction, 2 for the opposite one,
/// whatever the lengths. A zero vector is at distance 1 from any other, and 0 from itself.
///
/// Computed as half the squared distance of the unit vectors, which keeps the digits of a small distance.
struct Cosine {
  static constexpr std::string_view name = "cosine";
  using Vector = Eigen::Ref<const Eigen::VectorXd>;

  [[nodiscard]] double operator()(const Vector& a, const Vector& b) const {
    const bool a_is_zero = a.isZero(0.0);
    const bool b_is_zero = b.isZero(0.0);
    if (a_is_zero || b_is_zero) return a_is_zero == b_is_zero ? 0.0 : 1.0;
    return 0.5 * (a.stableNormalized() - b.stableNormalized()).squaredNorm();
  }

  /// With unit vectors u and v of a and b: ((u . v) u - v) / |a|; 0 for a zero vector.
  [[nodiscard]] Eigen::VectorXd gradient(const Vector& a, const Vector& b) const {
    if (a.isZero(0.0) || b.isZero(0.0)) return Eigen::VectorXd::Zero(a.size());
    const Eigen::VectorXd u = a.stableNormalized();
    const Eigen::VectorXd v = b.stableNormalized();
    return (u.dot(v) * u - v) / a.stableNorm();
  }
};

static_assert(DifferentiableDistance<Cosine>);

}  // namespace culprit::distance
