// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "culprit/core/units.hpp"
#include "culprit/engine/instructions.hpp"

// A tile of a convolution's gradient from bfloat16 numbers, by the instruction that multiplies two positions
// and adds both products.
//
// Beside compute_tile with the same loop, and not a case of it: compilers inline what is for one instruction
// set into nothing that is for several.
namespace culprit::engine::detail {

/// A walk over the positions of a layer's output: `rows` rows of `columns` positions each.
struct Positions {
  Index rows, columns;
  Index row_step, column_step;  ///< of the packed input, in elements, from one to the next
};

#if defined(__x86_64__)

/// Whether compute_pairs runs here.
inline bool runs_pairs_here() {
  static const bool runs = runs_here(Instructions::avx512) && __builtin_cpu_supports("avx512bf16") &&
                           __builtin_cpu_supports("avx512vl");
  return runs;
}

/// A row of a tile: two vectors of sums.
template <std::size_t bytes>
struct PairRow {
  using V [[gnu::vector_size(bytes)]] = float;
  using Bits [[gnu::vector_size(bytes)]] = std::int32_t;
  static constexpr Index width = bytes / sizeof(float);
  V low, high;

  [[gnu::target("avx512f,avx512vl,avx512bf16"), gnu::always_inline]] void read(const float* place) {
    std::memcpy(&low, place, sizeof(V));
    std::memcpy(&high, place + width, sizeof(V));
  }

  [[gnu::target("avx512f,avx512vl,avx512bf16"), gnu::always_inline]] void write(float* place) const {
    std::memcpy(place, &low, sizeof(V));
    std::memcpy(place + width, &high, sizeof(V));
  }

  /// @param x  two numbers for all lanes @param y  two for each
  [[gnu::target("avx512f,avx512vl,avx512bf16"), gnu::always_inline]] void add(const float* x,
                                                                              const PairRow& y) {
    std::int32_t pair;
    std::memcpy(&pair, x, sizeof(pair));
    const Bits everywhere = Bits{} + pair;
    asm("vdpbf16ps %2, %1, %0" : "+v"(low) : "v"(y.low), "v"(everywhere));
    asm("vdpbf16ps %2, %1, %0" : "+v"(high) : "v"(y.high), "v"(everywhere));
  }
};

/// As compute_tile, where each float in x and y has the bits of the bfloat16 numbers of two positions.
template <std::size_t bytes>
[[gnu::target("avx512f,avx512vl,avx512bf16")]] void compute_pairs(const float* x, const Index* offsets,
                                                                  const float* y, const Positions& positions,
                                                                  float* tile, bool further) {
  using Row = PairRow<bytes>;
  constexpr Index lanes = 2 * Row::width;
  Row r0{}, r1{}, r2{}, r3{}, r4{}, r5{};
  if (further) {
    r0.read(tile), r1.read(tile + lanes), r2.read(tile + 2 * lanes);
    r3.read(tile + 3 * lanes), r4.read(tile + 4 * lanes), r5.read(tile + 5 * lanes);
  }
  const float *x0 = x + offsets[0], *x1 = x + offsets[1], *x2 = x + offsets[2];
  const float *x3 = x + offsets[3], *x4 = x + offsets[4], *x5 = x + offsets[5];
  for (Index row = 0; row < positions.rows; ++row) {
    Index at = row * positions.row_step;
    for (Index column = 0; column < positions.columns; ++column) {
      Row both;
      both.read(y);
      y += lanes;
      r0.add(x0 + at, both);
      r1.add(x1 + at, both);
      r2.add(x2 + at, both);
      r3.add(x3 + at, both);
      r4.add(x4 + at, both);
      r5.add(x5 + at, both);
      at += positions.column_step;
    }
  }
  r0.write(tile), r1.write(tile + lanes), r2.write(tile + 2 * lanes);
  r3.write(tile + 3 * lanes), r4.write(tile + 4 * lanes), r5.write(tile + 5 * lanes);
}

#else

inline bool runs_pairs_here() { return false; }

template <std::size_t bytes>
void compute_pairs(const float* /*x*/, const Index* /*offsets*/, const float* /*y*/,
                   const Positions& /*positions*/, float* /*tile*/, bool /*further*/) {}

#endif

}  // namespace culprit::engine::detail
