// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include "engine/nets.hpp"

namespace culprit::test {

/// A small network whose layers are named as VGG's are, with some data.
struct Bench {
  Bench() {
    torch::manual_seed(seed());
    const at::Tensor first = weight({4, 3, 3, 3});
    const at::Tensor second = weight({6, 4, 3, 3});
    const at::Tensor third = weight({8, 6, 3, 3});
    const at::Tensor last = weight({5, 8});
    model = net({{"features.0.weight", first},
                 {"features.19.weight", second},
                 {"features.21.weight", third},
                 {"classifier.weight", last}},
                [=](const at::Tensor& x) {
                  const at::Tensor a = at::conv2d(x, first, {}, 1, 1).tanh();
                  const at::Tensor b = at::conv2d(a, second, {}, 1, 1).tanh();
                  return at::linear(at::conv2d(b, third).tanh().mean({2, 3}), last);
                });
    inputs = normal({40, 3, 6, 6});
    targets = classes(40, 5);
    loader = {{inputs, targets}};
    image = inputs[3];
    label = targets[3].item<Index>();
  }

  visit::ModelView model;
  at::Tensor inputs, targets;
  std::vector<std::pair<at::Tensor, at::Tensor>> loader;
  at::Tensor image;
  Index label = 0;
};

inline bool usable(const at::Tensor& gradient) {
  return gradient.isfinite().all().item<bool>() && gradient.abs().max().item<double>() > 0.0;
}

}  // namespace culprit::test
