// SPDX-License-Identifier: MIT
// An aggregation of your own: the share of a filter's parameters whose gradient is above a threshold. It runs
// inside the engine's inner loop like those of the library.
#include <iostream>

#include <torch/torch.h>

#include "culprit/culprit.hpp"

namespace cu = culprit;

struct ShareAbove {
  static constexpr std::string_view name = "share_above";
  double threshold = 1e-4;

  double map(double gradient) const { return std::abs(gradient) > threshold ? 1 : 0; }
  double combine(double a, double b) const { return a + b; }
  double finish(double count, cu::Index size) const { return count / static_cast<double>(size); }
  std::string description() const { return "share above " + std::to_string(threshold); }
};
static_assert(cu::Aggregation<ShareAbove>);

struct SmallNet : torch::nn::Module {
  SmallNet() {
    register_module("conv1", conv1);
    register_module("conv2", conv2);
    register_module("linear", linear);
  }
  torch::Tensor forward(const torch::Tensor& x) { return linear(conv2(conv1(x).relu()).relu().mean({2, 3})); }
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(3, 8, 3).padding(1)};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(8, 16, 3).stride(2)};
  torch::nn::Linear linear{16, 10};
};

int main() {
  torch::manual_seed(1);
  SmallNet model;
  model.eval();
  const auto images = torch::randn({64, 3, 16, 16});
  const auto labels = torch::randint(10, {64});

  const cu::Profiler profiler{ShareAbove{.threshold = 1e-3}};
  const auto baseline = profiler.fit(model, std::vector{std::pair{images, labels}});
  const auto profile = profiler(model, {images[0], labels[0].item<std::int64_t>()}, baseline);
  for (const auto& [layer, channel, z, unit] : profile.top(3))
    std::cout << layer << ':' << channel << "  z = " << z << '\n';
}
