// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "culprit/cuda/shared_memory.cuh"
#include "culprit/cuda/task.cuh"

// The work of one block of threads, on the device or, for tests, on the host. A Block has
//   each(f)           f(thread, registers) for each of its threads, which need not have come so far when it
//                     returns: f has copies of what is local
//   sync()            waits for all threads
//   copy<T, n>(to, from, valid)   n elements into shared memory, or zeros; there after a wait
//   commit(), wait<pending>()     groups of copies, as cp.async has them
//   multiply()        the products of all steps of each warp
//   matrices(to, at, lane)   four matrices of 8 rows of 16 bytes, at(8 i + r) is row r of matrix i: the
//   thread
//                     gets word lane % 4 of row lane / 4 of each
//   tf32(bits)        of a number, rounded
//   memory            shared memory
namespace culprit::cuda {

namespace detail {

template <class Tile, class Total>
struct Registers {
  using Multiply = typename Tile::Multiply;
  typename Multiply::Rows rows[Tile::row_steps];
  typename Multiply::Columns columns[Tile::column_steps / 2][2];
  int begin[Tile::column_steps][Multiply::own_columns];
  float sums[Tile::row_steps][Tile::column_steps][4];
  Total totals[Tile::row_steps][2];
};

/// A stage of one column tile after the other: the first of its positions.
struct Step {
  int tile, y, x;

  template <class Task>
  [[nodiscard]] __host__ __device__ Step after(const Task& task) const {
    if (x + task.run < task.problem.width) return {tile, y, x + task.run};
    if (y + task.lines < task.problem.height) return {tile, y + task.lines, 0};
    return {tile + 1, 0, 0};
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
    block_.each([=, this](int thread, auto& registers) {
      clear(registers);
      if (thread == 0) place_ = place(number);
      auto& memory = block_.memory;
      memory.row_starts[thread] = start(task_.rows, thread);
      memory.column_starts[thread] = start(task_.columns, thread);
      find_items(task_.rows, thread, memory.row_items);
      find_items(task_.columns, thread, memory.column_items);
      if (thread < Tile::depth) memory.terms[thread] = term(thread);
    });
    block_.sync();
  }

  /// @param totals  [samples * groups * row_count, parts]: the block writes those of its rows and its part
  __host__ __device__ void operator()(Total* totals) {
    constexpr int behind = Tile::stages - 1;  // what is multiplied is so many stages behind what is filled
    Step filled{place_.begin, 0, 0};
    prepare(filled);
    int tile = place_.begin, left = task_.steps;
    for (int i = 0; tile < place_.end; ++i) {
      block_.template wait<behind - 1>();
      block_.sync();
      fill(filled, i % Tile::stages);
      filled = filled.after(task_);
      prepare(filled);
      if (i < behind) continue;
      if (task_.columns_of(1) == 1) {
        multiply<false>(tile, (i - behind) % Tile::stages);
      } else {
        multiply<true>(tile, (i - behind) % Tile::stages);
      }
      if (--left > 0) continue;
      fold(tile);
      ++tile;
      left = task_.steps;
    }
    finish(totals);
  }

 private:
  static __host__ __device__ int min_of(int a, int b) { return a < b ? a : b; }

  [[nodiscard]] __host__ __device__ Place<Element> place(int number) const {
    Place<Element> place;
    place.part = number % task_.parts;
    number /= task_.parts;
    place.first_row = number % task_.row_tiles * Tile::rows;
    place.of_all = number / task_.row_tiles;
    const int group = place.of_all % problem_.groups;
    const std::int64_t sample = place.of_all / problem_.groups;
    const auto of_group = [&](const Factor<Element>& from) {
      return from.data + sample * from.sample + group * from.group;
    };
    place.rows =
        of_group(task_.rows.from) + static_cast<std::int64_t>(place.first_row) * task_.rows.from.channel;
    place.columns = of_group(task_.columns.from);
    place.begin = place.part * task_.part_tiles;
    place.end = min_of(task_.tiles, place.begin + task_.part_tiles);
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

  [[nodiscard]] __host__ __device__ static Start start(const Operand<Element>& of, int thread) {
    const auto beside = static_cast<short>(thread % of.lanes), behind = static_cast<short>(thread / of.lanes);
    if (behind >= Tile::threads / of.lanes) return {static_cast<short>(of.items()), 0};  // nothing
    return of.planes_side_by_side ? Start{behind, beside} : Start{beside, behind};
  }

  __host__ __device__ static void find_items(const Operand<Element>& of, int thread, Item* items) {
    for (int i = thread; i < of.items(); i += Tile::threads) {
      const int padding = i - of.rows * of.vectors;
      const int row = i / of.vectors, x = i % of.vectors * of.vector;
      if (padding < 0) {
        items[i] = {row * of.step_y, static_cast<short>(x * of.step_x - of.shift),
                    static_cast<short>(row * of.row_pitch + x)};
      } else {
        items[i] = {nowhere, 0, static_cast<short>(of.rows * of.row_pitch + padding * of.vector)};
      }
    }
  }

  /// Where a position of a stage begins in planes that taps share, in bytes. Behind the last one rows are
  /// zero.
  [[nodiscard]] __host__ __device__ int term(int k) const {
    const Operand<Element>& of = task_.columns;
    if (k >= task_.lines * task_.run) return 0;
    return (k / task_.run * (problem_.stride_y / of.step_y) * of.row_pitch +
            k % task_.run * (problem_.stride_x / of.step_x)) *
           static_cast<int>(sizeof(Element));
  }

  /// Finds what a tile has, before it is filled for the first time. Columns are eight channels at a tap, the
  /// same at the next one, and so on; then come the next eight channels.
  __host__ __device__ void prepare(const Step& step) {
    if (step.y != 0 || step.x != 0 || step.tile >= place_.end) return;
    block_.each([=, this](int thread, auto&) {
      Columns<Tile>& tile = block_.memory.columns[step.tile % (Tile::stages + 1)];
      const int octet = task_.columns_of(8), channels = problem_.channel_count;
      const int first = step.tile / task_.outer * Tile::columns, tap = step.tile % task_.outer;
      const int last = min_of(task_.columns_of(channels), first + Tile::columns) - 1;
      const int channel = first / octet * 8;
      if (thread == 0) {
        tile.count = last + 1 - first;
        tile.channel = channel;
        tile.channels = min_of(channels, (last / octet + 1) * 8) - channel;
        tile.y = tap / problem_.taps_x * problem_.dilation_y - problem_.padding_y;
        tile.x = tap % problem_.taps_x * problem_.dilation_x - problem_.padding_x;
      }
      if (octet == 8) return;
      const Operand<Element>& of = task_.columns;
#pragma unroll 1
      for (int i = thread; i < Tile::columns; i += Tile::threads) {
        const int column = min_of(first + i, last), behind = column / octet * 8, in_octet = column % octet;
        const int beside = min_of(8, channels - behind), inner = in_octet / beside;
        tile.begin[i] = ((behind + in_octet % beside - channel) * of.pitch + of.shift +
                         inner / task_.inner_x * problem_.dilation_y * of.row_pitch +
                         inner % task_.inner_x * problem_.dilation_x) *
                        static_cast<int>(sizeof(Element));
      }
    });
  }

  /// Begins to copy the factors of the next terms.
  __host__ __device__ void fill(const Step& step, int stage) {
    if (step.tile < place_.end) {
      block_.each([=, this](int thread, auto&) {
        auto& memory = block_.memory;
        const Columns<Tile>& tile = memory.columns[step.tile % (Tile::stages + 1)];
        fill(task_.rows, memory.row_starts[thread], place_.rows,
             min_of(Tile::rows, problem_.row_count - place_.first_row), step, 0, 0, memory.row_items,
             memory.stages[stage].rows);
        fill(task_.columns, memory.column_starts[thread],
             place_.columns + static_cast<std::int64_t>(tile.channel) * task_.columns.from.channel,
             tile.channels, step, tile.y, tile.x, memory.column_items, memory.stages[stage].columns);
      });
    }
    block_.commit();
  }

  /// @param first  plane @param y, x  where its first position is
  __host__ __device__ void fill(const Operand<Element>& of, Start start, const Element* first, int planes,
                                const Step& step, int y, int x, const Item* items, Element* to) const {
    y += step.y * of.line_y;
    x += step.y * of.line_x + step.x * of.run_x;
    static_assert(Tile::vector == 4);
    switch (of.vector) {
      case 4:
        return fill<4>(of, start, first, planes, y, x, items, to);
      case 2:
        return fill<2>(of, start, first, planes, y, x, items, to);
      default:
        return fill<1>(of, start, first, planes, y, x, items, to);
    }
  }

  // What is not valid has no bytes to be read, wherever it would be: its place is computed modulo 2^32.
  template <int vector>
  __host__ __device__ void fill(const Operand<Element>& of, Start start, const Element* first, int planes,
                                int y, int x, const Item* items, Element* to) const {
    const int count = of.items();
    for (int i = start.item; i < count; i += of.item_step) {
      const Item item = items[i];
      const auto item_y = static_cast<unsigned>(y + item.y), item_x = static_cast<unsigned>(x + item.x);
      const bool inside =
          (item_y < static_cast<unsigned>(of.height)) & (item_x < static_cast<unsigned>(of.width));
      unsigned from = item_y * static_cast<unsigned>(of.from.y) + item_x * static_cast<unsigned>(of.from.x) +
                      static_cast<unsigned>(start.plane) * static_cast<unsigned>(of.from.channel);
      Element* there = to + item.to + start.plane * of.pitch;
#pragma unroll 4
      for (int plane = start.plane; plane < planes; plane += of.plane_step) {
        block_.template copy<Element, vector>(there, first + static_cast<int>(from), inside);
        from += static_cast<unsigned>(of.plane_step) * static_cast<unsigned>(of.from.channel);
        there += of.plane_step * of.pitch;
      }
    }
  }

  template <bool shared_planes>
  __host__ __device__ void multiply(int tile, int stage) {
    const int terms = task_.lines * task_.run;
    if constexpr (shared_planes) {
      block_.each([=, this](int thread, auto& registers) {
        const int* const begin =
            block_.memory.columns[tile % (Tile::stages + 1)].begin + first_column(thread);
#pragma unroll
        for (int j = 0; j < Tile::column_steps; ++j) {
#pragma unroll
          for (int i = 0; i < Multiply::own_columns; ++i)
            registers.begin[j][i] = begin[j * 8 + Multiply::own_column(thread % 32, i)];
        }
      });
    }
#pragma unroll 1  // two at a time take more registers than there are
    for (int k = 0; k < terms; k += Multiply::depth) {
      block_.each([=, this](int thread, auto& registers) {
        const auto& factors = block_.memory.stages[stage];
        const int lane = thread % 32;
        const int row = thread / 32 / Tile::column_warps * (Tile::row_steps * 16);
#pragma unroll
        for (int i = 0; i < Tile::row_steps; ++i)
          Multiply::template load<Tile::pitch>(block_, registers.rows[i],
                                               factors.rows + (row + i * 16) * Tile::pitch + k, lane);
        if constexpr (shared_planes) {
          const auto places = Multiply::places(block_.memory.terms + k, lane);
#pragma unroll
          for (int j = 0; j < Tile::column_steps; ++j)
            Multiply::gather(block_, registers.columns[j / 2][j % 2], factors.columns, registers.begin[j],
                             places);
        } else {
#pragma unroll
          for (int j = 0; j < Tile::column_steps; j += 2)
            Multiply::template load<Tile::pitch>(
                block_, registers.columns[j / 2],
                factors.columns + (first_column(thread) + j * 8) * Tile::pitch + k, lane);
        }
      });
      block_.multiply();
    }
  }

  /// Of a thread's warp, in the tile.
  [[nodiscard]] static __host__ __device__ int first_column(int thread) {
    return thread / 32 % Tile::column_warps * (Tile::column_steps * 8);
  }

  /// Adds a finished tile of G to the totals of its rows. A thread that has no column in the first tile has
  /// none.
  __host__ __device__ void fold(int tile) {
    block_.each([=, this](int thread, auto& registers) {
      const int column = first_column(thread) + thread % 4 * 2;
      const int count = block_.memory.columns[tile % (Tile::stages + 1)].count;
#pragma unroll
      for (int j = 0; j < Tile::column_steps; ++j) {
#pragma unroll
        for (int right = 0; right < 2; ++right) {
          if (column + j * 8 + right >= count) continue;
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
    block_.each([=, this](int thread, auto& registers) {
      const int row = thread / 32 / Tile::column_warps * (Tile::row_steps * 16) + thread % 32 / 4;
      const int partial = thread / 32 % Tile::column_warps * 4 + thread % 4;
      for (int i = 0; i < Tile::row_steps; ++i) {
        for (int below = 0; below < 2; ++below)
          block_.memory.totals[(row + i * 16 + below * 8) * partials + partial] = registers.totals[i][below];
      }
    });
    block_.sync();
    block_.each([=, this](int thread, auto&) {
      for (int row = thread; row < min_of(Tile::rows, problem_.row_count - place_.first_row);
           row += Tile::threads) {
        const Total* const of_row = block_.memory.totals + row * partials;
        Total total = of_row[0];
        for (int partial = 1; partial < partials; ++partial) {
          const int first = place_.begin / task_.outer * Tile::columns +
                            partial / 4 * (Tile::column_steps * 8) + partial % 4 * 2;
          if (first < task_.columns_of(problem_.channel_count))
            total = policy_.combine(total, of_row[partial]);
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
