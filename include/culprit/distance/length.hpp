// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <Eigen/Core>

#include "culprit/core/units.hpp"

namespace culprit::distance {

/// Euclidean length, also where the squares of the values overflow or vanish.
[[nodiscard]] inline double length(const Eigen::VectorXd& vector) {
  const double plain = vector.norm();
  if (plain > 1e-140 && plain < 1e150) return plain;  // what vanished is below the rounding of the rest
  double largest = 0.0;
  for (Index k = 0; k < vector.size(); ++k) largest = std::max(largest, std::abs(vector[k]));
  if (largest == 0.0 || std::isinf(largest)) return plain;
  double squares = 0.0;
  for (Index k = 0; k < vector.size(); ++k) squares += (vector[k] / largest) * (vector[k] / largest);
  return largest * std::sqrt(squares);
}

}  // namespace culprit::distance
