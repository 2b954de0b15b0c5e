// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/units.hpp"

namespace culprit {

/// Rows are samples, columns are units.
using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The values of some of the units, in that order.
[[nodiscard]] inline Eigen::VectorXd values_of(const Eigen::VectorXd& values,
                                               const std::vector<Index>& units) {
  Eigen::VectorXd part(static_cast<Index>(units.size()));
  for (Index i = 0; i < part.size(); ++i) part[i] = values[units[static_cast<std::size_t>(i)]];
  return part;
}

/// Count, mean and sum of squared deviations of each unit over samples, in float64.
///
/// Batches are summed in two passes and merged pairwise: Chan, Golub, LeVeque, "Updating formulae and a
/// pairwise algorithm for computing sample variances" (1979). Merging is exact up to rounding in any order.
class Moments {
 public:
  Moments() = default;
  /// Of no samples yet.
  explicit Moments(Index units)
      : mean_(Eigen::VectorXd::Zero(units)), squares_(Eigen::VectorXd::Zero(units)) {}

  /// From stored statistics. @param stddev  unbiased (n - 1); ignored where count < 2
  /// @throws Error (shape) when mean and stddev differ in length, Error (argument) for a negative count,
  /// Error (numeric) for a deviation that is not a number >= 0.
  Moments(Index count, Eigen::VectorXd mean, Eigen::VectorXd stddev)
      : count_(count), mean_(std::move(mean)), given_stddev_(std::move(stddev)) {
    if (given_stddev_.size() != mean_.size()) {
      throw Error(ErrorCode::shape, "std", std::to_string(mean_.size()) + " values, as many as mean",
                  std::to_string(given_stddev_.size()));
    }
    for (Index k = 0; k < given_stddev_.size(); ++k) {
      if (!(given_stddev_[k] >= 0.0)) {
        throw Error(ErrorCode::numeric, "std of unit " + std::to_string(k), "a number >= 0",
                    std::to_string(given_stddev_[k]));
      }
    }
    if (count < 0)
      throw Error(ErrorCode::argument, "count", "a number of samples >= 0", std::to_string(count));
    squares_.resize(mean_.size());
    const auto degrees = static_cast<double>(count > 1 ? count - 1 : 0);
    for (Index k = 0; k < units(); ++k) squares_[k] = given_stddev_[k] * given_stddev_[k] * degrees;
  }

  /// As they were, bit for bit, from what count(), mean() and squares() gave.
  /// @throws Error (shape) when mean and squares differ in length, Error (argument) for a negative count,
  /// Error (numeric) for a sum of squares that is not a number >= 0.
  [[nodiscard]] static Moments restored(Index count, Eigen::VectorXd mean, Eigen::VectorXd squares) {
    Moments moments(count, std::move(mean), std::move(squares));
    moments.squares_ = std::exchange(moments.given_stddev_, {});
    return moments;
  }

  /// Of some samples, in two passes. @param samples  [n, units]
  [[nodiscard]] static Moments of_samples(const Eigen::Ref<const RowMatrix>& samples) {
    Moments batch(samples.cols());
    batch.count_ = samples.rows();
    if (batch.count_ == 0) return batch;
    for (Index row = 0; row < samples.rows(); ++row) {
      for (Index k = 0; k < batch.units(); ++k) batch.mean_[k] += samples(row, k);
    }
    for (double& mean : batch.mean_) mean /= static_cast<double>(samples.rows());
    for (Index row = 0; row < samples.rows(); ++row) {
      for (Index k = 0; k < batch.units(); ++k) {
        const double deviation = samples(row, k) - batch.mean_[k];
        batch.squares_[k] += deviation * deviation;
      }
    }
    return batch;
  }

  /// Takes samples in. @param samples  [n, units]; n = 0 changes nothing
  /// @throws Error (shape) when the number of columns is not the number of units.
  void add(const Eigen::Ref<const RowMatrix>& samples) { merge(of_samples(samples)); }

  /// Takes in what another set of samples gave.
  /// @throws Error (shape) when the number of units differs, Error (argument) for more samples in all than an
  /// Index counts.
  void merge(const Moments& other) {
    check_units(other.mean_.size());
    if (other.count_ > std::numeric_limits<Index>::max() - count_) {
      throw Error(ErrorCode::argument, "moments", "a number of samples that an index can count",
                  std::to_string(other.count_) + " more than " + std::to_string(count_));
    }
    if (other.count_ == 0) return;
    if (count_ == 0) {
      *this = other;
      return;
    }
    given_stddev_.resize(0);
    const auto n = static_cast<double>(count_ + other.count_);
    const auto weight = static_cast<double>(other.count_) / n;
    for (Index k = 0; k < units(); ++k) {
      const double delta = other.mean_[k] - mean_[k];
      mean_[k] += weight * delta;
      squares_[k] += other.squares_[k] + static_cast<double>(count_) * weight * delta * delta;
    }
    count_ += other.count_;
  }

  [[nodiscard]] Index count() const noexcept { return count_; }        ///< samples
  [[nodiscard]] Index units() const noexcept { return mean_.size(); }  ///< units
  /// Of each unit, [units]; 0 without samples.
  [[nodiscard]] const Eigen::VectorXd& mean() const noexcept { return mean_; }
  /// Sum of squared deviations from the mean of each unit.
  [[nodiscard]] const Eigen::VectorXd& squares() const noexcept { return squares_; }

  /// Unbiased standard deviation (n - 1) of each unit; 0 with fewer than two samples.
  [[nodiscard]] Eigen::VectorXd stddev() const {
    if (count_ >= 2 && given_stddev_.size() != 0) return given_stddev_;
    Eigen::VectorXd result = Eigen::VectorXd::Zero(units());
    if (count_ < 2) return result;
    for (Index k = 0; k < units(); ++k) result[k] = std::sqrt(squares_[k] / static_cast<double>(count_ - 1));
    return result;
  }

  /// The moments of some of the units, in that order.
  [[nodiscard]] Moments of(const std::vector<Index>& units) const {
    Moments part;
    part.count_ = count_;
    part.mean_ = values_of(mean_, units);
    part.squares_ = values_of(squares_, units);
    if (given_stddev_.size() != 0) part.given_stddev_ = values_of(given_stddev_, units);
    return part;
  }

 private:
  void check_units(Index came) const {
    if (came != mean_.size()) {
      throw Error(ErrorCode::shape, "moments", std::to_string(mean_.size()) + " units", std::to_string(came));
    }
  }

  Index count_ = 0;
  Eigen::VectorXd mean_;
  Eigen::VectorXd squares_;
  Eigen::VectorXd given_stddev_;  // the stored deviations, bit for bit, until other samples come
};

}  // namespace culprit
