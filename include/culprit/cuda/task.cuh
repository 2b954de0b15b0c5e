// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "culprit/cuda/problem.cuh"
#include "culprit/cuda/tuning.cuh"

// From a problem to the blocks that solve it.
namespace culprit::cuda {

/// A factor, and how it comes into shared memory for some positions: plane by plane, each a band of rows of
/// numbers, of which `vector` are copied at a time. These items are the same in each plane and stage, but for
/// where they begin.
template <class T>
struct Operand {
  Factor<T> from;            ///< one plane for each of its channels
  int height;                ///< outside of it are zeros
  int width;                 ///< outside of it are zeros
  int line_y;                ///< from one row of positions to the next
  int line_x;                ///< from one row of positions to the next
  int run_x;                 ///< from one position to the next
  int rows;                  ///< of a band
  int vectors;               ///< of each
  int vector;                ///< elements
  int step_y;                ///< from one row of a band to the next
  int step_x;                ///< from one element of these to the next
  int shift;                 ///< elements before the first that is needed, so that vectors are aligned
  int padding_items;         ///< zeros behind the band, up to the terms of one multiplication
  int row_pitch;             ///< in shared memory, of a band's rows
  int pitch;                 ///< in shared memory, of planes
  bool planes_side_by_side;  ///< threads side by side take planes side by side, not items
  int lanes;                 ///< so many of them
  int item_step;             ///< from one item of a thread to the next
  int plane_step;            ///< from one plane of a thread to the next

  /// Of a plane.
  [[nodiscard]] __host__ __device__ int items() const { return rows * vectors + padding_items; }
};

/// A problem, and how it is cut up. A column tile has either all taps of its channels, or one: then there is
/// a tile for each tap, one after the other.
template <class T>
struct GradientTask {
  GradientProblem<T> problem;  ///< the whole of it
  Operand<T> rows;             ///< of the problem
  Operand<T> columns;          ///< of the problem
  int lines;                   ///< rows of positions of a stage
  int run;                     ///< positions of each
  int steps;                   ///< stages of a column tile
  int inner_y;                 ///< taps of a tile, which share a plane of the columns
  int inner_x;                 ///< taps of a tile, which share a plane of the columns
  int outer;                   ///< tiles of the same channels
  int row_tiles;               ///< of a group
  int tiles;                   ///< of columns
  int parts;                   ///< blocks that share the columns of a tile's rows
  int part_tiles;              ///< column tiles of each, but the last

  /// Columns of G that have the inner taps of so many channels.
  [[nodiscard]] __host__ __device__ int columns_of(int channels) const {
    return channels * inner_y * inner_x;
  }
};

namespace detail {

inline constexpr int most_items = 512;  ///< of a plane

[[nodiscard]] constexpr int round_up(int number, int step) { return (number + step - 1) / step * step; }

/// Whether vectors that begin with one begin with one in each row, channel, group and sample.
template <class T>
[[nodiscard]] bool is_aligned(const Operand<T>& of, int vector) {
  const Factor<T>& from = of.from;
  return from.x == 1 && of.width % vector == 0 && (of.height == 1 || from.y % vector == 0) &&
         from.channel % vector == 0 && from.group % vector == 0 && from.sample % vector == 0 &&
         reinterpret_cast<std::uintptr_t>(from.data) % (static_cast<std::uintptr_t>(vector) * sizeof(T)) == 0;
}

/// Where positions are a row, whatever rows and columns they had.
template <class T>
[[nodiscard]] GradientProblem<T> in_one_row(GradientProblem<T> problem) {
  const bool same_place = problem.taps_y == 1 && problem.taps_x == 1 && problem.stride_y == 1 &&
                          problem.stride_x == 1 && problem.padding_y == 0 && problem.padding_x == 0 &&
                          problem.width == problem.columns_width && problem.height == problem.columns_height;
  const auto contiguous = [&](const Factor<T>& from) { return from.y == problem.width * from.x; };
  if (same_place && contiguous(problem.rows) && contiguous(problem.columns)) {
    problem.width = problem.columns_width = problem.positions();
    problem.height = problem.columns_height = 1;
  }
  return problem;
}

/// Which threads copy what: those side by side copy what lies side by side.
template <class Tile, class T>
void assign_threads(Operand<T>& of, int planes) {
  of.planes_side_by_side = of.from.channel == 1 && of.from.x != 1;
  of.lanes = std::min(of.planes_side_by_side ? planes : of.items(), Tile::threads);
  of.item_step = of.planes_side_by_side ? Tile::threads / of.lanes : of.lanes;
  of.plane_step = of.planes_side_by_side ? of.lanes : Tile::threads / of.lanes;
}

/// One tap: the terms of a stage, side by side.
/// @param lines, run  of a stage, in the factor's own rows
template <class Tile, class T>
void lay_out_terms(Operand<T>& of, int lines, int run, bool may_be_vectors, int planes) {
  for (of.vector = Tile::vector; of.vector > 1; of.vector /= 2) {
    if (may_be_vectors && is_aligned(of, of.vector) && run % of.vector == 0) break;
  }
  of.rows = lines;
  of.vectors = run / of.vector;
  of.step_y = of.line_y;
  of.step_x = of.run_x;
  of.shift = 0;
  of.row_pitch = run;
  of.pitch = Tile::pitch;
  of.padding_items = (round_up(lines * run, Tile::Multiply::depth) - lines * run) / of.vector;
  assign_threads<Tile>(of, planes);
}

/// All taps of a channel in one plane: what the positions of a stage see, each number once.
/// @returns whether there is room
template <class Tile, class T>
[[nodiscard]] bool lay_out_band(const GradientTask<T>& task, Operand<T>& of) {
  const GradientProblem<T>& problem = task.problem;
  // An axis without taps needs no more than every `stride`-th.
  of.step_y = problem.taps_y == 1 ? problem.stride_y : 1;
  of.step_x = problem.taps_x == 1 ? problem.stride_x : 1;
  for (of.vector = Tile::vector; of.vector > 1; of.vector /= 2) {
    if (of.step_x == 1 && is_aligned(of, of.vector) && task.run * problem.stride_x % of.vector == 0) break;
  }
  of.shift = (of.vector - problem.padding_x % of.vector) % of.vector;
  of.rows = (task.lines - 1) * problem.stride_y / of.step_y + (problem.taps_y - 1) * problem.dilation_y + 1;
  of.vectors = (of.shift + (task.run - 1) * problem.stride_x / of.step_x +
                (problem.taps_x - 1) * problem.dilation_x + 1 + of.vector - 1) /
               of.vector;
  of.row_pitch = of.vectors * of.vector;
  // An odd number of times four banks: eight planes at four positions are then in different ones.
  constexpr int four = 16 / static_cast<int>(sizeof(T));
  of.pitch = round_up(of.rows * of.row_pitch - four, 2 * four) + four;
  of.padding_items = 0;
  const int planes =
      std::min(problem.channel_count, ((Tile::columns - 1) / (8 * problem.taps_y * problem.taps_x) + 2) * 8);
  assign_threads<Tile>(of, planes);
  return of.items() <= most_items && planes * of.pitch <= Tile::columns * Tile::pitch;
}

/// Cuts positions into stages, and says how the columns come into shared memory. Where taps share planes a
/// number is copied once; a tile for each tap is for those that would leave more than half of its products
/// without work: of stages that are cut until the planes fit, against channels that do not fill a tile.
template <class Tile, class T>
void lay_out_columns(GradientTask<T>& task) {
  const GradientProblem<T>& problem = task.problem;
  Operand<T>& columns = task.columns;
  const int runs = (problem.width + Tile::depth - 1) / Tile::depth;
  const int run = runs == 1 ? problem.width : round_up((problem.width + runs - 1) / runs, Tile::vector);
  const int lines = runs == 1 ? std::min(problem.height, Tile::depth / problem.width) : 1;
  task.run = run;
  task.lines = lines;
  task.inner_y = problem.taps_y;
  task.inner_x = problem.taps_x;
  task.outer = 1;
  const int taps = problem.taps_y * problem.taps_x;
  if (taps == 1)
    return lay_out_terms<Tile>(columns, lines, run, problem.stride_x == 1 && problem.padding_x == 0,
                               Tile::columns);
  const int channels = problem.channel_count, in_tiles = round_up(channels, Tile::columns);
  while (2 * task.lines * task.run * in_tiles >= lines * run * channels) {
    if (lay_out_band<Tile>(task, columns)) return;
    (task.lines > 1 ? task.lines : task.run) /= 2;
    if (task.run == 0) break;
  }
  task.run = run;
  task.lines = lines;
  task.inner_y = task.inner_x = 1;
  task.outer = taps;
  lay_out_terms<Tile>(columns, lines, run, false, Tile::columns);
}

/// Rows that lie one behind the other in memory are one.
template <class Tile, class T>
void lay_out_rows(GradientTask<T>& task) {
  const GradientProblem<T>& problem = task.problem;
  Operand<T>& rows = task.rows;
  const bool is_one = task.run == problem.width && problem.rows.y == problem.width * problem.rows.x;
  rows.height = is_one ? 1 : problem.height;
  rows.width = is_one ? problem.positions() : problem.width;
  rows.line_y = is_one ? 0 : 1;
  rows.line_x = is_one ? problem.width : 0;
  rows.run_x = 1;
  lay_out_terms<Tile>(rows, is_one ? 1 : task.lines, is_one ? task.lines * task.run : task.run, true,
                      Tile::rows);
}

}  // namespace detail

/// How a problem is cut up.
/// @param blocks  that the device should have at least, if there are enough columns
template <class Tile>
[[nodiscard]] GradientTask<typename Tile::Element> task_for(
    const GradientProblem<typename Tile::Element>& whole, int blocks) {
  GradientTask<typename Tile::Element> task{};
  const auto& problem = task.problem = detail::in_one_row(whole);
  task.columns.from = problem.columns;
  // What no position sees is outside, for stages have positions that there are not, and 0 * NaN is NaN.
  task.columns.height = std::clamp((problem.height - 1) * problem.stride_y +
                                       (problem.taps_y - 1) * problem.dilation_y + 1 - problem.padding_y,
                                   0, problem.columns_height);
  task.columns.width = std::clamp((problem.width - 1) * problem.stride_x +
                                      (problem.taps_x - 1) * problem.dilation_x + 1 - problem.padding_x,
                                  0, problem.columns_width);
  task.columns.line_y = problem.stride_y;
  task.columns.line_x = 0;
  task.columns.run_x = problem.stride_x;
  detail::lay_out_columns<Tile>(task);
  task.rows.from = problem.rows;
  detail::lay_out_rows<Tile>(task);

  task.steps = (problem.height + task.lines - 1) / task.lines * ((problem.width + task.run - 1) / task.run);
  task.row_tiles = (problem.row_count + Tile::rows - 1) / Tile::rows;
  task.tiles = (task.columns_of(problem.channel_count) + Tile::columns - 1) / Tile::columns * task.outer;
  const std::int64_t undivided = std::int64_t{problem.samples} * problem.groups * task.row_tiles;
  const std::int64_t parts = std::clamp<std::int64_t>((blocks + undivided - 1) / undivided, 1, task.tiles);
  task.part_tiles = static_cast<int>((task.tiles + parts - 1) / parts);
  task.parts = (task.tiles + task.part_tiles - 1) / task.part_tiles;
  return task;
}

/// Calls `use.template operator()<Tile>()` with the tile for a problem's rows.
template <class Multiply, class T, class Use>
decltype(auto) with_tile(const GradientProblem<T>& problem, const Use& use) {
  if (problem.row_count > 64) return use.template operator()<LargeTile<Multiply>>();
  if (problem.row_count > 32) return use.template operator()<MediumTile<Multiply>>();
  return use.template operator()<SmallTile<Multiply>>();
}

}  // namespace culprit::cuda
