// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/fingerprint.hpp"
#include "culprit/core/moments.hpp"
#include "culprit/core/quantiles.hpp"
#include "culprit/core/units.hpp"

namespace culprit {

/// What is usual for one unit over the hold-out set: the input of a standardization policy.
struct UnitStatistics {
  double mean;                                               ///< mu of Eq. 2
  double stddev;                                             ///< sigma of Eq. 2, unbiased (n - 1)
  double median = std::numeric_limits<double>::quiet_NaN();  ///< NaN: the baseline has no quantiles
  double mad = std::numeric_limits<double>::quiet_NaN();     ///< median absolute deviation from the median
};

/// At or below this standard deviation a unit is dead: no sample moves it (design: z = 0).
inline constexpr double dead_stddev = 1e-14;

/// Mean and deviation of every unit over a hold-out set (the paper's section 2.2), with what they belong to;
/// where they were collected, quantiles too.
class Baseline {
 public:
  /// @param skipped  samples that were left out, see NonFinite
  /// @throws Error (shape) when moments or quantiles are of another number of units, Error (baseline) when
  /// the two are of different numbers of samples, Error (argument) for a number of skipped samples below 0.
  Baseline(std::shared_ptr<const Units> units, Moments moments, Fingerprint fingerprint,
           std::optional<Quantiles> quantiles = std::nullopt, Index skipped = 0)
      : units_(std::move(units)),
        moments_(std::move(moments)),
        quantiles_(std::move(quantiles)),
        skipped_(skipped),
        fingerprint_(std::move(fingerprint)) {
    for (const Index came : {moments_.units(), quantiles_ ? quantiles_->units() : units_->size()}) {
      if (came != units_->size()) {
        throw Error(ErrorCode::shape, "baseline", std::to_string(units_->size()) + " units",
                    std::to_string(came));
      }
    }
    if (quantiles_ && quantiles_->count() != moments_.count()) {
      throw Error(ErrorCode::baseline, "quantiles", std::to_string(moments_.count()) + " samples",
                  std::to_string(quantiles_->count()));
    }
    if (skipped < 0)
      throw Error(ErrorCode::argument, "skipped", "a number of samples >= 0", std::to_string(skipped));
    derive();
  }

  [[nodiscard]] Index count() const noexcept { return moments_.count(); }  ///< samples of the hold-out set
  /// Samples that were left out because their gradients were not finite.
  [[nodiscard]] Index skipped() const noexcept { return skipped_; }
  /// The mean of each unit, mu of Eq. 2, [units].
  [[nodiscard]] const Eigen::VectorXd& mean() const noexcept { return moments_.mean(); }
  /// The deviation of each unit, sigma of Eq. 2, unbiased, [units].
  [[nodiscard]] const Eigen::VectorXd& stddev() const noexcept { return stddev_; }
  /// Those of each unit where they were collected, else nothing.
  [[nodiscard]] const std::optional<Quantiles>& quantiles() const noexcept { return quantiles_; }
  /// The units it is of, in profile order.
  [[nodiscard]] const Units& units() const noexcept { return *units_; }
  /// The same, shared with profiles.
  [[nodiscard]] std::shared_ptr<const Units> shared_units() const noexcept { return units_; }
  /// What it was fitted to: model, aggregation, loss, preprocessing.
  [[nodiscard]] const Fingerprint& fingerprint() const noexcept { return fingerprint_; }
  /// What is usual for a unit; median and mad are NaN without quantiles.
  [[nodiscard]] UnitStatistics statistics(Index unit) const {
    if (!quantiles_) return {mean()[unit], stddev_[unit]};
    return {mean()[unit], stddev_[unit], median_[unit], mad_[unit]};
  }

  /// Units that no sample moved: standard deviation at most dead_stddev.
  [[nodiscard]] std::vector<Index> dead() const {
    std::vector<Index> units;
    for (Index k = 0; k < stddev_.size(); ++k) {
      if (stddev_[k] <= dead_stddev) units.push_back(k);
    }
    return units;
  }

  /// Takes in the baseline of other samples of the same model.
  /// @throws Error (baseline) naming the difference when it is of another model, units or preprocessing, or
  /// only one of the two has quantiles, Error (argument) for more samples in all than an Index counts.
  void merge(const Baseline& other) {
    check(*other.units_, other.fingerprint_);
    if (quantiles_.has_value() != other.quantiles_.has_value()) {
      throw Error(ErrorCode::baseline, "baseline", "quantiles in both parts or in neither",
                  "quantiles in one of them");
    }
    if (other.skipped_ > std::numeric_limits<Index>::max() - skipped_) {
      throw Error(ErrorCode::argument, "skipped", "a number of samples that an index can count",
                  std::to_string(other.skipped_) + " more than " + std::to_string(skipped_));
    }
    moments_.merge(other.moments_);
    skipped_ += other.skipped_;
    if (quantiles_) quantiles_->merge(*other.quantiles_);
    derive();
  }

  /// @throws Error (baseline) naming the difference when this is not the baseline of that model.
  void check(const Units& units, const Fingerprint& fingerprint) const {
    refuse(units_->difference(units));
    check(fingerprint);
  }

  /// The same of the model, whatever units it was fitted to.
  void check(const Fingerprint& fingerprint) const { refuse(fingerprint_.difference(fingerprint)); }

  /// The part for some of the layers, in their order: itself for all of them.
  /// @throws Error (baseline) naming the first layer that it does not have, or has with other units.
  [[nodiscard]] Baseline part(const std::shared_ptr<const Units>& units) const {
    if (units == units_) return *this;
    std::vector<Index> wanted;
    for (const Layer& layer : units->layers()) {
      const Layer* const own = units_->find(layer.name);
      refuse(own == nullptr ? "none for layer " + layer.name : Units::difference(*own, layer));
      const std::size_t begin = wanted.size();
      wanted.resize(begin + static_cast<std::size_t>(layer.count));
      std::iota(wanted.begin() + static_cast<std::ptrdiff_t>(begin), wanted.end(), own->first);
    }
    return {units, moments_.of(wanted), fingerprint_,
            quantiles_ ? std::optional(quantiles_->of(wanted)) : std::nullopt, skipped_};
  }

 private:
  static void refuse(const std::string& difference) {
    if (!difference.empty()) {
      throw Error(ErrorCode::baseline, "baseline", "one fitted to this model, units and preprocessing",
                  difference);
    }
  }

  void derive() {
    stddev_ = moments_.stddev();
    if (!quantiles_) return;
    median_ = quantiles_->median();
    mad_ = quantiles_->mad();
  }

  std::shared_ptr<const Units> units_;
  Moments moments_;
  std::optional<Quantiles> quantiles_;
  Index skipped_ = 0;
  Fingerprint fingerprint_;
  Eigen::VectorXd stddev_, median_, mad_;
};

}  // namespace culprit
