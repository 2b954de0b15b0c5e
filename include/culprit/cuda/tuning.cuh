// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/cuda/multiply.cuh"

namespace culprit::cuda {

/// How a block of threads is laid out over a tile of G: `row_warps` x `column_warps` warps, each with
/// `row_steps` x `column_steps` products of 16 rows and 8 columns.
template <class Multiply_, int row_warps_, int column_warps_, int row_steps_, int column_steps_,
          int resident_>
struct Tile {
  using Multiply = Multiply_;                                      ///< how numbers are multiplied
  using Element = typename Multiply::Element;                      ///< what they are
  static constexpr int row_warps = row_warps_;                     ///< warps above each other
  static constexpr int column_warps = column_warps_;               ///< warps beside each other
  static constexpr int row_steps = row_steps_;                     ///< products of a warp, above each other
  static constexpr int column_steps = column_steps_;               ///< products of a warp, beside each other
  static constexpr int rows = row_warps * row_steps * 16;          ///< of the tile
  static constexpr int columns = column_warps * column_steps * 8;  ///< of the tile
  static constexpr int threads = 32 * row_warps * column_warps;    ///< of the block
  static constexpr int resident = resident_;  ///< blocks that a multiprocessor is to hold where it has 228 KB

  static constexpr int depth = 32;  ///< terms of each sum in a stage of shared memory
  static constexpr int stages = 2;  ///< one is multiplied while the other is filled
  static constexpr int vector = 4;  ///< elements that are copied at a time where they can be
  /// Of a row in shared memory: the threads of a warp then read from different banks.
  static constexpr int pitch = depth + 16 / static_cast<int>(sizeof(Element));
};

/// For layers with more than 64 rows in a group.
template <class Multiply>
using LargeTile = Tile<Multiply, 2, 4, 4, 4, 2>;
/// For layers with at most 64.
template <class Multiply>
using MediumTile = Tile<Multiply, 2, 4, 2, 4, 2>;
/// For layers with at most 32.
template <class Multiply>
using SmallTile = Tile<Multiply, 1, 4, 2, 4, 4>;

}  // namespace culprit::cuda
