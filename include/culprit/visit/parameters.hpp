// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/core/Tensor.h>

#include "culprit/concepts.hpp"
#include "culprit/core/units.hpp"

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
/// Of three dimensions only those with several slices of several weights each: what has [1, N, C] or [C, 1,
/// 1] is a vision transformer's class token, table of places or scale of its channels, which no layer
/// multiplies with. (So a 1-D convolution to a single channel, or of single weights, is left out.)
struct AllWeights {
  [[nodiscard]] bool operator()(at::IntArrayRef shape) const {
    return shape.size() == 3 ? shape[0] > 1 && shape[1] * shape[2] > 1 : shape.size() >= 2;
  }
};

/// Attention heads: the queries, keys and values of each head, in this order, for every 2-D parameter of
/// shape [3 E, E] such as the in_proj_weight of a multihead attention: 3 * heads units of E / heads rows
/// each.
struct AttentionHeads {
  Index heads = 1;  ///< of every attention that the model has

  /// @returns  how many units a parameter of that shape has; 0 for none
  [[nodiscard]] Index operator()(at::IntArrayRef shape) const {
    return heads > 0 && shape.size() == 2 && shape[0] == 3 * shape[1] && shape[1] % heads == 0 ? 3 * heads
                                                                                               : 0;
  }
};

static_assert(Visitor<ConvFilters> && Visitor<LinearNeurons> && Visitor<AllWeights> &&
              Visitor<AttentionHeads>);

}  // namespace culprit::visit
