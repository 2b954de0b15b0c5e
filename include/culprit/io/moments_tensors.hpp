// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "culprit/core/moments_tree.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/io/tensor_view.hpp"

namespace culprit::io {

/// The moments of some batches as tensors of a file, bit for bit.
class MomentsTensors {
 public:
  /// Copies what the tree has.
  explicit MomentsTensors(const MomentsTree& tree)
      : mean_(static_cast<Index>(tree.nodes().size()), tree.units()), squares_(mean_.rows(), mean_.cols()) {
    for (const MomentsTree::Node& node : tree.nodes()) {
      const auto row = static_cast<Index>(first_.size());
      mean_.row(row) = node.moments.mean();
      squares_.row(row) = node.moments.squares();
      first_.push_back(node.first);
      batches_.push_back(node.batches);
      count_.push_back(node.moments.count());
    }
  }

  /// Views of these: `moments_first`, `moments_batches` and `moments_count` I64 [nodes], `moments_mean` and
  /// `moments_squares` F64 [nodes, units].
  void append_to(std::vector<std::pair<std::string, TensorView>>& tensors) const {
    for (const auto& [name, list] :
         {std::pair("moments_first", &first_), std::pair("moments_batches", &batches_),
          std::pair("moments_count", &count_)})
      tensors.emplace_back(name, view_of(std::span<const std::int64_t>(*list), {mean_.rows()}));
    for (const auto& [name, table] :
         {std::pair("moments_mean", &mean_), std::pair("moments_squares", &squares_)}) {
      tensors.emplace_back(
          name, view_of(std::span<const double>(table->data(), static_cast<std::size_t>(table->size())),
                        {table->rows(), table->cols()}));
    }
  }

 private:
  std::vector<std::int64_t> first_, batches_, count_;
  RowMatrix mean_, squares_;
};

/// What MomentsTensors gave a file.
/// @param place  the file, for errors
/// @throws Error (shape, dtype, format, numeric or argument) for what no tree of so many units can have given
[[nodiscard]] inline MomentsTree read_moments(const Safetensors& file, Index units,
                                              const std::string& place) {
  const auto first = file.read<std::int64_t>("moments_first");
  const auto nodes = static_cast<std::int64_t>(first.size());
  const auto require_shape = [&](const char* name, const std::vector<std::int64_t>& expected) {
    const std::vector<std::int64_t>& came = file.at(name).shape;
    if (came != expected)
      throw Error(ErrorCode::shape, place + ", tensor " + name, text_of(expected), text_of(came));
  };
  for (const char* const name : {"moments_first", "moments_batches", "moments_count"})
    require_shape(name, {nodes});
  for (const char* const name : {"moments_mean", "moments_squares"}) require_shape(name, {nodes, units});
  const auto batches = file.read<std::int64_t>("moments_batches");
  const auto count = file.read<std::int64_t>("moments_count");
  const Eigen::VectorXd mean = read_vector(file, "moments_mean", place);
  const Eigen::VectorXd squares = read_vector(file, "moments_squares", place);
  MomentsTree tree(units);
  for (std::size_t i = 0; i < first.size(); ++i) {
    const Index begin = static_cast<Index>(i) * units;
    try {
      tree.add({first[i], batches[i],
                Moments::restored(count[i], mean.segment(begin, units), squares.segment(begin, units))});
    } catch (const Error& error) {
      throw Error(error.code(), std::string(place).append(", tensors moments_*, ") + error.place(),
                  error.expected(), error.came());
    }
  }
  return tree;
}

}  // namespace culprit::io
