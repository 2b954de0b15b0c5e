// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/moments.hpp"
#include "culprit/core/units.hpp"

namespace culprit {

/// Median and median absolute deviation of each unit over samples, mergeable: how many values fell into each
/// of buckets that are 2^-8 of their value wide, so that one pass over any partition of the samples in any
/// order gives the same counts (the idea of Masson, Rim, Lee: DDSketch, VLDB 2019).
///
/// A value is known to u = 2^-9 of itself, its bucket's midpoint (below 2^-1022 to 2^-1031). Hence the median
/// is within u of itself, and the MAD within u * (2 |median| + MAD) * (1 + 4u) of the samples' exact one:
/// order statistics move no further than the values they are taken from. Memory: 16 bytes for each bucket
/// that is not empty, at most one for each sample.
class Quantiles {
 public:
  /// A bucket's number, in the order of the values, and the samples in it.
  struct Bucket {
    std::int64_t key = 0;    ///< the bucket's number, ascending with the value
    std::int64_t count = 0;  ///< samples in it

    [[nodiscard]] bool operator==(const Bucket&) const = default;  ///< key and count
  };
  using Buckets = std::vector<Bucket>;  ///< ascending keys, no empty bucket

  Quantiles() = default;
  /// Of no samples yet.
  explicit Quantiles(Index units) : buckets_(static_cast<std::size_t>(units)) {}

  /// From stored buckets of each unit.
  /// @throws Error (format) for keys that do not ascend or are no key, counts below 1, or units with
  /// different numbers of samples.
  explicit Quantiles(std::vector<Buckets> buckets) : buckets_(std::move(buckets)) {
    for (std::size_t unit = 0; unit < buckets_.size(); ++unit) {
      const std::string place = "quantiles of unit " + std::to_string(unit);
      Index samples = 0;
      std::int64_t last = -largest_key - 1;
      for (const auto& [key, count] : buckets_[unit]) {
        if (key <= last || key > largest_key)
          throw Error(ErrorCode::format, place, "ascending bucket numbers", std::to_string(key));
        if (count < 1 || count > std::numeric_limits<Index>::max() - samples)
          throw Error(ErrorCode::format, place, "a number of samples above 0", std::to_string(count));
        last = key;
        samples += count;
      }
      if (unit == 0) count_ = samples;
      if (samples != count_) {
        throw Error(ErrorCode::format, place, std::to_string(count_) + " samples, as of unit 0",
                    std::to_string(samples));
      }
    }
  }

  /// Takes samples in. @param samples  [n, units]
  /// @throws Error (shape) when the number of columns is not the number of units, Error (numeric) for NaN or
  /// infinity.
  void add(const Eigen::Ref<const RowMatrix>& samples) {
    check_units(samples.cols());
    for (Index row = 0; row < samples.rows(); ++row) {
      for (Index unit = 0; unit < samples.cols(); ++unit) {
        if (!std::isfinite(samples(row, unit)))
          throw Error(ErrorCode::numeric, "samples", "finite values", "NaN or infinity");
      }
    }
    Buckets added(static_cast<std::size_t>(samples.rows()));
    for (std::size_t unit = 0; unit < buckets_.size(); ++unit) {
      for (std::size_t row = 0; row < added.size(); ++row) {
        added[row] = {key_of(samples(static_cast<Index>(row), static_cast<Index>(unit))), 1};
      }
      std::ranges::sort(added, {}, &Bucket::key);
      merge(buckets_[unit], added);
    }
    count_ += samples.rows();
  }

  /// Takes in what another set of samples gave.
  /// @throws Error (shape) when the number of units differs.
  void merge(const Quantiles& other) {
    check_units(other.units());
    for (std::size_t unit = 0; unit < buckets_.size(); ++unit) merge(buckets_[unit], other.buckets_[unit]);
    count_ += other.count_;
  }

  [[nodiscard]] Index count() const noexcept { return count_; }                               ///< samples
  [[nodiscard]] Index units() const noexcept { return static_cast<Index>(buckets_.size()); }  ///< units
  [[nodiscard]] const std::vector<Buckets>& buckets() const noexcept { return buckets_; }  ///< of each unit

  /// The quantiles of some of the units, in that order.
  [[nodiscard]] Quantiles of(const std::vector<Index>& units) const {
    Quantiles part(static_cast<Index>(units.size()));
    part.count_ = count_;
    for (std::size_t i = 0; i < units.size(); ++i)
      part.buckets_[i] = buckets_[static_cast<std::size_t>(units[i])];
    return part;
  }

  /// Median of each unit, the mean of the two in the middle for an even number of samples; NaN without any.
  [[nodiscard]] Eigen::VectorXd median() const {
    Eigen::VectorXd result(units());
    for (Index unit = 0; unit < units(); ++unit) result[unit] = middle(weighted(unit, 0.0));
    return result;
  }

  /// Median of |value - median| of each unit.
  [[nodiscard]] Eigen::VectorXd mad() const {
    Eigen::VectorXd result = median();
    for (Index unit = 0; unit < units(); ++unit) {
      std::vector<Weighted> deviations = weighted(unit, result[unit]);
      for (Weighted& each : deviations) each.value = std::abs(each.value);
      std::ranges::sort(deviations, {}, &Weighted::value);
      result[unit] = middle(deviations);
    }
    return result;
  }

 private:
  struct Weighted {
    double value;
    std::int64_t count;
  };

  static constexpr int dropped_bits = 52 - 8;
  static constexpr std::int64_t largest_key =
      std::bit_cast<std::int64_t>(std::numeric_limits<double>::max()) >> dropped_bits;

  /// The leading bits of a double, which ascend with its size.
  static std::int64_t key_of(double value) {
    const std::int64_t key = std::bit_cast<std::int64_t>(std::abs(value)) >> dropped_bits;
    return value < 0.0 ? -key : key;
  }

  static double midpoint(std::int64_t key) {
    if (key == 0) return 0.0;
    const std::int64_t size = std::abs(key);
    const std::int64_t half = std::int64_t{1} << (dropped_bits - 1);
    const auto value = std::bit_cast<double>((size << dropped_bits) + half);
    return key < 0 ? -value : value;
  }

  static void merge(Buckets& into, const Buckets& other) {
    Buckets merged;
    merged.reserve(into.size() + other.size());
    const auto append = [&](const Bucket& bucket) {
      if (!merged.empty() && merged.back().key == bucket.key) {
        merged.back().count += bucket.count;
      } else {
        merged.push_back(bucket);
      }
    };
    auto next = other.begin();
    for (const Bucket& bucket : into) {
      for (; next != other.end() && next->key < bucket.key; ++next) append(*next);
      append(bucket);
    }
    for (; next != other.end(); ++next) append(*next);
    merged.shrink_to_fit();
    into = std::move(merged);
  }

  [[nodiscard]] std::vector<Weighted> weighted(Index unit, double centre) const {
    std::vector<Weighted> values;
    for (const auto& [key, count] : buckets_[static_cast<std::size_t>(unit)])
      values.push_back({midpoint(key) - centre, count});
    return values;
  }

  /// The value at the middle of ascending ones.
  [[nodiscard]] double middle(const std::vector<Weighted>& ascending) const {
    if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto at = [&](std::int64_t place) {
      auto each = ascending.begin();
      for (; place >= each->count; ++each) place -= each->count;
      return each->value;
    };
    return 0.5 * at((count_ - 1) / 2) + 0.5 * at(count_ / 2);  // their sum may overflow
  }

  void check_units(Index came) const {
    if (came != units())
      throw Error(ErrorCode::shape, "quantiles", std::to_string(units()) + " units", std::to_string(came));
  }

  std::vector<Buckets> buckets_;
  Index count_ = 0;
};

}  // namespace culprit
