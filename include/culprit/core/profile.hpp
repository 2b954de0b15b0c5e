// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/order.hpp"
#include "culprit/core/units.hpp"

namespace culprit {

/// A unit with its place in a ranking.
struct RankedUnit {
  std::string layer;  ///< parameter name
  Index channel;      ///< unit within the layer
  double value;       ///< its value in the profile (z when standardized)
  Index unit;         ///< index in the profile
};

/// One number for each unit of a model: s(x, y) of Eq. 1, or z of Eq. 2 when standardized. float64, [units].
///
/// A value type: copies share the numbers, which never change.
class Profile {
 public:
  /// @throws Error (shape) when `values` does not hold one number for each unit.
  Profile(std::shared_ptr<const Units> units, Eigen::VectorXd values)
      : units_(std::move(units)), values_(std::make_shared<const Eigen::VectorXd>(std::move(values))) {
    if (values_->size() != units_->size()) {
      throw Error(ErrorCode::shape, "profile", std::to_string(units_->size()) + " values, one for each unit",
                  std::to_string(values_->size()));
    }
  }

  [[nodiscard]] Index size() const noexcept { return values_->size(); }  ///< number of units
  [[nodiscard]] const Units& units() const noexcept { return *units_; }  ///< which units, in this order
  /// The same, shared by all profiles of a model.
  [[nodiscard]] std::shared_ptr<const Units> shared_units() const noexcept { return units_; }

  /// The numbers without a copy, valid as long as any copy of this profile lives.
  [[nodiscard]] const Eigen::VectorXd& values() const noexcept { return *values_; }

  /// The numbers with shared ownership, for views that outlive the profile.
  [[nodiscard]] std::shared_ptr<const Eigen::VectorXd> shared_values() const noexcept { return values_; }

  /// The number of a unit.
  [[nodiscard]] double operator[](Index unit) const { return (*values_)[unit]; }

  /// The k most salient units: by value descending, ties by index ascending.
  [[nodiscard]] std::vector<RankedUnit> top(Index k) const { return top(k, 0, size()); }

  /// The k most salient units of one layer, named with or without ".weight".
  /// @throws Error (argument) when there is no such layer.
  [[nodiscard]] std::vector<RankedUnit> top(Index k, std::string_view layer) const {
    const Layer& found = units_->layer(layer);
    return top(k, found.first, found.end());
  }

  /// The k most salient units with an index in [first, end).
  /// @throws Error (argument) when the range is not within [0, size()).
  [[nodiscard]] std::vector<RankedUnit> top(Index k, Index first, Index end) const {
    if (first < 0 || first > end || end > size()) {
      throw Error(ErrorCode::argument, "unit range", "within 0 to " + std::to_string(size()),
                  std::to_string(first) + " to " + std::to_string(end));
    }
    std::vector<Index> candidates(static_cast<std::size_t>(end - first));
    std::iota(candidates.begin(), candidates.end(), first);
    std::vector<RankedUnit> described;
    for (const Index index : ranked(candidates, k, Order::largest_first)) {
      const Unit unit = units_->unit(index);
      described.push_back({units_->layers()[static_cast<std::size_t>(unit.layer)].name, unit.channel,
                           (*values_)[index], index});
    }
    return described;
  }

  /// The first `count` of the candidates in that order; all where there are fewer.
  /// @throws Error (argument) for a negative count, Error (numeric) for a NaN among the candidates' values.
  [[nodiscard]] std::vector<Index> ranked(std::span<const Index> candidates, Index count, Order order) const {
    return first_ranked({values_->data(), static_cast<std::size_t>(size())}, candidates, count, order);
  }

  /// What a selection policy takes from all units (see the concept Selection), in its order.
  template <class Selection>
  [[nodiscard]] std::vector<Index> select(const Selection& selection) const {
    return selection(*this, std::span<const Index>(first_indices(size())));
  }

 private:
  std::shared_ptr<const Units> units_;
  std::shared_ptr<const Eigen::VectorXd> values_;
};

}  // namespace culprit
