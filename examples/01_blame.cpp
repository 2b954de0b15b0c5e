// SPDX-License-Identifier: MIT
// Which filters are to blame? The smallest whole use: fit a baseline, take the first mistake, print ten
// filters.
//   example_01_blame examples/weights/resnet8_fashion.safetensors /usr/share/datasets/fashion-mnist
#include <cstdlib>
#include <iostream>

// [blame]
#include "culprit/culprit.hpp"
// [/blame]
#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"

// [blame]
namespace cu = culprit;
// [/blame]

int main(int argc, char* argv[]) try {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " WEIGHTS.safetensors FASHION_MNIST_FOLDER\n";
    return 2;
  }
  const auto model = cu::zoo::make_model("resnet8_fashion");
  cu::zoo::load_weights(*model, argv[1]);
  model->eval();
  const auto images = cu::data::open_dataset(std::string("idx:") + argv[2], {});
  cu::data::Loader loader(*images, cu::data::Preprocess::preset("fashion"), {.batch = 100, .limit = 1000});

  // [blame]
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{}};
  const auto baseline = profiler.fit(model, loader);
  // [/blame]

  for (const auto& batch : loader) {
    const torch::NoGradGuard no_grad;
    const auto predicted = model->forward(batch.inputs).argmax(1);
    const auto wrong = (predicted != batch.labels).nonzero().flatten();
    if (wrong.numel() == 0) continue;
    const auto i = wrong[0].item<std::int64_t>();
    const auto label = batch.labels[i].item<std::int64_t>();
    std::cout << "class " << label << " taken for " << predicted[i].item<std::int64_t>() << "; to blame:\n";
    // [blame]
    const auto profile = profiler(model, {batch.inputs[i], label}, baseline);
    for (const auto& [layer, channel, z, unit] : profile.top(10))
      std::cout << layer << ':' << channel << "  z = " << z << '\n';
    // [/blame]
    return EXIT_SUCCESS;
  }
  std::cout << "no mistake among " << loader.size() << " images\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return EXIT_FAILURE;
}
