// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <ATen/core/Tensor.h>

#include "culprit/core/units.hpp"
#include "culprit/detail/parallel.hpp"
#include "culprit/engine/convolution.hpp"
#include "culprit/engine/instructions.hpp"
#include "culprit/engine/tile.hpp"
#include "culprit/visit/operator_observer.hpp"

// Gradients of a two-dimensional convolution's weight for each sample, on the CPU, without unfolding the
// input: a tile of the gradient lies in registers while the positions of the output pass by, and goes to its
// consumer while it is in cache.
namespace culprit::engine::detail {
/// Strides of a sample: from channel to channel, row to row, column to column.
struct Strides {
  Index channel, row, column;

  explicit Strides(const at::Tensor& batch)
      : channel(batch.stride(1)),
        row(batch.dim() > 3 ? batch.stride(2) : 0),
        column(batch.dim() > 2 ? batch.stride(-1) : 0) {}
};

/// Lays a row of some channels out with the channels of a column side by side, zeros where they end.
/// @param to  [columns, lanes]
template <class T>
void pack_row(const T* from, const Strides& strides, Index channels, Index columns, Index lanes, T* to) {
  using V = Vector<T, 4 * sizeof(T)>;
  constexpr Index side = 4;
  const Index whole = strides.column == 1 && columns >= side ? channels / side * side : 0;
  for (Index column = 0; whole > 0 && column < columns; column += side) {
    column = std::min(column, columns - side);  // the last block overlaps the one before
    for (Index channel = 0; channel < whole; channel += side) {
      const T* const source = from + channel * strides.channel + column;
      T* const place = to + column * lanes + channel;
      V a, b, c, d;
      load(a, source);
      load(b, source + strides.channel);
      load(c, source + 2 * strides.channel);
      load(d, source + 3 * strides.channel);
      const V ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      const V cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
      const V ab_end = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const V cd_end = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      a = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
      b = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
      c = __builtin_shufflevector(ab_end, cd_end, 0, 1, 4, 5);
      d = __builtin_shufflevector(ab_end, cd_end, 2, 3, 6, 7);
      store(a, place);
      store(b, place + lanes);
      store(c, place + 2 * lanes);
      store(d, place + 3 * lanes);
    }
  }
  if (whole == lanes) return;
  if (strides.channel == 1 && strides.column == lanes && channels == lanes) {
    std::copy(from, from + columns * lanes, to);
    return;
  }
  for (Index column = 0; column < columns; ++column) {
    T* const place = to + column * lanes;
    const T* const source = from + column * strides.column;
    if (strides.channel == 1) {
      std::copy(source + whole, source + channels, place + whole);
    } else {
      for (Index channel = whole; channel < channels; ++channel)
        place[channel] = source[channel * strides.channel];
    }
    std::fill(place + channels, place + lanes, T(0));
  }
}

/// The memory of a thread for one purpose, kept from layer to layer.
template <class T>
T* scratch(std::vector<T>& memory, Index elements) {
  if (memory.size() < static_cast<std::size_t>(elements)) memory.resize(static_cast<std::size_t>(elements));
  return memory.data();
}

/// Forms the gradients of a convolution's weight for all samples of a batch, tile by tile.
///
/// For sample b and filter o the gradient's element m = (channel, tap) is
///   g[o][m] = sum over positions p of dY_b[o][p] * X_b[channel][p * stride + tap * dilation - padding].
/// Input and gradient of the output are laid out with as many channels side by side as a tile has lanes; a
/// row of a tile is an element m, a lane a filter.
///
/// Of bfloat16 tensors it multiplies pairs of positions where the processor has an instruction for them, and
/// their numbers as float32 where not; either way it adds in float32.
/// @tparam T  of the sums @tparam S  of x and dy: T, or the bits of a bfloat16 as std::uint16_t
template <class T, class S = T>
class ConvolutionTiles {
 public:
  /// @param x   [B, C, H, W] or [B, C, W], of any strides @param dy  gradient of the output
  ConvolutionTiles(Instructions set, const visit::ParameterUse& use, at::IntArrayRef weight,
                   const at::Tensor& x, const at::Tensor& dy)
      : set_(set),
        layer_(use, weight, x, dy),
        // A filter of a depthwise layer reads the channel of its own number: all are one group of tiles.
        depthwise_(layer_.depthwise()),
        product_(depthwise_ ? Product::elementwise
                 : !std::is_same_v<S, T> && runs_pairs_here() && set != Instructions::any
                     ? Product::pairs
                     : Product::broadcast),
        channels_(layer_.groups * layer_.inputs),
        groups_(depthwise_ ? 1 : layer_.groups),
        filters_(depthwise_ ? channels_ : layer_.outputs),
        lanes_(2 * static_cast<Index>(vector_bytes(set) / sizeof(T))),
        // Rows of tiles read single channels, so that the input may have fewer of them side by side.
        x_lanes_(depthwise_ ? lanes_ : std::min(lanes_, (channels_ + 3) / 4 * 4)),
        tiles_((filters_ + lanes_ - 1) / lanes_),
        row_elements_(layer_.padded[1] * x_lanes_),
        block_elements_(layer_.padded[0] * row_elements_),
        x_(x),
        dy_(dy),
        x_strides_(x),
        dy_strides_(dy),
        walk_{layer_.positions[0], layer_.positions[1], layer_.stride[0] * row_elements_,
              layer_.stride[1] * x_lanes_} {
    if (walk_.row_step == walk_.columns * walk_.column_step) {  // rows follow each other without a gap
      walk_.columns *= walk_.rows;
      walk_.rows = 1;
    }
    columns_ = walk_.columns;
    // Tiles of depthwise filters have nothing of the input in common.
    constexpr Index together = (Index{256} << 10U) / static_cast<Index>(sizeof(T));
    if (!depthwise_)
      together_ = std::clamp<Index>(together / (walk_.rows * walk_.columns * lanes_), 1, tiles_);
    if (product_ == Product::pairs) {
      walk_.columns = (walk_.columns + 1) / 2;
      walk_.column_step *= 2;
    }
    for (Index channel = 0; channel < channels_; ++channel) {
      for (Index i = 0; i < layer_.taps[0]; ++i) {
        for (Index j = 0; j < layer_.taps[1]; ++j) {
          offsets_.push_back(channel / x_lanes_ * block_elements_ + channel % x_lanes_ +
                             i * layer_.dilation[0] * row_elements_ + j * layer_.dilation[1] * x_lanes_);
        }
      }
    }
    offsets_.resize(offsets_.size() + static_cast<std::size_t>(tile_rows),
                    offsets_.back());  // the last tile's rows that are dropped
  }

  /// Filters of a tile, at most.
  [[nodiscard]] Index lanes() const { return lanes_; }

  /// `consumer(sample, filter, filters)` makes what takes the tile of these filters: its rows(first, count,
  /// values) is given elements [first, first + count) of each, values [count, lanes], in ascending order and
  /// all of them once; then its finish() is called. On several threads at a time, on one for each tile.
  template <class Consumer>
  void operator()(const Consumer& consumer) const {
    const Index batch = x_.size(0);
    const Index tiles = groups_ * tiles_;
    const auto one_sample = [&](Index sample, Index grain) {
      thread_local std::vector<T> memory;
      // Rows of the last tile that are dropped may start at channels further on, and read beyond the end.
      const Index elements = (channels_ + x_lanes_ - 1) / x_lanes_ * block_elements_;
      T* const packed = scratch(memory, elements + lanes_);
      pack_input(sample, packed);
      culprit::detail::in_parallel(0, tiles, grain, [&](Index begin, Index end) {
        while (begin < end) {
          const Index first = begin % tiles_;
          const Index count = std::min({together_, tiles_ - first, end - begin});
          compute(packed, sample, begin / tiles_, first, count, consumer);
          begin += count;
        }
      });
    };
    // Samples are spread over the threads; where there are fewer of them, the tiles of each.
    const bool few = batch < at::get_num_threads();
    culprit::detail::in_parallel(0, batch, few ? batch : 1, [&](Index begin, Index end) {
      for (Index sample = begin; sample < end; ++sample) one_sample(sample, few ? 1 : tiles);
    });
  }

 private:
  static const S* data(const at::Tensor& tensor, Index sample) {
    return static_cast<const S*>(tensor.const_data_ptr()) + sample * tensor.stride(0);
  }

  void pack_input(Index sample, T* packed) const {
    if constexpr (std::is_same_v<S, T>) {
      lay_out_input(sample, packed);
    } else {
      thread_local std::vector<S> memory;
      const Index elements = (channels_ + x_lanes_ - 1) / x_lanes_ * block_elements_;
      // The second of a pair at the end is beyond it.
      const Index further = layer_.stride[1] * x_lanes_;
      S* const narrow = scratch(memory, elements + further);
      lay_out_input(sample, narrow);
      std::fill(narrow + elements, narrow + elements + further, S(0));
      widen(narrow, narrow + further, elements, packed);
    }
  }

  /// @param seconds  of the pairs
  void widen(const S* firsts, const S* seconds, Index elements, T* to) const {
    const bool pairs = product_ == Product::pairs;
    for (Index i = 0; i < elements; ++i) {
      const std::uint32_t bits = pairs ? std::uint32_t{firsts[i]} | std::uint32_t{seconds[i]} << 16U
                                       : std::uint32_t{firsts[i]} << 16U;
      std::memcpy(to + i, &bits, sizeof(bits));
    }
  }

  void lay_out_input(Index sample, S* packed) const {
    const S* const all = data(x_, sample);
    const Index left = std::min(layer_.padding[1], layer_.padded[1]);
    const Index columns = std::clamp<Index>(layer_.padded[1] - left, 0, layer_.extent[1]);
    for (Index first = 0; first < channels_; first += x_lanes_) {
      for (Index row = 0; row < layer_.padded[0]; ++row) {
        S* to = packed + first / x_lanes_ * block_elements_ + row * row_elements_;
        S* const end = to + row_elements_;
        const Index source = row - layer_.padding[0];
        if (source < 0 || source >= layer_.extent[0]) {
          std::fill(to, end, S(0));
          continue;
        }
        std::fill(to, to + left * x_lanes_, S(0));
        to += left * x_lanes_;
        pack_row(all + first * x_strides_.channel + source * x_strides_.row, x_strides_,
                 std::min(x_lanes_, channels_ - first), columns, x_lanes_, to);
        std::fill(to + columns * x_lanes_, end, S(0));
      }
    }
  }

  /// Some filters side by side, and which of the tiles that are computed together they are.
  struct Tile {
    Index filter, count, number, tiles;
  };

  /// The gradient of a tile's outputs, [positions, lanes]: in its place, or laid out in memory of the thread.
  const S* lay_out_gradient(Index sample, const Tile& tile) const {
    const S* const from = data(dy_, sample) + tile.filter * dy_strides_.channel;
    const auto [rows, columns] = layer_.positions;
    const bool one_row = rows == 1 || dy_strides_.row == columns * dy_strides_.column;
    const bool as_wanted = dy_strides_.channel == 1 && dy_strides_.column == lanes_ && tile.count == lanes_;
    if (one_row && as_wanted) return from;
    thread_local std::vector<S> memory;
    const Index elements = rows * columns * lanes_;
    S* const y = scratch(memory, tile.tiles * elements) + tile.number * elements;
    if (one_row) {
      pack_row(from, dy_strides_, tile.count, rows * columns, lanes_, y);
    } else {
      for (Index row = 0; row < rows; ++row)
        pack_row(from + row * dy_strides_.row, dy_strides_, tile.count, columns, lanes_,
                 y + row * columns * lanes_);
    }
    return y;
  }

  /// The same for the walk: [walk_.rows, walk_.columns, lanes].
  const T* pack_gradient(Index sample, const Tile& tile) const {
    const S* const narrow = lay_out_gradient(sample, tile);
    if constexpr (std::is_same_v<S, T>) {
      return narrow;
    } else {
      thread_local std::vector<T> memory;
      const Index elements = walk_.rows * walk_.columns * lanes_;
      T* const wide = scratch(memory, tile.tiles * elements) + tile.number * elements;
      const Index step = product_ == Product::pairs ? 2 : 1;
      constexpr std::array<S, 2 * vector_bytes(Instructions::avx512) / sizeof(T)> zeros{};
      for (Index row = 0; row < walk_.rows; ++row) {
        for (Index column = 0; column < walk_.columns; ++column) {
          const S* const firsts = narrow + (row * columns_ + column * step) * lanes_;
          const bool alone = column * step + 1 >= columns_;
          widen(firsts, alone ? zeros.data() : firsts + lanes_, lanes_,
                wide + (row * walk_.columns + column) * lanes_);
        }
      }
      return wide;
    }
  }

  /// Some tiles of a group of channels: what they read of the input is used by all while it is in cache.
  template <class Consumer>
  void compute(const T* packed, Index sample, Index group, Index first_tile, Index tiles,
               const Consumer& consumer) const {
    // What a pass over the tiles of a chunk reads and writes stays in the first-level cache.
    constexpr Index positions_in_block = 128;
    constexpr Index rows_in_chunk = 16 * tile_rows;
    const Index rows_in_block = std::max<Index>(1, positions_in_block / walk_.columns);
    const Index pieces = (walk_.columns + positions_in_block - 1) / positions_in_block;
    const Index columns_in_block = (walk_.columns + pieces - 1) / pieces;

    std::vector<const T*> y;
    std::vector<std::invoke_result_t<const Consumer&, Index, Index, Index>> takers;
    for (Index i = 0; i < tiles; ++i) {
      const Index first = (first_tile + i) * lanes_;
      const Tile tile{group * filters_ + first, std::min(lanes_, filters_ - first), i, tiles};
      y.push_back(pack_gradient(sample, tile));
      takers.push_back(consumer(sample, tile.filter, tile.count));
    }
    thread_local std::vector<T> chunk_memory;
    T* const values = scratch(chunk_memory, rows_in_chunk * lanes_);
    const Index size = layer_.size();
    const Index* const offsets =
        offsets_.data() + (depthwise_ ? first_tile * lanes_ : group * layer_.inputs) * (size / layer_.inputs);
    for (Index begin = 0; begin < size; begin += rows_in_chunk) {
      const Index rows = std::min(rows_in_chunk, size - begin);
      for (std::size_t i = 0; i < y.size(); ++i) {
        for (Index row = 0; row < walk_.rows; row += rows_in_block) {
          for (Index column = 0; column < walk_.columns; column += columns_in_block) {
            Positions block = walk_;
            block.rows = std::min(rows_in_block, walk_.rows - row);
            block.columns = std::min(columns_in_block, walk_.columns - column);
            run(set_, TilePass<T>{.x = packed + row * walk_.row_step + column * walk_.column_step,
                                  .offsets = offsets + begin,
                                  .y = y[i] + (row * walk_.columns + column) * lanes_,
                                  .positions = block,
                                  .values = values,
                                  .rows = rows,
                                  .product = product_,
                                  .further = row + column > 0});
          }
        }
        takers[i].rows(begin, rows, values);
      }
    }
    for (auto& taker : takers) taker.finish();
  }

  Instructions set_;
  Convolution layer_;
  bool depthwise_;
  Product product_;
  Index channels_, groups_, filters_, lanes_, x_lanes_, tiles_;
  Index together_ = 1;                   // tiles whose gradients stay in the second-level cache
  Index row_elements_, block_elements_;  // of the packed input: of a row, of the channels side by side
  const at::Tensor& x_;
  const at::Tensor& dy_;
  Strides x_strides_, dy_strides_;
  Positions walk_;
  Index columns_;               // of the walk, in positions
  std::vector<Index> offsets_;  // [channels, taps]: where an element of a filter begins to read
};

}  // namespace culprit::engine::detail
