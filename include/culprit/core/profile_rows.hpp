// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/bfloat16.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/core/units.hpp"

namespace culprit {

/// The units [first, end).
struct UnitRange {
  Index first = 0;  ///< the first one's number
  Index end = 0;    ///< one past the last one's
};

/// Many profiles of the same units, a row each: bfloat16, float32 or float64 numbers that lie elsewhere, in
/// tables one behind the other, such as the memory of mapped files. A view: it is valid as long as the tables
/// are.
class ProfileRows {
 public:
  /// No rows yet, of these units.
  explicit ProfileRows(std::shared_ptr<const Units> units) : units_(std::move(units)) {}

  [[nodiscard]] Index size() const noexcept { return size_; }            ///< number of rows
  [[nodiscard]] const Units& units() const noexcept { return *units_; }  ///< which units, in this order
  /// The same, shared with profiles.
  [[nodiscard]] std::shared_ptr<const Units> shared_units() const noexcept { return units_; }

  /// Puts the rows of a table behind those that are there. @param table  [n, units]
  /// @throws Error (shape) when it does not hold whole rows.
  template <class T>
  requires std::same_as<T, Bfloat16> || std::same_as<T, float> || std::same_as<T, double>
  void append(std::span<const T> table) {
    const auto values = static_cast<Index>(table.size());
    if (units_->size() == 0 || values % units_->size() != 0) {
      throw Error(ErrorCode::shape, "table of profiles",
                  "rows of " + std::to_string(units_->size()) + " values, one for each unit",
                  std::to_string(values) + " values");
    }
    append(table.data(), values / units_->size());
  }

  /// @throws Error (shape) naming the profile's number when it is of other units.
  void append(const Profile& profile) {
    const std::string difference = units_->difference(profile.units());
    if (!difference.empty()) {
      throw Error(ErrorCode::shape, "profile " + std::to_string(size_), "the units of the others",
                  difference);
    }
    append(profile.values().data(), 1);
  }

  /// Some of the rows, in that order. @throws Error (argument) when there is no such row.
  [[nodiscard]] ProfileRows subset(std::span<const Index> rows) const {
    ProfileRows part(units_);
    for (const Index row : rows) {
      if (row < 0 || row >= size_) {
        throw Error(ErrorCode::argument, "profile", "a number below " + std::to_string(size_),
                    std::to_string(row));
      }
      std::visit([&](const auto* values) { part.append(values, 1); }, at(row));
    }
    return part;
  }

  /// A row's numbers within the ranges, one behind the other, in float64.
  [[nodiscard]] Eigen::VectorXd values(Index row, std::span<const UnitRange> ranges) const {
    Index count = 0;
    for (const UnitRange& range : ranges) count += range.end - range.first;
    Eigen::VectorXd result(count);
    std::visit(
        [&](const auto* from) {
          double* to = result.data();
          for (const UnitRange& range : ranges) {
            for (Index unit = range.first; unit < range.end; ++unit) *to++ = static_cast<double>(from[unit]);
          }
        },
        at(row));
    return result;
  }

  /// Whether both are the same memory, row by row.
  [[nodiscard]] friend bool operator==(const ProfileRows& left, const ProfileRows& right) {
    if (left.size_ != right.size_) return false;
    for (Index row = 0; row < left.size_; ++row) {
      if (left.at(row) != right.at(row)) return false;
    }
    return true;
  }

 private:
  using Row = std::variant<const Bfloat16*, const float*, const double*>;

  struct Table {
    Index first;  ///< number of its first row
    Row values;
  };

  template <class T>
  void append(const T* values, Index rows) {
    if (rows == 0) return;
    tables_.push_back({size_, values});
    size_ += rows;
  }

  [[nodiscard]] Row at(Index row) const {
    const auto after = std::ranges::upper_bound(tables_, row, {}, &Table::first);
    const Table& table = *std::prev(after);
    return std::visit(
        [&](const auto* values) -> Row { return values + (row - table.first) * units_->size(); },
        table.values);
  }

  std::shared_ptr<const Units> units_;
  std::vector<Table> tables_;
  Index size_ = 0;
};

}  // namespace culprit
