// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace culprit::figures {

/// Equally wide columns across a figure, for pictures that go on below where the width does not hold them.
class Grid {
 public:
  static constexpr double margin = 16;

  /// @param width  of the figure, in pixels; so are all lengths here
  /// @param most   pictures in the longest row, which is broken into lines of about the same length
  Grid(double width, std::size_t most, double least_side, double gap)
      : content_(width - 2 * margin), gap_(gap) {
    const auto fit = static_cast<std::size_t>(std::max(1.0, (content_ + gap) / (least_side + gap)));
    const std::size_t lines = (most + fit - 1) / fit;
    columns_ = (most + lines - 1) / lines;
    side_ = std::floor((content_ + gap) / static_cast<double>(columns_) - gap);
  }

  [[nodiscard]] std::size_t columns() const { return columns_; }
  [[nodiscard]] double side() const { return side_; }
  [[nodiscard]] double gap() const { return gap_; }
  [[nodiscard]] double content() const { return content_; }
  [[nodiscard]] double x(std::size_t column) const {
    return margin + static_cast<double>(column) * (side_ + gap_);
  }

 private:
  double content_, gap_;
  std::size_t columns_;
  double side_;
};

}  // namespace culprit::figures
