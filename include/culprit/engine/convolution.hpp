// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>

#include <ATen/core/Tensor.h>

#include "culprit/core/units.hpp"
#include "culprit/engine/instructions.hpp"
#include "culprit/visit/operator_observer.hpp"

// What of a convolution its gradient by tiles needs to know.
namespace culprit::engine::detail {

/// Whether ConvolutionTiles has a rule for this use: a convolution, or a linear layer, of any shape of x.
inline bool has_tiles(const visit::ParameterUse& use, at::IntArrayRef weight, const at::Tensor& x,
                      const at::Tensor& dy) {
  const bool linear = use.kind == visit::ParameterUse::Kind::linear && dy.numel() > 0;
  const bool plain = linear || (use.kind == visit::ParameterUse::Kind::convolution && !use.transposed &&
                                (weight.size() == 3 || weight.size() == 4));
  const auto type = dy.scalar_type();
  return plain && x.is_cpu() && dy.is_cpu() && x.scalar_type() == type &&
         (type == at::kFloat || type == at::kDouble || type == at::kBFloat16);
}

/// What ConvolutionTiles takes for the input, or the gradient of the output, of a use.
/// @returns  of a linear layer [B, ..., channels] as [B, channels, places]; of a convolution as it is
inline at::Tensor channels_second(const visit::ParameterUse& use, const at::Tensor& batch) {
  if (use.kind == visit::ParameterUse::Kind::convolution) return batch;
  return batch.reshape({batch.size(0), -1, batch.size(-1)}).transpose(1, 2);
}

/// The shape of one convolution on one sample. A one-dimensional one has a height of 1, and a linear layer is
/// one with a single tap.
struct Convolution {
  Index groups, inputs, outputs;  ///< channels of a group
  std::array<Index, 2> taps, stride, padding, dilation, extent, positions;
  std::array<Index, 2> padded;  ///< extent of the packed input: what the taps reach

  Convolution(const visit::ParameterUse& use, at::IntArrayRef weight, const at::Tensor& x,
              const at::Tensor& dy)
      : groups(use.groups), inputs(weight[1]), outputs(weight[0] / use.groups) {
    if (weight.size() == 2) {
      taps = stride = dilation = {1, 1};
      padding = {0, 0};
      extent = positions = padded = {1, x.size(2)};
      return;
    }
    const std::size_t dimensions = weight.size() - 2;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      if (axis + dimensions < 2) {
        taps[axis] = stride[axis] = dilation[axis] = extent[axis] = positions[axis] = padded[axis] = 1;
        padding[axis] = 0;
        continue;
      }
      const std::size_t d = axis + dimensions - 2;
      taps[axis] = weight[d + 2];
      stride[axis] = use.stride[d];
      padding[axis] = use.padding[d];
      dilation[axis] = use.dilation[d];
      extent[axis] = x.size(static_cast<Index>(d) + 2);
      positions[axis] = dy.size(static_cast<Index>(d) + 2);
      padded[axis] = (positions[axis] - 1) * stride[axis] + (taps[axis] - 1) * dilation[axis] + 1;
    }
  }

  /// Elements of a filter.
  [[nodiscard]] Index size() const { return inputs * taps[0] * taps[1]; }
  /// Whether each channel of the input has one filter of its own.
  [[nodiscard]] bool depthwise() const { return inputs == 1 && outputs == 1 && groups > 1; }
};

/// The instructions for a layer's tiles: those with the largest vectors, unless half as wide a tile holds all
/// filters that lie side by side.
template <class T>
Instructions instructions_for(const visit::ParameterUse& use, at::IntArrayRef weight) {
  const bool depthwise = weight[1] == 1 && weight[0] == use.groups;
  const auto filters = static_cast<std::size_t>(depthwise ? weight[0] : weight[0] / use.groups);
  const Instructions best = best_instructions();
  const bool half_empty = filters * sizeof(T) <= 2 * vector_bytes(Instructions::avx2);
  return best == Instructions::avx512 && half_empty ? Instructions::avx2 : best;
}

}  // namespace culprit::engine::detail
