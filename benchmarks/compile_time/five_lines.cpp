// SPDX-License-Identifier: MIT
#include <iostream>
#include <utility>
#include <vector>

#include <culprit/culprit.hpp>

namespace cu = culprit;

struct Model : torch::nn::Module {
  at::Tensor forward(const at::Tensor& images) {
    return at::conv2d(images, filters, {}, 1, at::IntArrayRef{1}).mean({2, 3});
  }
  at::Tensor filters = register_parameter("filters", at::randn({10, 3, 3, 3}));
};

int main() {
  Model model;
  model.eval();
  const at::Tensor image = at::randn({3, 32, 32});
  const std::int64_t label = 0;
  const std::vector<std::pair<at::Tensor, at::Tensor>> loader{
      {at::randn({100, 3, 32, 32}), at::zeros({100}, at::kLong)}};

  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{}};
  const auto baseline = profiler.fit(model, loader);
  const auto profile = profiler(model, {image, label}, baseline);
  for (const auto& [layer, channel, z, unit] : profile.top(10))
    std::cout << layer << ':' << channel << ' ' << z << '\n';
}
