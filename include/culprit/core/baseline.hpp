// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/fingerprint.hpp"
#include "culprit/core/moments.hpp"
#include "culprit/core/units.hpp"

namespace culprit {

/// What is usual for one unit over the hold-out set: the input of a standardization policy.
struct UnitStatistics {
  double mean;    ///< mu of Eq. 2
  double stddev;  ///< sigma of Eq. 2, unbiased (n - 1)
};

/// At or below this standard deviation a unit is dead: no sample moves it (design: z = 0).
inline constexpr double dead_stddev = 1e-14;

/// Mean and deviation of every unit over a hold-out set (the paper's section 2.2), with what they belong to.
class Baseline {
 public:
  /// @throws Error (shape) when the moments are of another number of units.
  Baseline(std::shared_ptr<const Units> units, Moments moments, Fingerprint fingerprint)
      : units_(std::move(units)),
        moments_(std::move(moments)),
        fingerprint_(std::move(fingerprint)),
        stddev_(moments_.stddev()) {
    if (moments_.units() != units_->size()) {
      throw Error(ErrorCode::shape, "baseline", std::to_string(units_->size()) + " units",
                  std::to_string(moments_.units()));
    }
  }

  [[nodiscard]] Index count() const noexcept { return moments_.count(); }
  [[nodiscard]] const Eigen::VectorXd& mean() const noexcept { return moments_.mean(); }
  [[nodiscard]] const Eigen::VectorXd& stddev() const noexcept { return stddev_; }
  [[nodiscard]] const Units& units() const noexcept { return *units_; }
  [[nodiscard]] std::shared_ptr<const Units> shared_units() const noexcept { return units_; }
  [[nodiscard]] const Fingerprint& fingerprint() const noexcept { return fingerprint_; }
  [[nodiscard]] UnitStatistics statistics(Index unit) const { return {mean()[unit], stddev_[unit]}; }

  /// Units that no sample moved: standard deviation at most dead_stddev.
  [[nodiscard]] std::vector<Index> dead() const {
    std::vector<Index> units;
    for (Index k = 0; k < stddev_.size(); ++k) {
      if (stddev_[k] <= dead_stddev) units.push_back(k);
    }
    return units;
  }

  /// Takes in the baseline of other samples of the same model.
  /// @throws Error (baseline) naming the difference when it is of another model, units or preprocessing.
  void merge(const Baseline& other) {
    check(*other.units_, other.fingerprint_);
    moments_.merge(other.moments_);
    stddev_ = moments_.stddev();
  }

  /// @throws Error (baseline) naming the difference when this is not the baseline of that model.
  void check(const Units& units, const Fingerprint& fingerprint) const {
    std::string difference = units_->difference(units);
    if (difference.empty()) difference = fingerprint_.difference(fingerprint);
    if (!difference.empty()) {
      throw Error(ErrorCode::baseline, "baseline", "one fitted to this model, units and preprocessing",
                  difference);
    }
  }

 private:
  std::shared_ptr<const Units> units_;
  Moments moments_;
  Fingerprint fingerprint_;
  Eigen::VectorXd stddev_;
};

}  // namespace culprit
