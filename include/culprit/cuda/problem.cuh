// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace culprit::cuda {

/// One factor of a product over positions, wherever its numbers lie: strides in elements.
template <class T>
struct Factor {
  const T* data;        ///< on the device
  std::int64_t sample;  ///< from one sample to the next
  std::int64_t group;   ///< from one group of channels to the next
  int channel;          ///< from one channel to the next
  int y;                ///< from one row of positions to the next
  int x;                ///< from one position to the next
};

/// What makes the gradients of a layer's weight for each sample b and group:
///   G[r, (c, i, j)] = sum over (y, x) of rows[r, y, x] * columns[c, y * stride + i * dilation - padding,
///   ...]
/// with zeros outside of the columns. Of a convolution, rows are the gradients of its output and columns its
/// input; of a transposed one it is the other way round; of a linear layer there is one tap, and positions
/// are a sample's rows.
template <class T>
struct GradientProblem {
  Factor<T> rows;      ///< one for each row of G
  Factor<T> columns;   ///< one for each channel
  int samples;         ///< how many
  int groups;          ///< of channels
  int row_count;       ///< of a group
  int channel_count;   ///< of a group
  int height;          ///< how many y
  int width;           ///< how many x
  int columns_height;  ///< rows of positions of the columns
  int columns_width;   ///< positions of each of these
  int taps_y;          ///< how many i
  int taps_x;          ///< how many j
  int stride_y;        ///< of y
  int stride_x;        ///< of x
  int padding_y;       ///< of y
  int padding_x;       ///< of x
  int dilation_y;      ///< of i
  int dilation_x;      ///< of j

  /// Elements of a row of G.
  [[nodiscard]] __host__ __device__ int size() const { return channel_count * taps_y * taps_x; }
  /// Terms of each sum.
  [[nodiscard]] __host__ __device__ int positions() const { return height * width; }
};

}  // namespace culprit::cuda
