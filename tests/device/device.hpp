// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include "engine/nets.hpp"
#include "support/tested_device.hpp"

// What the tests on any device share.
namespace culprit::test {

// Other operations, and other orders of the same sums, in float64.
inline constexpr double tolerance = 1e-10;

/// A model whose layers take each of the engine's ways, with its parameters on a device: a convolution with
/// batch norm, one that is used twice, groups, a transposed one, a linear layer, and a layer that is not
/// used.
inline visit::ModelView model_on(at::Device device, at::ScalarType dtype = at::kDouble) {
  torch::manual_seed(seed());
  const auto made = [&](const at::Tensor& tensor) { return tensor.to(device, dtype); };
  const at::Tensor first = made(weight({6, 3, 3, 3})), bias = made(normal({6})), scale = made(normal({6})),
                   mean = made(normal({6})), variance = made(at::rand({6}, at::kDouble) + 0.5),
                   twice = made(weight({6, 6, 3, 3})), grouped = made(weight({6, 3, 1, 1})),
                   up = made(weight({6, 4, 2, 2})), dense = made(weight({5, 4})),
                   unused = made(weight({2, 2, 1, 1}));
  visit::ModelView view =
      net({{"first.weight", first},
           {"first.bias", bias},
           {"norm.weight", scale},
           {"twice", twice},
           {"grouped", grouped},
           {"up", up},
           {"dense", dense},
           {"unused", unused}},
          [=](const at::Tensor& x) {
            at::Tensor y = at::conv2d(x, first, bias, /*stride=*/1, /*padding=*/1);
            y = at::batch_norm(y, scale, bias, mean, variance, false, 0.1, 1e-5, false).relu();
            y = at::conv2d(y, twice, at::Tensor(), 1, 1).relu();
            y = at::conv2d(y, twice, at::Tensor(), 2, 1).relu();
            y = at::conv2d(y, grouped, at::Tensor(), /*stride=*/1, at::IntArrayRef({0, 0}), /*dilation=*/1,
                           /*groups=*/2);
            y = at::conv_transpose2d(y, up, at::Tensor(), 2).tanh();
            return at::linear(y.mean({2, 3}), dense);
          });
  view.buffers = {{"norm.running_mean", mean}, {"norm.running_var", variance}};
  return view;
}

inline const at::Tensor& inputs() {
  static const at::Tensor all = [] {
    torch::manual_seed(seed() + 1);
    return normal({6, 3, 8, 8});
  }();
  return all;
}

inline const at::Tensor& labels() {
  static const at::Tensor all = [] {
    torch::manual_seed(seed() + 2);
    return classes(6, 5);
  }();
  return all;
}

/// The inputs and labels in three batches.
inline std::vector<std::pair<at::Tensor, at::Tensor>> batches() {
  std::vector<std::pair<at::Tensor, at::Tensor>> all;
  for (Index at = 0; at < 3; ++at)
    all.emplace_back(inputs().narrow(0, 2 * at, 2), labels().narrow(0, 2 * at, 2));
  return all;
}

/// The largest difference, as a share of the largest number.
inline double difference(const at::Tensor& there, const at::Tensor& here) {
  return (from_tested_device(there) - here).abs().max().item<double>() / here.abs().max().item<double>();
}

}  // namespace culprit::test
