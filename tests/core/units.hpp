// SPDX-License-Identifier: MIT
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>
#include <culprit/core/units.hpp>

#include "support/not_finite.hpp"

namespace culprit::test {

inline Layer layer(std::string name, Index count, Index size) {
  Layer made;
  made.name = std::move(name);
  made.shape = {count, size};
  made.count = count;
  made.size = size;
  return made;
}

inline std::shared_ptr<const Units> three_layers() {
  return std::make_shared<const Units>(std::vector{layer("a", 3, 27), layer("b", 1, 9), layer("c", 4, 36)});
}

inline Eigen::VectorXd vector(std::initializer_list<double> values) {
  return Eigen::Map<const Eigen::VectorXd>(values.begin(), static_cast<Index>(values.size()));
}

}  // namespace culprit::test
