// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "culprit/core/units.hpp"
#include "culprit/engine/bfloat16_tile.hpp"
#include "culprit/engine/instructions.hpp"

// A tile of the gradient of a convolution's weight, in registers while the positions of the output pass by.
namespace culprit::engine::detail {

/// Rows of a tile.
inline constexpr Index tile_rows = 6;

template <class T, std::size_t bytes>
struct VectorOf {
  using Type [[gnu::vector_size(bytes)]] = T;
};
template <class T, std::size_t bytes>
using Vector = typename VectorOf<T, bytes>::Type;

// Through memcpy, for a vector's own type promises the compiler an alignment that these places have not.
template <class V, class T>
[[gnu::always_inline]] inline void load(V& vector, const T* place) {
  std::memcpy(&vector, place, sizeof(V));
}
template <class V, class T>
[[gnu::always_inline]] inline void store(const V& vector, T* place) {
  std::memcpy(place, &vector, sizeof(V));
}

/// What a row of a tile multiplies the lanes of a position by.
enum class Product {
  broadcast,    ///< one number of the input
  elementwise,  ///< a number for each lane
  pairs,        ///< the bfloat16 numbers of two positions, whose products with the lanes' are added
};

/// A row of a tile: two vectors of sums.
template <class T, std::size_t bytes>
struct TileRow {
  static constexpr std::size_t width = bytes / sizeof(T);
  using V = Vector<T, bytes>;
  V low, high;

  /// Zeros.
  [[gnu::always_inline]] TileRow() : low{}, high{} {}

  [[gnu::always_inline]] explicit TileRow(const T* place) {
    load(low, place);
    load(high, place + width);
  }

  [[gnu::always_inline]] void write(T* place) const {
    store(low, place);
    store(high, place + width);
  }

  template <Product product>
  [[gnu::always_inline]] void add(const T* x, const TileRow& y) {
    if constexpr (product == Product::elementwise) {
      const TileRow both(x);
      low += both.low * y.low;
      high += both.high * y.high;
    } else {
      low += *x * y.low;
      high += *x * y.high;
    }
  }
};

/// tile[i][l] = sum over positions p of x_i[p] * y[p][l], for 6 rows i and two vectors of lanes l; for
/// Product::elementwise x_i[p][l] in the place of x_i[p].
///
/// Written out row by row: a compiler that does not unroll would keep the sums in memory.
/// @param x        packed input @param offsets  [6], where each row starts in it
/// @param y        packed gradient of the output: the lanes of one position after the other
/// @param tile     [6, lanes] @param further  whether the sums are added to those in `tile`
template <Product product, class T, std::size_t bytes>
[[gnu::always_inline]] inline void compute_tile(const T* x, const Index* offsets, const T* y,
                                                const Positions& positions, T* tile, bool further) {
  using Row = TileRow<T, bytes>;
  constexpr Index lanes = 2 * Row::width;
  Row r0, r1, r2, r3, r4, r5;
  if (further) {
    r0 = Row(tile), r1 = Row(tile + lanes), r2 = Row(tile + 2 * lanes);
    r3 = Row(tile + 3 * lanes), r4 = Row(tile + 4 * lanes), r5 = Row(tile + 5 * lanes);
  }
  const T *x0 = x + offsets[0], *x1 = x + offsets[1], *x2 = x + offsets[2];
  const T *x3 = x + offsets[3], *x4 = x + offsets[4], *x5 = x + offsets[5];
  for (Index row = 0; row < positions.rows; ++row) {
    Index at = row * positions.row_step;
    for (Index column = 0; column < positions.columns; ++column) {
      const Row both(y);
      y += lanes;
      r0.template add<product>(x0 + at, both);
      r1.template add<product>(x1 + at, both);
      r2.template add<product>(x2 + at, both);
      r3.template add<product>(x3 + at, both);
      r4.template add<product>(x4 + at, both);
      r5.template add<product>(x5 + at, both);
      at += positions.column_step;
    }
  }
  r0.write(tile), r1.write(tile + lanes), r2.write(tile + 2 * lanes);
  r3.write(tile + 3 * lanes), r4.write(tile + 4 * lanes), r5.write(tile + 5 * lanes);
}

/// The tiles of some rows over one block of positions.
template <class T>
struct TilePass {
  const T* x;
  const Index* offsets;  ///< [rows, rounded up to whole tiles]
  const T* y;
  Positions positions;
  T* values;  ///< [rows, rounded up to whole tiles; lanes]
  Index rows;
  Product product;
  bool further;

  template <std::size_t bytes>
  [[gnu::always_inline]] void operator()() const {
    switch (product) {
      case Product::broadcast:
        return tiles<Product::broadcast, bytes>();
      case Product::elementwise:
        return tiles<Product::elementwise, bytes>();
      case Product::pairs:
        if constexpr (std::is_same_v<T, float>) return tiles<Product::pairs, bytes>();
    }
  }

  template <Product which, std::size_t bytes>
  [[gnu::always_inline]] void tiles() const {
    constexpr Index lanes = 2 * bytes / sizeof(T);
    for (Index row = 0; row < rows; row += tile_rows) {
      T* const tile = values + row * lanes;
      if constexpr (which == Product::pairs) {
        compute_pairs<bytes>(x, offsets + row, y, positions, tile, further);
      } else {
        compute_tile<which, T, bytes>(x, offsets + row, y, positions, tile, further);
      }
    }
  }
};

}  // namespace culprit::engine::detail
