// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <Eigen/Core>
#include <range/v3/range/conversion.hpp>  // which nvcc 13 cannot compile: only where no CUDA code needs it
#include <range/v3/view/transform.hpp>

#include "culprit/concepts.hpp"
#include "culprit/core/order.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/core/profile_rows.hpp"
#include "culprit/detail/parallel.hpp"
#include "culprit/detail/require.hpp"
#include "culprit/distance/cosine.hpp"
#include "culprit/select/layer_range.hpp"

namespace culprit {

/// A profile found near another one.
struct Neighbor {
  Index index;      ///< place among the profiles that were searched
  double distance;  ///< to the query; of distance::Cosine, 1 - distance is the similarity

  [[nodiscard]] bool operator==(const Neighbor&) const = default;  ///< index and distance
};

/// How Neighbors searches.
struct NeighborOptions {
  Index k = 10;                               ///< how many for each query
  std::optional<std::vector<Index>> among{};  ///< the rows that are searched, ascending; nothing: all
  std::vector<Index>
      leave_out{};  ///< for each query a row that is no neighbour, such as its own; empty: none
};

namespace detail {

/// The nearest rows of one query as they come, by distances that may be off by `error`: keeps every row that
/// may still be among the k nearest, in memory that only k bounds.
class Shortlist {
 public:
  Shortlist(Index k, double error) : k_(static_cast<std::size_t>(k)), error_(error) {}

  /// @param distance_of  the exact distance of a row, asked only where the list would grow too long
  template <class Exact>
  void add(Index row, double distance, bool exact, const Exact& distance_of) {
    candidates_.push_back({row, distance, exact});
    if (candidates_.size() >= 2 * k_ + 64) shorten(distance_of);
  }

  /// A row that is farther, by its inexact distance, is none of the k nearest.
  [[nodiscard]] double bound() const noexcept { return bound_; }

  /// The k nearest by exact distance, ties by row.
  template <class Exact>
  [[nodiscard]] std::vector<Neighbor> finish(const Exact& distance_of) {
    keep_nearest(distance_of);
    std::ranges::sort(candidates_, before);
    const std::vector<Candidate> found = std::exchange(candidates_, {});
    const auto as_neighbor = [](const Candidate& each) { return Neighbor{each.row, each.distance}; };
    return found | ranges::views::transform(as_neighbor) | ranges::to<std::vector>();
  }

 private:
  struct Candidate {
    Index row;
    double distance;
    bool exact;
  };

  static bool before(const Candidate& a, const Candidate& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.row < b.row;
  }

  [[nodiscard]] auto place(std::size_t count) {
    return candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  }

  template <class Exact>
  void shorten(const Exact& distance_of) {
    drop_far();
    if (candidates_.size() < k_ + 32) return;
    keep_nearest(distance_of);  // many rows as near as the k-th, to within the error
    bound_ = std::min(bound_, std::ranges::max_element(candidates_, before)->distance + error_);
  }

  /// The k-th distance is at most the k-th inexact one and the error, and those of the k nearest no larger.
  void drop_far() {
    if (candidates_.size() <= k_) return;
    std::nth_element(candidates_.begin(), place(k_ - 1), candidates_.end(), before);
    bound_ = std::min(bound_, candidates_[k_ - 1].distance + 2 * error_);
    std::erase_if(candidates_, [&](const Candidate& each) { return each.distance > bound_; });
  }

  template <class Exact>
  void keep_nearest(const Exact& distance_of) {
    drop_far();
    for (Candidate& each : candidates_) {
      if (!each.exact) each = {each.row, distance_of(each.row), true};
    }
    if (candidates_.size() <= k_) return;
    std::nth_element(candidates_.begin(), place(k_), candidates_.end(), before);
    candidates_.resize(k_);
  }

  std::size_t k_;
  double error_;
  double bound_ = std::numeric_limits<double>::infinity();
  std::vector<Candidate> candidates_;
};

/// How far a float32 product of unit vectors that were rounded to float32 may be off the cosine of the
/// vectors: gamma_n = n u / (1 - n u), whatever the order of the sum (Higham, Accuracy and Stability of
/// Numerical Algorithms, section 3.1), with n raised by 2 for the rounding of both vectors and by 6 for that
/// in float64 and for underflow. Infinite where float32 says nothing.
inline double cosine_error(Index terms) {
  const double relative = std::ldexp(static_cast<double>(terms + 8), -24);
  if (relative >= 0.5) return std::numeric_limits<double>::infinity();
  // LibTorch may be told to round what it multiplies to eight bits first.
  const at::Float32Precision precision =
      at::globalContext().float32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL);
  const bool rounds = precision == at::Float32Precision::TF32 || precision == at::Float32Precision::BF16;
  return relative / (1 - relative) + (rounds ? std::ldexp(1.0, -6) : 0.0);
}

}  // namespace detail

/// Finds samples with the same culprits (the paper's section 3.3): the profiles nearest to a query. Exact,
/// for every distance: the k smallest of distance(query, profile) in float64, ties by index.
///
/// With distance::Cosine matrix products in float32 first tell, with a proved bound on their error, which
/// rows can be among the nearest, block by block; the distance itself is asked for these only.
template <class D = distance::Cosine>
class Neighbors {
  using DistanceRequirements = decltype(detail::require_distance<D>());

 public:
  /// @param distance  of profiles @param layers  whose units count
  explicit Neighbors(D distance = {}, select::LayerRange layers = {})
      : distance_(std::move(distance)), layers_(std::move(layers)) {}

  /// The k profiles nearest to the query, the nearest first, ties by index; all where there are fewer.
  /// @throws Error (shape) for a profile of other units than the query's, Error (argument) for k below 0,
  /// Error (numeric) naming a profile whose distance is NaN or, for distance::Cosine, that is not finite.
  [[nodiscard]] std::vector<Neighbor> operator()(const Profile& query, std::span<const Profile> profiles,
                                                 Index k) const {
    ProfileRows queries(query.shared_units());
    queries.append(query);
    ProfileRows rows(query.shared_units());
    for (const Profile& profile : profiles) rows.append(profile);
    return (*this)(queries, rows, {.k = k}).front();
  }

  /// The k rows nearest to each of the queries, as above; indices are numbers of `rows`. Beside the result
  /// it takes memory for some blocks only, however many rows there are.
  /// @throws Error (argument) also for rows in `among` that do not ascend or are not there, and for another
  /// number of rows to leave out than of queries.
  [[nodiscard]] std::vector<std::vector<Neighbor>> operator()(const ProfileRows& queries,
                                                              const ProfileRows& rows,
                                                              const NeighborOptions& options = {}) const {
    const std::string difference = queries.units().difference(rows.units());
    if (!difference.empty())
      throw Error(ErrorCode::shape, "profiles to search", "the units of the queries", difference);
    check(queries, rows, options);
    Search search{queries, options.among ? rows.subset(*options.among) : rows, options, {}, 0, 0};
    for (const std::size_t number : layers_.layers(queries.units())) {
      const Layer& layer = queries.units().layers()[number];
      search.ranges.push_back({layer.first, layer.end()});
      search.units += layer.count;
    }
    search.k = std::min(options.k, search.searched.size());
    if (search.k == 0) return std::vector<std::vector<Neighbor>>(static_cast<std::size_t>(queries.size()));
    if constexpr (std::same_as<D, distance::Cosine>) {
      return by_products(search);
    } else {
      return one_by_one(search);
    }
  }

 private:
  using Lists = std::vector<detail::Shortlist>;

  struct Search {
    const ProfileRows& queries;
    ProfileRows searched;
    const NeighborOptions& options;
    std::vector<UnitRange> ranges;
    Index units;  ///< in the ranges
    Index k;

    [[nodiscard]] Eigen::VectorXd query(Index i) const { return queries.values(i, ranges); }
    /// The number that the caller knows a searched row by.
    [[nodiscard]] Index number(Index row) const {
      return options.among ? (*options.among)[static_cast<std::size_t>(row)] : row;
    }
    [[nodiscard]] bool leaves_out(Index query, Index row) const {
      return !options.leave_out.empty() && options.leave_out[static_cast<std::size_t>(query)] == number(row);
    }
  };

  /// Some rows, and their unit vectors in float32 with one more column: 1 for a zero row, for which alone it
  /// makes the product with another zero row 1.
  struct Block {
    Index first = 0;
    Index count = 0;
    at::Tensor directions;
  };

  static void check(const ProfileRows& queries, const ProfileRows& rows, const NeighborOptions& options) {
    check_count(options.k);
    Index last = -1;
    for (const Index row : options.among.value_or(std::vector<Index>{})) {
      if (row <= last || row >= rows.size()) {
        throw Error(ErrorCode::argument, "rows to search among",
                    "ascending numbers below " + std::to_string(rows.size()), std::to_string(row));
      }
      last = row;
    }
    if (!options.leave_out.empty() && static_cast<Index>(options.leave_out.size()) != queries.size()) {
      throw Error(ErrorCode::argument, "rows to leave out",
                  std::to_string(queries.size()) + ", one for each query",
                  std::to_string(options.leave_out.size()));
    }
  }

  [[nodiscard]] double exact(const Search& search, const Eigen::VectorXd& query, Index number_of_query,
                             Index row) const {
    const double distance = distance_(query, search.searched.values(row, search.ranges));
    if (std::isnan(distance)) {
      throw Error(ErrorCode::numeric, "profile " + std::to_string(search.number(row)),
                  "a distance from query " + std::to_string(number_of_query), "NaN");
    }
    return distance;
  }

  /// The neighbours of a query, by the caller's numbers.
  [[nodiscard]] std::vector<Neighbor> finished(const Search& search, detail::Shortlist& list,
                                               Index query) const {
    const Eigen::VectorXd values = search.query(query);
    std::vector<Neighbor> nearest = list.finish([&](Index row) { return exact(search, values, query, row); });
    for (Neighbor& each : nearest) each.index = search.number(each.index);
    return nearest;
  }

  [[nodiscard]] std::vector<std::vector<Neighbor>> one_by_one(const Search& search) const {
    std::vector<std::vector<Neighbor>> found(static_cast<std::size_t>(search.queries.size()));
    detail::in_parallel(0, search.queries.size(), 1, [&](Index begin, Index end) {
      for (Index query = begin; query < end; ++query) {
        const Eigen::VectorXd values = search.query(query);
        const auto distance_of = [&](Index row) { return exact(search, values, query, row); };
        detail::Shortlist list(search.k, 0.0);
        for (Index row = 0; row < search.searched.size(); ++row) {
          if (!search.leaves_out(query, row)) list.add(row, distance_of(row), true, distance_of);
        }
        found[static_cast<std::size_t>(query)] = finished(search, list, query);
      }
    });
    return found;
  }

  [[nodiscard]] std::vector<std::vector<Neighbor>> by_products(const Search& search) const {
    constexpr Index block_values = Index{1} << 24U;
    const Index height = std::clamp<Index>(block_values / (search.units + 1), 1, 2048);
    const double error = detail::cosine_error(search.units + 1);
    // Among themselves every two rows are multiplied once, unless the lists of all would take much memory.
    const bool mutual = search.queries.size() <= (Index{1} << 17U) && search.queries == search.searched;

    const at::Tensor products = at::empty({height, height}, at::kFloat);
    Lists lists(static_cast<std::size_t>(search.queries.size()), detail::Shortlist(search.k, error));
    std::vector<std::vector<Neighbor>> found(lists.size());
    for (Index first = 0; first < search.queries.size(); first += height) {
      const Block queries = block(search, true, first, height);
      for (Index row = mutual ? first : 0; row < search.searched.size(); row += height) {
        const Block rows = mutual && row == first ? queries : block(search, false, row, height);
        at::Tensor tile = products.narrow(0, 0, queries.count).narrow(1, 0, rows.count);
        at::mm_out(tile, queries.directions, rows.directions.t());
        offer(search, lists, queries, rows, tile, true);
        if (mutual && row != first) offer(search, lists, rows, queries, tile, false);
      }
      detail::in_parallel(first, first + queries.count, 16, [&](Index begin, Index end) {
        for (Index query = begin; query < end; ++query) {
          const auto i = static_cast<std::size_t>(query);
          found[i] = finished(search, lists[i], query);
        }
      });
    }
    return found;
  }

  /// @throws Error (numeric) naming a row that is not finite.
  [[nodiscard]] static Block block(const Search& search, bool of_queries, Index first, Index height) {
    const ProfileRows& from = of_queries ? search.queries : search.searched;
    Block result{first, std::min(height, from.size() - first), {}};
    const Index columns = search.units + 1;
    result.directions = at::empty({result.count, columns}, at::kFloat);
    auto* const to = result.directions.template mutable_data_ptr<float>();
    detail::in_parallel(0, result.count, 16, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Eigen::VectorXd values = from.values(first + i, search.ranges);
        const double length = distance::length(values);
        if (!std::isfinite(length)) {
          throw Error(ErrorCode::numeric,
                      of_queries ? "query " + std::to_string(first + i)
                                 : "profile " + std::to_string(search.number(first + i)),
                      "finite numbers", "NaN or infinity");
        }
        float* const row = to + i * columns;
        const double divisor = length == 0.0 ? 1.0 : length;
        for (Index k = 0; k < search.units; ++k) row[k] = static_cast<float>(values[k] / divisor);
        row[search.units] = length == 0.0 ? 1.0F : 0.0F;
      }
    });
    return result;
  }

  /// Puts into the queries' lists what the products leave possible.
  /// @param tile  [queries, rows] where the queries go down, else [rows, queries]
  void offer(const Search& search, Lists& lists, const Block& queries, const Block& rows,
             const at::Tensor& tile, bool down) const {
    const auto* const products = tile.template const_data_ptr<float>();
    const Index pitch = tile.stride(0);
    detail::in_parallel(0, queries.count, 64, [&](Index begin, Index end) {
      std::vector<float> least;  // of each query, the least product that counts
      for (Index i = begin; i < end; ++i) least.push_back(least_product(list_of(lists, queries, i)));
      const auto take = [&](Index i, Index j, float product) {
        const Index query = queries.first + i;
        const Index row = rows.first + j;
        if (search.leaves_out(query, row)) return;
        detail::Shortlist& list = list_of(lists, queries, i);
        list.add(row, 1.0 - static_cast<double>(product), false,
                 [&](Index other) { return exact(search, search.query(query), query, other); });
        least[static_cast<std::size_t>(i - begin)] = least_product(list);
      };
      // Along the tile's memory in both cases; few products are taken.
      const float* const enough = least.data();
      if (down) {
        for (Index i = begin; i < end; ++i) {
          const float* const line = products + i * pitch;
          for (Index j = 0; j < rows.count; ++j) {
            if (line[j] >= enough[i - begin]) take(i, j, line[j]);
          }
        }
      } else {
        for (Index j = 0; j < rows.count; ++j) {
          const float* const line = products + j * pitch;
          for (Index i = begin; i < end; ++i) {
            if (line[i] >= enough[i - begin]) take(i, j, line[i]);
          }
        }
      }
    });
  }

  static detail::Shortlist& list_of(Lists& lists, const Block& queries, Index i) {
    return lists[static_cast<std::size_t>(queries.first + i)];
  }

  /// Rounded down: 1 - product and the bound are in float64.
  static float least_product(const detail::Shortlist& list) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    return std::nextafter(static_cast<float>(1.0 - list.bound()), none);
  }

  D distance_;
  select::LayerRange layers_;
};

}  // namespace culprit
