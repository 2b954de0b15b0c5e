// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "culprit/cuda/task.cuh"

// The work of one block of threads, on the device or, for tests, on the host. A Block has
//   each(f)           f(thread, registers) for each of its threads
//   sync()            waits for all threads
//   copy<T, n>(to, from, valid)   n elements into shared memory, or zeros; there after a wait
//   commit(), wait<pending>()     groups of copies, as cp.async has them
//   multiply()        the products of all steps of each warp
//   tf32(x)           bits of x, rounded
//   memory            shared memory
namespace culprit::cuda {

namespace detail {

/// Which element of the columns one column of G begins at, and how far from the first position it is.
struct alignas(16) Tap {
  int offset, y, x;
};

/// What a block works on. In shared memory, for registers are short.
template <class T>
struct Place {
  int of_all;     ///< the number of the sample's group
  const T* rows;  ///< of that group
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
  Tap taps[2][Tile::columns];
  Place<Element> place;
};

template <class Tile, class Total>
struct Registers {
  using Multiply = typename Tile::Multiply;
  typename Multiply::Rows rows[Tile::row_steps];
  typename Multiply::Columns columns[Tile::column_steps];
  float sums[Tile::row_steps][Tile::column_steps][4];
  Total totals[Tile::row_steps][2];
};

/// A step through the terms of one column tile after the other.
struct Step {
  int tile, first;  ///< term

  template <int depth>
  [[nodiscard]] __host__ __device__ Step after(int positions, int steps = 1) const {
    Step step = *this;
    for (int i = 0; i < steps; ++i) {
      step.first += depth;
      if (step.first < positions) continue;
      step.first = 0;
      ++step.tile;
    }
    return step;
  }
};

/// Reduces the gradients of a tile of rows, for the column tiles of one part.
template <class Tile, class Policy, class Block>
class BlockReducer {
 public:
  using Element = typename Tile::Element;
  using Multiply = typename Tile::Multiply;
  using Total = decltype(std::declval<const Policy&>().map(0.0F));
  static_assert(std::is_trivially_copyable_v<Policy>, "the aggregation must be trivially copyable");
  static_assert(std::is_trivially_copyable_v<Total>, "what map returns must be trivially copyable");
  static_assert(sizeof(Total) <= 32, "what map returns must take at most 32 bytes");

  /// @param number  of the block, from 0 to samples * groups * row_tiles * parts
  __host__ __device__ BlockReducer(Block& block, const GradientTask<Element>& task, const Policy& policy,
                                   int number)
      : block_(block), task_(task), problem_(task.problem), policy_(policy), place_(block.memory.place) {
    block_.each([&](int thread, auto& registers) {
      clear(registers);
      if (thread == 0) place_ = place(number);
    });
    block_.sync();
  }

  /// @param totals  [samples * groups * row_count, parts]: the block writes those of its rows and its part
  __host__ __device__ void operator()(Total* totals) {
    Step step{place_.begin, 0};
    for (int i = 0; i < Tile::stages - 1; ++i) {
      prepare(later(step, i));
      block_.sync();
      fill(later(step, i), i);
    }
    prepare(later(step, Tile::stages - 1));
    int stage = 0;
    while (step.tile < place_.end) {
      block_.template wait<Tile::stages - 2>();
      block_.sync();
      fill(later(step, Tile::stages - 1), (stage + Tile::stages - 1) % Tile::stages);
      multiply(step, stage);
      prepare(later(step, Tile::stages));
      const Step next = later(step, 1);
      if (next.tile != step.tile) fold(step.tile);
      step = next;
      stage = (stage + 1) % Tile::stages;
    }
    finish(totals);
  }

 private:
  static __host__ __device__ int min_of(int a, int b) { return a < b ? a : b; }
  [[nodiscard]] __host__ __device__ Step later(const Step& step, int steps) const {
    return step.after<Tile::depth>(problem_.positions(), steps);
  }

  [[nodiscard]] __host__ __device__ Place<Element> place(int number) const {
    Place<Element> place;
    place.part = number % task_.parts;
    number /= task_.parts;
    place.first_row = number % task_.row_tiles * Tile::rows;
    place.of_all = number / task_.row_tiles;
    const int group = place.of_all % problem_.groups;
    const std::int64_t sample = place.of_all / problem_.groups;
    place.rows = problem_.rows.data + sample * problem_.rows.sample + group * problem_.rows.group;
    place.columns = problem_.columns.data + sample * problem_.columns.sample + group * problem_.columns.group;
    place.begin = place.part * task_.part_tiles;
    const int tiles = (problem_.size() + Tile::columns - 1) / Tile::columns;
    place.end = min_of(tiles, place.begin + task_.part_tiles);
    return place;
  }

  __host__ __device__ static void clear(auto& registers) {
#pragma unroll
    for (int i = 0; i < Tile::row_steps; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::column_steps; ++j) {
#pragma unroll
        for (int k = 0; k < 4; ++k) registers.sums[i][j][k] = 0;
      }
    }
  }

  /// Finds where the columns of a tile begin, before it is filled for the first time.
  __host__ __device__ void prepare(const Step& step) {
    if (step.first != 0 || step.tile >= place_.end) return;
    block_.each([&](int thread, auto&) {
      for (int i = thread; i < Tile::columns; i += Tile::threads) {
        const int column = step.tile * Tile::columns + i;
        const int tap = column % (problem_.taps_y * problem_.taps_x);
        const int channel = column / (problem_.taps_y * problem_.taps_x);
        const int y = tap / problem_.taps_x * problem_.dilation_y - problem_.padding_y;
        const int x = tap % problem_.taps_x * problem_.dilation_x - problem_.padding_x;
        const bool is_one = column < problem_.size();
        const Factor<Element>& from = problem_.columns;
        block_.memory.taps[step.tile % 2][i] = {is_one ? channel * from.channel + y * from.y + x * from.x : 0,
                                                is_one ? y : nowhere, x};
      }
    });
  }

  /// Begins to copy the factors of the next terms.
  __host__ __device__ void fill(const Step& step, int stage) {
    if (step.tile < place_.end) {
      block_.each([&](int thread, auto&) {
        fill_rows(step, thread, block_.memory.stages[stage].rows);
        fill_columns(step, thread, block_.memory.stages[stage].columns);
      });
    }
    block_.commit();
  }

  // What a thread needs of a copy is found before the first one: the compiler reads memory again after each.
  // No condition is skipped, for a branch takes longer than a comparison. What is not valid has no bytes to
  // be read, wherever it would be.

  __host__ __device__ void fill_rows(const Step& step, int thread, Element* to) const {
    const Factor<Element>& from = problem_.rows;
    const Element* const first = place_.rows + static_cast<std::int64_t>(place_.first_row) * from.channel;
    const int left = problem_.row_count - place_.first_row;
    const int positions = problem_.positions();
    if (task_.rows == Loading::vectors) {
      constexpr int vectors = Tile::depth / Tile::vector;
      const int k = thread % vectors * Tile::vector;
      const bool in_time = step.first + k < positions;
      const Element* const base = first + step.first + k;
#pragma unroll 4
      for (int row = thread / vectors; row < Tile::rows; row += Tile::threads / vectors)
        block_.template copy<Element, Tile::vector>(to + row * Tile::pitch + k, base + row * from.channel,
                                                    in_time & (row < left));
    } else if (task_.rows == Loading::by_position) {
      const int k = thread % Tile::depth;
      const int position = step.first + k;
      const bool in_time = position < positions;
      const Element* const base =
          first + position / problem_.width * from.y + position % problem_.width * from.x;
#pragma unroll 4
      for (int row = thread / Tile::depth; row < Tile::rows; row += Tile::threads / Tile::depth)
        block_.template copy<Element, 1>(to + row * Tile::pitch + k, base + row * from.channel,
                                         in_time & (row < left));
    } else {
      const int row = thread % Tile::rows;
      const Element* const base = first + row * from.channel;
#pragma unroll 1
      for (int k = thread / Tile::rows; k < Tile::depth; k += Tile::threads / Tile::rows) {
        const int position = step.first + k;
        block_.template copy<Element, 1>(
            to + row * Tile::pitch + k,
            base + position / problem_.width * from.y + position % problem_.width * from.x,
            (position < positions) & (row < left));
      }
    }
  }

  __host__ __device__ void fill_columns(const Step& step, int thread, Element* to) const {
    const Factor<Element>& from = problem_.columns;
    const Tap* const taps = block_.memory.taps[step.tile % 2];
    const Element* const first = place_.columns;
    const int positions = problem_.positions();
    const auto is_inside = [&](const Tap& tap, int y, int x) {
      return (static_cast<unsigned>(y + tap.y) < static_cast<unsigned>(problem_.columns_height)) &
             (static_cast<unsigned>(x + tap.x) < static_cast<unsigned>(problem_.columns_width));
    };
    if (task_.columns == Loading::vectors) {
      constexpr int vectors = Tile::depth / Tile::vector;
      const int k = thread % vectors * Tile::vector;
      const bool in_time = step.first + k < positions;
      const Element* const base = first + step.first + k;
#pragma unroll 4
      for (int column = thread / vectors; column < Tile::columns; column += Tile::threads / vectors) {
        const Tap tap = taps[column];
        block_.template copy<Element, Tile::vector>(to + column * Tile::pitch + k, base + tap.offset,
                                                    in_time & (tap.y != nowhere));
      }
    } else if (task_.columns == Loading::by_position) {
      const int k = thread % Tile::depth;
      const int position = step.first + k;
      const bool in_time = position < positions;
      const int y = position / problem_.width * problem_.stride_y;
      const int x = position % problem_.width * problem_.stride_x;
      const Element* const base = first + y * from.y + x * from.x;
#pragma unroll 4
      for (int column = thread / Tile::depth; column < Tile::columns; column += Tile::threads / Tile::depth) {
        const Tap tap = taps[column];
        block_.template copy<Element, 1>(to + column * Tile::pitch + k, base + tap.offset,
                                         in_time & is_inside(tap, y, x));
      }
    } else {
      const int column = thread % Tile::columns;
      const Tap tap = taps[column];
      const Element* const base = first + tap.offset;
#pragma unroll 1
      for (int k = thread / Tile::columns; k < Tile::depth; k += Tile::threads / Tile::columns) {
        const int position = step.first + k;
        const int y = position / problem_.width * problem_.stride_y;
        const int x = position % problem_.width * problem_.stride_x;
        block_.template copy<Element, 1>(to + column * Tile::pitch + k, base + y * from.y + x * from.x,
                                         (position < positions) & is_inside(tap, y, x));
      }
    }
  }

  __host__ __device__ void multiply(const Step& step, int stage) {
    const int terms = min_of(Tile::depth, problem_.positions() - step.first);
    const auto& factors = block_.memory.stages[stage];
    for (int k = 0; k < terms; k += Multiply::depth) {
      block_.each([&](int thread, auto& registers) {
        const int lane = thread % 32;
        const int row = thread / 32 / Tile::column_warps * (Tile::row_steps * 16);
        const int column = thread / 32 % Tile::column_warps * (Tile::column_steps * 8);
#pragma unroll
        for (int i = 0; i < Tile::row_steps; ++i)
          Multiply::template load<Tile::pitch>(block_, registers.rows[i],
                                               factors.rows + (row + i * 16) * Tile::pitch + k, lane);
#pragma unroll
        for (int j = 0; j < Tile::column_steps; ++j)
          Multiply::template load<Tile::pitch>(block_, registers.columns[j],
                                               factors.columns + (column + j * 8) * Tile::pitch + k, lane);
      });
      block_.multiply();
    }
  }

  /// Adds a finished tile of G to the totals of its rows. A thread that has no column in the first tile has
  /// none.
  __host__ __device__ void fold(int tile) {
    block_.each([&](int thread, auto& registers) {
      const int column =
          tile * Tile::columns + thread / 32 % Tile::column_warps * (Tile::column_steps * 8) + thread % 4 * 2;
#pragma unroll
      for (int j = 0; j < Tile::column_steps; ++j) {
#pragma unroll
        for (int right = 0; right < 2; ++right) {
          if (column + j * 8 + right >= problem_.size()) continue;
#pragma unroll
          for (int i = 0; i < Tile::row_steps; ++i) {
#pragma unroll
            for (int below = 0; below < 2; ++below) {
              const Total value = policy_.map(registers.sums[i][j][2 * below + right]);
              Total& total = registers.totals[i][below];
              total = tile == place_.begin && j + right == 0 ? value : policy_.combine(total, value);
            }
          }
        }
      }
      clear(registers);
    });
  }

  /// Joins the totals that threads have of the same row.
  __host__ __device__ void finish(Total* totals) {
    constexpr int partials = Shared<Tile, Total>::partials;
    block_.template wait<0>();
    block_.sync();
    block_.each([&](int thread, auto& registers) {
      const int row = thread / 32 / Tile::column_warps * (Tile::row_steps * 16) + thread % 32 / 4;
      const int partial = thread / 32 % Tile::column_warps * 4 + thread % 4;
      for (int i = 0; i < Tile::row_steps; ++i) {
        for (int below = 0; below < 2; ++below)
          block_.memory.totals[(row + i * 16 + below * 8) * partials + partial] = registers.totals[i][below];
      }
    });
    block_.sync();
    block_.each([&](int thread, auto&) {
      for (int row = thread; row < min_of(Tile::rows, problem_.row_count - place_.first_row);
           row += Tile::threads) {
        const Total* const of_row = block_.memory.totals + row * partials;
        Total total = of_row[0];
        for (int partial = 1; partial < partials; ++partial) {
          const int first =
              place_.begin * Tile::columns + partial / 4 * (Tile::column_steps * 8) + partial % 4 * 2;
          if (first < problem_.size()) total = policy_.combine(total, of_row[partial]);
        }
        const std::int64_t of_all =
            static_cast<std::int64_t>(place_.of_all) * problem_.row_count + place_.first_row + row;
        totals[of_all * task_.parts + place_.part] = total;
      }
    });
  }

  static constexpr int nowhere = -(1 << 30);  ///< a height that no input reaches

  Block& block_;
  const GradientTask<Element>& task_;
  const GradientProblem<Element>& problem_;
  const Policy& policy_;
  Place<Element>& place_;
};

/// The number of a unit, from the totals of its parts.
template <class Policy, class Total>
__host__ __device__ float finished(const Policy& policy, const Total* totals, int parts, int size) {
  Total total = totals[0];
  for (int part = 1; part < parts; ++part) total = policy.combine(total, totals[part]);
  return static_cast<float>(policy.finish(total, size));
}

}  // namespace detail

}  // namespace culprit::cuda
