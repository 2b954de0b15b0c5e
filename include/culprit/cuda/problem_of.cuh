// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "culprit/core/units.hpp"
#include "culprit/cuda/problem.cuh"
#include "culprit/visit/operator_observer.hpp"

namespace culprit::cuda::detail {

/// Of a tensor [B, groups * channels, height, width].
template <class T>
[[nodiscard]] Factor<T> factor_of(const at::Tensor& tensor, std::int64_t channels) {
  return {static_cast<const T*>(tensor.const_data_ptr()),
          tensor.stride(0),
          tensor.stride(1) * channels,
          static_cast<int>(tensor.stride(1)),
          static_cast<int>(tensor.stride(2)),
          static_cast<int>(tensor.stride(3))};
}

/// With dimensions of 1 before those of the positions, so that these are two.
[[nodiscard]] inline at::Tensor as_planes(at::Tensor tensor) {
  while (tensor.dim() < 4) tensor = tensor.unsqueeze(2);
  return tensor;
}

/// Whether offsets within one sample fit an int.
[[nodiscard]] inline bool is_small(const at::Tensor& tensor) {
  std::int64_t reach = 0;
  for (std::int64_t i = 1; i < tensor.dim(); ++i) reach += (tensor.size(i) - 1) * tensor.stride(i);
  return reach < std::numeric_limits<int>::max();
}

/// The factors of a layer's gradients, and their tensors.
template <class T>
struct TensorProblem {
  at::Tensor rows, columns;  ///< [B, groups * channels, height, width]
  GradientProblem<T> numbers;
};

/// @param x  input of the use @param dy  gradient of its output, both of type T
/// @returns  nothing for what the kernel has no rule for: embeddings, convolutions of three dimensions,
/// strides
///           above 1,024, and samples of more than 2^31 numbers or of none
template <class T>
[[nodiscard]] std::optional<TensorProblem<T>> problem_of(const visit::ParameterUse& use, const Layer& layer,
                                                         const at::Tensor& x, const at::Tensor& dy) {
  using Kind = visit::ParameterUse::Kind;
  const std::size_t dimensions = use.kind == Kind::convolution ? layer.shape.size() - 2 : 0;
  if (use.kind == Kind::embedding || dimensions > 2) return std::nullopt;
  const auto planes = [&](const at::Tensor& tensor) {
    return use.kind == Kind::convolution
               ? as_planes(tensor)
               : as_planes(tensor.reshape({tensor.size(0), -1, tensor.size(-1)}).transpose(1, 2));
  };
  TensorProblem<T> problem{planes(use.transposed ? x : dy), planes(use.transposed ? dy : x), {}};
  if (!is_small(problem.rows) || !is_small(problem.columns) || problem.rows.numel() == 0) return std::nullopt;
  const auto of_axis = [&](const std::vector<std::int64_t>& numbers, std::size_t axis, int missing) {
    return axis + dimensions < 2 ? missing : static_cast<int>(numbers[axis + dimensions - 2]);
  };
  const auto extent = [](const at::Tensor& tensor, int i) { return static_cast<int>(tensor.size(i)); };
  const std::int64_t rows = layer.shape[0] / use.groups;
  const std::int64_t channels = layer.shape[1];
  const std::vector<std::int64_t> taps(layer.shape.begin() + 2, layer.shape.end());
  problem.numbers = {.rows = factor_of<T>(problem.rows, rows),
                     .columns = factor_of<T>(problem.columns, channels),
                     .samples = extent(problem.rows, 0),
                     .groups = static_cast<int>(use.groups),
                     .row_count = static_cast<int>(rows),
                     .channel_count = static_cast<int>(channels),
                     .height = extent(problem.rows, 2),
                     .width = extent(problem.rows, 3),
                     .columns_height = extent(problem.columns, 2),
                     .columns_width = extent(problem.columns, 3),
                     .taps_y = of_axis(taps, 0, 1),
                     .taps_x = of_axis(taps, 1, 1),
                     .stride_y = of_axis(use.stride, 0, 1),
                     .stride_x = of_axis(use.stride, 1, 1),
                     .padding_y = of_axis(use.padding, 0, 0),
                     .padding_x = of_axis(use.padding, 1, 0),
                     .dilation_y = of_axis(use.dilation, 0, 1),
                     .dilation_x = of_axis(use.dilation, 1, 1)};
  constexpr int farthest = 1024;  // 32 of them fit the 16 bits that a position within a stage has
  if (problem.numbers.stride_y > farthest || problem.numbers.stride_x > farthest) return std::nullopt;
  return problem;
}

}  // namespace culprit::cuda::detail
