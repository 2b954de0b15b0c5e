// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/cuda/task.cuh"

namespace culprit::cuda::detail {

/// The position of an item, from the first of its stage, and its place in the plane in shared memory.
struct alignas(8) Item {
  int y;
  short x, to;
};

/// What a thread copies first.
struct Start {
  short item, plane;
};

/// Of a column tile.
template <class Tile>
struct Columns {
  int count;                 ///< of G, that it has
  int channel, channels;     ///< the first plane, and how many
  int y, x;                  ///< where the first position is in these, and the first of the tile's taps
  int begin[Tile::columns];  ///< in shared memory, of each column, in bytes
};

/// What a block works on. In shared memory, for registers are short.
template <class T>
struct Place {
  int of_all;     ///< the number of the sample's group
  const T* rows;  ///< of that group and tile of rows
  const T* columns;
  int first_row;         ///< of the block
  int part, begin, end;  ///< column tiles
};

template <class Tile, class Total>
struct alignas(16) Shared {
  using Element = typename Tile::Element;
  struct Stage {
    alignas(16) Element rows[Tile::rows * Tile::pitch];
    alignas(16) Element columns[Tile::columns * Tile::pitch];
  };
  static constexpr int partials = Tile::column_warps * 4;  ///< threads that have sums of the same row
  union {
    Stage stages[Tile::stages];
    Total totals[Tile::rows * partials];
  };
  Columns<Tile> columns[Tile::stages + 1];  ///< one is prepared, one filled and one multiplied
  Start row_starts[Tile::threads];
  Start column_starts[Tile::threads];
  Item row_items[Tile::depth];
  Item column_items[most_items];
  alignas(8) int terms[Tile::depth];  ///< where in its plane each position of a stage begins, in bytes
  Place<Element> place;
};

}  // namespace culprit::cuda::detail
