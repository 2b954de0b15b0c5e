// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/core/Tensor.h>

#include "culprit/core/units.hpp"

namespace culprit::visit {

/// Where a tensor of a model's forward pass has its samples: along one dimension, `rows` places for each
/// sample, one sample after the other, or taking turns.
struct SampleAxis {
  Index dimension = 0;    ///< that the samples are along
  Index rows = 1;         ///< places of each sample in it
  bool by_turns = false;  ///< place r of sample b is r * batch + b; else b * rows + r

  /// Whether they are the same.
  [[nodiscard]] bool operator==(const SampleAxis&) const = default;

  /// Whether the first dimension is the batch.
  [[nodiscard]] bool is_first() const { return dimension == 0 && rows == 1; }

  /// Whether a tensor's extents are those of a batch of that many samples.
  [[nodiscard]] bool fits(const at::Tensor& tensor, Index batch) const {
    return tensor.dim() > dimension && tensor.size(dimension) == rows * batch;
  }

  /// The samples as the first dimension, and their rows, if there are several, where they were: a view.
  [[nodiscard]] at::Tensor samples_first(const at::Tensor& tensor) const {
    if (rows == 1) return dimension == 0 ? tensor : tensor.movedim(dimension, 0);
    const Index batch = tensor.size(dimension) / rows;
    if (by_turns) return tensor.unflatten(dimension, {rows, batch}).movedim(dimension + 1, 0);
    return tensor.unflatten(dimension, {batch, rows}).movedim(dimension, 0);
  }

  /// The inverse of samples_first.
  [[nodiscard]] at::Tensor as_it_was(const at::Tensor& tensor) const {
    if (rows == 1) return dimension == 0 ? tensor : tensor.movedim(0, dimension);
    return tensor.movedim(0, by_turns ? dimension + 1 : dimension).flatten(dimension, dimension + 1);
  }
};

}  // namespace culprit::visit
