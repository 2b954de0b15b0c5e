// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <torch/types.h>

#include "culprit/core/statistics.hpp"
#include "culprit/io/json.hpp"

namespace culprit::cli {

/// Confidence of one class for each sample.
/// @param outputs  [B, classes] @param classes  [B] @return [B] float64, shares of 1
inline torch::Tensor confidence(const torch::Tensor& outputs, const torch::Tensor& classes) {
  return outputs.to(torch::kFloat64).softmax(1).gather(1, classes.unsqueeze(1)).squeeze(1);
}

/// What a change of the model, or of what it sees, did to each sample, as shares of 1.
struct Effect {
  std::vector<double> wrong_change;  ///< of the confidence of the class that was predicted before
  std::vector<double> true_change;
  std::vector<double> corrected;  ///< 1 where the true class is predicted afterwards

  explicit Effect(std::size_t samples) : wrong_change(samples), true_change(samples), corrected(samples) {}

  static constexpr Index numbers = 3;

  /// From what rows() gave.
  explicit Effect(const torch::Tensor& rows) : Effect(static_cast<std::size_t>(rows.size(0))) {
    for (std::size_t i = 0; i < corrected.size(); ++i) {
      const torch::Tensor row = rows[static_cast<Index>(i)];
      wrong_change[i] = row[0].item<double>();
      true_change[i] = row[1].item<double>();
      corrected[i] = row[2].item<double>();
    }
  }

  /// [samples, numbers], float64.
  [[nodiscard]] torch::Tensor rows() const {
    std::vector<torch::Tensor> columns;
    for (const auto* values : {&wrong_change, &true_change, &corrected})
      columns.push_back(torch::tensor(*values, torch::kFloat64));
    return torch::stack(columns, 1);
  }

  /// Adds `weight` times what the change did to each.
  /// @param before, after  [samples, classes], on the CPU @param labels  [samples]
  void add(double weight, const torch::Tensor& before, const torch::Tensor& after,
           const torch::Tensor& labels) {
    const torch::Tensor predicted = before.argmax(1);
    const torch::Tensor wrong = confidence(after, predicted) - confidence(before, predicted);
    const torch::Tensor truth = confidence(after, labels) - confidence(before, labels);
    const torch::Tensor right = after.argmax(1).eq(labels);
    for (Index i = 0; i < labels.size(0); ++i) {
      const auto at = static_cast<std::size_t>(i);
      wrong_change[at] += weight * wrong[i].item<double>();
      true_change[at] += weight * truth[i].item<double>();
      corrected[at] += weight * (right[i].item<bool>() ? 1.0 : 0.0);
    }
  }
};

/// The three cells of an interval: mean, low, high.
inline void append(std::vector<io::Json>& row, const Interval& interval) {
  for (const double value : {interval.mean, interval.low, interval.high}) row.emplace_back(value);
}

}  // namespace culprit::cli
