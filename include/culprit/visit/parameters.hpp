// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/core/Tensor.h>

namespace culprit::visit {

/// The paper's units: filters of every convolution, that is slices along dimension 0 of every 4-D parameter.
/// (For a transposed convolution dimension 0 is the input channel, as in the published code.)
struct ConvFilters {
  [[nodiscard]] bool operator()(at::IntArrayRef shape) const { return shape.size() == 4; }
};

/// Neurons: rows of every 2-D parameter, such as the weight of a Linear layer.
struct LinearNeurons {
  [[nodiscard]] bool operator()(at::IntArrayRef shape) const { return shape.size() == 2; }
};

/// Slices along dimension 0 of every parameter with two or more dimensions: filters and neurons of any kind.
struct AllWeights {
  [[nodiscard]] bool operator()(at::IntArrayRef shape) const { return shape.size() >= 2; }
};

}  // namespace culprit::visit
