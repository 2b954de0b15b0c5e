// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace culprit::cuda {

/// One factor of a product over positions, wherever its numbers lie: strides in elements.
template <class T>
struct Factor {
  const T* data;               ///< on the device
  std::int64_t sample, group;  ///< from one sample, and group of channels, to the next
  int channel, y, x;           ///< from one channel, and position, to the next
};

/// What makes the gradients of a layer's weight for each sample b and group:
///   G[r, (c, i, j)] = sum over (y, x) of rows[r, y, x] * columns[c, y * stride + i * dilation - padding,
///   ...]
/// with zeros outside of the columns. Of a convolution, rows are the gradients of its output and columns its
/// input; of a transposed one it is the other way round; of a linear layer there is one tap, and positions
/// are a sample's rows.
template <class T>
struct GradientProblem {
  Factor<T> rows, columns;
  int samples, groups;
  int row_count, channel_count;  ///< of a group
  int height, width;             ///< positions of the rows
  int columns_height, columns_width;
  int taps_y, taps_x;
  int stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;

  /// Elements of a row of G.
  [[nodiscard]] __host__ __device__ int size() const { return channel_count * taps_y * taps_x; }
  /// Terms of each sum.
  [[nodiscard]] __host__ __device__ int positions() const { return height * width; }
};

}  // namespace culprit::cuda
