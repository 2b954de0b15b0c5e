// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "culprit/cuda/problem.cuh"
#include "culprit/cuda/tuning.cuh"

// From a problem to the blocks that solve it.
namespace culprit::cuda {

/// How the numbers of a factor come into shared memory.
enum class Loading {
  vectors,      ///< several at a time, of neighbouring positions
  by_position,  ///< threads side by side take positions side by side
  by_channel,   ///< threads side by side take channels side by side
};

/// A problem, and how it is cut up.
template <class T>
struct GradientTask {
  GradientProblem<T> problem;  ///< the whole of it
  Loading rows;                ///< how these are loaded
  Loading columns;             ///< how these are loaded
  int row_tiles;               ///< of a group
  int parts;                   ///< blocks that share the columns of a tile's rows
  int part_tiles;              ///< column tiles of each, but the last
};

namespace detail {

/// Whether that many neighbouring positions may be read at a time.
template <int vector, class T>
[[nodiscard]] bool has_vectors(const Factor<T>& factor, int width, int positions) {
  return factor.x == 1 && factor.y == width && positions % vector == 0 && factor.channel % vector == 0 &&
         factor.group % vector == 0 && factor.sample % vector == 0 &&
         reinterpret_cast<std::uintptr_t>(factor.data) % (vector * sizeof(T)) == 0;
}

template <int vector, class T>
[[nodiscard]] Loading loading(const Factor<T>& factor, bool contiguous, int width, int positions) {
  if (contiguous && has_vectors<vector>(factor, width, positions)) return Loading::vectors;
  return factor.channel == 1 && factor.x != 1 ? Loading::by_channel : Loading::by_position;
}

}  // namespace detail

/// How a problem is cut up.
/// @param blocks  that the device should have at least, if there are enough columns
template <class Tile>
[[nodiscard]] GradientTask<typename Tile::Element> task_for(
    const GradientProblem<typename Tile::Element>& problem, int blocks) {
  const int positions = problem.positions();
  const bool same_place = problem.taps_y == 1 && problem.taps_x == 1 && problem.stride_y == 1 &&
                          problem.stride_x == 1 && problem.padding_y == 0 && problem.padding_x == 0 &&
                          problem.width == problem.columns_width && problem.height == problem.columns_height;
  GradientTask<typename Tile::Element> task{
      .problem = problem,
      .rows = detail::loading<Tile::vector>(problem.rows, true, problem.width, positions),
      .columns = detail::loading<Tile::vector>(problem.columns, same_place, problem.width, positions),
      .row_tiles = (problem.row_count + Tile::rows - 1) / Tile::rows,
      .parts = 1,
      .part_tiles = 1};
  const int tiles = (problem.size() + Tile::columns - 1) / Tile::columns;
  const std::int64_t whole = std::int64_t{problem.samples} * problem.groups * task.row_tiles;
  const std::int64_t parts = std::clamp<std::int64_t>((blocks + whole - 1) / whole, 1, tiles);
  task.part_tiles = static_cast<int>((tiles + parts - 1) / parts);
  task.parts = (tiles + task.part_tiles - 1) / task.part_tiles;
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
