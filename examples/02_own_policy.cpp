// SPDX-License-Identifier: MIT
// An aggregation of your own, used for all that those of the library are used for.
//   example_02_own_policy examples/weights/resnet8_fashion.safetensors /usr/share/datasets/fashion-mnist
#include <iostream>

#include "culprit/culprit.hpp"
#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"

namespace cu = culprit;

// [policy]
/// By how much a filter's gradients exceed a threshold on average: small ones, however many, do not count.
struct Excess {
  static constexpr std::string_view name = "excess";
  double threshold = 1e-3;

  double map(double g) const { return std::max(std::abs(g) - threshold, 0.0); }
  double combine(double a, double b) const { return a + b; }
  double finish(double sum, cu::Index size) const { return sum / double(size); }
  double derivative(double g, double /*result*/, cu::Index size) const {  // for input saliency
    return std::abs(g) > threshold ? std::copysign(1.0 / double(size), g) : 0.0;
  }
  std::string description() const { return "excess over " + std::to_string(threshold); }
};
static_assert(cu::DifferentiableAggregation<Excess>);
// [/policy]

int main(int argc, char* argv[]) try {
  if (argc != 3) throw std::invalid_argument("usage: example_02_own_policy WEIGHTS FASHION_MNIST_FOLDER");
  const auto model = cu::zoo::make_model("resnet8_fashion");
  cu::zoo::load_weights(*model, argv[1]);
  const auto images = cu::data::open_dataset(std::string("idx:") + argv[2], {});
  cu::data::Loader loader(*images, cu::data::Preprocess::preset("fashion"), {.batch = 100, .limit = 500});
  const auto [inputs, labels, indices] = *loader.begin();

  // [use]
  const cu::Profiler profiler{Excess{.threshold = 1e-4}};
  const auto baseline = profiler.fit(model, loader);
  const auto plan = profiler.plan(model);
  const auto raw = profiler.batch(plan, inputs, labels).profiles;  // [100, units]
  const auto profiles = profiler.standardize(raw, profiler.part(baseline, plan));
  for (const auto& [layer, channel, z, unit] : profiles[23].top(3))
    std::cout << layer << ':' << channel << "  z = " << z << '\n';
  const auto why = cu::InputSaliency{profiler}(model, {inputs[23], labels[23].item<cu::Index>()}, baseline);
  std::cout << "most salient pixel: " << cu::pixel_saliency(why.gradient).argmax().item<cu::Index>() << '\n';
  for (const auto& [index, distance] : cu::Neighbors{}(profiles[23], profiles, 4))
    std::cout << "image " << index << " at distance " << distance << '\n';
  // [/use]
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', EXIT_FAILURE;
}
