// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/concepts.hpp"
#include "culprit/core/moments.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/detail/require.hpp"
#include "culprit/distance/cosine.hpp"
#include "culprit/select/layer_range.hpp"

namespace culprit {

/// A profile found near another one.
struct Neighbor {
  Index index;      ///< place among the profiles that were searched
  double distance;  ///< to the query
};

/// Finds samples with the same culprits (the paper's section 3.3): the profiles nearest to a query.
template <class D = distance::Cosine>
class Neighbors {
  using DistanceRequirements = decltype(detail::require_distance<D>());

 public:
  /// @param distance  of profiles @param layers  whose units count
  explicit Neighbors(D distance = {}, select::LayerRange layers = {})
      : distance_(std::move(distance)), layers_(std::move(layers)) {}

  /// The k profiles nearest to the query, the nearest first, ties by index; all where there are fewer.
  /// @throws Error (shape) for a profile of other units than the query's, Error (argument) for k below 0,
  /// Error (numeric) for a distance that is NaN.
  [[nodiscard]] std::vector<Neighbor> operator()(const Profile& query, std::span<const Profile> profiles,
                                                 Index k) const {
    const std::vector<Index> units = query.select(layers_);
    const Eigen::VectorXd wanted = values_of(query.values(), units);
    std::vector<double> nearness;
    for (const Profile& profile : profiles) {
      const std::string difference = query.units().difference(profile.units());
      if (!difference.empty()) {
        throw Error(ErrorCode::shape, "profile " + std::to_string(nearness.size()), "the units of the query",
                    difference);
      }
      const Eigen::VectorXd values = values_of(profile.values(), units);
      const double distance = distance_(wanted, values);
      if (std::isnan(distance)) {
        throw Error(ErrorCode::numeric, "profile " + std::to_string(nearness.size()),
                    "a distance from the query", "NaN");
      }
      nearness.push_back(-distance);
    }
    std::vector<Neighbor> nearest;
    for (const Index index : largest(nearness, k))
      nearest.push_back({index, -nearness[static_cast<std::size_t>(index)]});
    return nearest;
  }

 private:
  D distance_;
  select::LayerRange layers_;
};

}  // namespace culprit
