// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <iterator>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "culprit/core/moments.hpp"
#include "culprit/core/units.hpp"

namespace culprit {

/// The moments of numbered batches, merged in an order that the numbers alone set: two neighbours whose
/// numbers differ in the last bit, then two such pairs, and so on. Whatever comes first, and whoever has
/// which batches, the total of all has the same bits. Keeps at most 2 log2(n) moments of n batches without a
/// gap.
class MomentsTree {
 public:
  /// The batches [first, first + batches): a power of two of them, at a multiple of it.
  struct Node {
    Index first;      ///< number of the first batch
    Index batches;    ///< how many
    Moments moments;  ///< of all their samples

    [[nodiscard]] Index end() const noexcept { return first + batches; }  ///< one past the last batch
  };

  /// Of no batches yet.
  explicit MomentsTree(Index units) : units_(units) {}

  /// Takes in the moments of a batch, or of none of its samples.
  /// @throws Error (argument) for a batch that is there already, or more samples than an Index counts; Error
  /// (format) for a number below 0; Error (shape) when the number of units differs.
  void add(Index batch, Moments moments) { add(Node{batch, 1, std::move(moments)}); }

  /// Takes in what nodes() gave. @throws as for a batch; Error (format) for batches that cannot be a node.
  void add(Node node) {
    const bool possible = node.batches > 0 &&
                          std::has_single_bit(static_cast<std::make_unsigned_t<Index>>(node.batches)) &&
                          node.first >= 0 && node.first % node.batches == 0 &&
                          node.first <= std::numeric_limits<Index>::max() - node.batches;
    if (!possible) {
      throw Error(ErrorCode::format, "batches", "a power of two of them, at a multiple of it",
                  std::to_string(node.batches) + " at " + std::to_string(node.first));
    }
    if (node.moments.units() != units_) {
      throw Error(ErrorCode::shape, "moments", std::to_string(units_) + " units",
                  std::to_string(node.moments.units()));
    }
    if (node.moments.count() > std::numeric_limits<Index>::max() - count_) {
      throw Error(ErrorCode::argument, "batch " + std::to_string(node.first),
                  "a number of samples that an index counts",
                  std::to_string(node.moments.count()) + " more than " + std::to_string(count_));
    }
    auto place = std::ranges::lower_bound(nodes_, node.first, {}, &Node::first);
    const bool twice = (place != nodes_.end() && place->first < node.end()) ||
                       (place != nodes_.begin() && std::prev(place)->end() > node.first);
    if (twice) {
      throw Error(ErrorCode::argument, "batch " + std::to_string(node.first), "one that is not there yet",
                  "it a second time");
    }
    count_ += node.moments.count();
    place = nodes_.insert(place, std::move(node));
    for (;;) {
      const bool left = place->first / place->batches % 2 == 0;
      if (left ? std::next(place) == nodes_.end() : place == nodes_.begin()) return;
      if (!left) --place;
      const auto right = std::next(place);
      if (right->first != place->end() || right->batches != place->batches) return;
      place->moments.merge(right->moments);
      place->batches *= 2;
      nodes_.erase(right);
    }
  }

  /// Takes in other batches. @throws as add()
  void merge(MomentsTree other) {
    for (Node& node : other.nodes_) add(std::move(node));
  }

  [[nodiscard]] Index units() const noexcept { return units_; }  ///< of each batch's moments
  /// Samples in all batches.
  [[nodiscard]] Index count() const noexcept { return count_; }
  /// What cannot be merged yet, by number: of batches 0 to n - 1 as many as n has bits.
  [[nodiscard]] const std::vector<Node>& nodes() const noexcept { return nodes_; }

  /// Whether the batches [first, end) are there, and no others.
  [[nodiscard]] bool covers(Index first, Index end) const noexcept {
    for (const Node& node : nodes_) {
      if (node.first != std::exchange(first, node.end())) return false;
    }
    return first == end;
  }

  /// Of all batches that are there: the nodes merged from the last to the first, which are the smallest first
  /// where none is missing.
  [[nodiscard]] Moments total() const {
    Moments total(units_);
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      Moments sum = nodes_[i].moments;
      sum.merge(total);
      total = std::move(sum);
    }
    return total;
  }

 private:
  Index units_;
  Index count_ = 0;
  std::vector<Node> nodes_;  // ascending, without overlaps
};

}  // namespace culprit
