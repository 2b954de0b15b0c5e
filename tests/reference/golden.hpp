// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "culprit/core/baseline.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/profiler.hpp"
#include "culprit/tensor.hpp"
#include "data/image.hpp"
#include "data/preprocess.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"
#include "support/tested_device.hpp"

namespace culprit::test {

/// A trained network with the results that the published method gives for it: an independent program in
/// Python, float64 throughout, one image at a time.
struct Golden {
  std::string network;  ///< in the zoo
  std::string weights;  ///< name in the shared data, as the others
  std::string results;  ///< of the golden files, without extension
  std::string images;   ///< folder of the whole set
  std::string classes;  ///< file with the classes of `images`, or empty
  std::string preset;   ///< of data::Preprocess
  torch::Tensor tensor(const std::string& name) const {
    return zoo::detail::copy_of(
        io::Safetensors::open(shared_data("golden/" + results + ".safetensors")).at(name));
  }
  io::Json facts() const {
    const auto path = shared_data("golden/" + results + ".json");
    return io::parse_json(read_bytes(path), path.string());
  }
  /// On the device that is tested.
  std::shared_ptr<zoo::Classifier> model(torch::Dtype dtype) const {
    auto result = zoo::make_model(network);
    zoo::load_weights(*result, shared_data(weights));
    result->to(tested_device(), dtype);
    return result;
  }
};

inline const Golden resnet20{
    "resnet20", "weights/resnet20_cifar10.safetensors", "resnet20_cifar10_test", "cifar10/test", "",
    "cifar10"};
inline const Golden resnet56{
    "resnet56", "weights/resnet56_cifar10.safetensors", "resnet56_cifar10_test", "cifar10/test", "",
    "cifar10"};
inline const Golden mobilenet{"mobilenet_v1_025",          "weights/mobilenet_v1_025_imagenet.safetensors",
                              "mobilenet_imagenet_public", "imagenet/val",
                              "imagenet/classes.txt",      "imagenet"};

/// The images that the golden files list, in their order.
struct Images {
  torch::Tensor inputs;  ///< [N, 3, H, W]
  torch::Tensor labels;  ///< [N]
  torch::Tensor losses;  ///< [N], as the golden file says
};

/// @param entries  objects with path, label and loss
inline Images load_images(const Golden& golden, const std::vector<io::Json>& entries, torch::Dtype dtype) {
  const auto preprocess = data::Preprocess::preset(golden.preset);
  std::vector<torch::Tensor> inputs;
  std::vector<std::int64_t> labels;
  std::vector<double> losses;
  for (const io::Json& entry : entries) {
    inputs.push_back(preprocess(data::decode_image(shared_data(entry.at("path").as_string())), dtype));
    labels.push_back(entry.at("label").as_int());
    losses.push_back(entry.at("loss").as_double());
  }
  return {torch::stack(inputs), torch::tensor(labels), torch::tensor(losses, torch::kDouble)};
}

/// A baseline of the golden's statistics, for standardizing by the library's own path.
inline Baseline baseline_of(const Golden& golden, const visit::Plan& plan) {
  const auto vector = [&](const std::string& name) {
    return Eigen::VectorXd(to_matrix(golden.tensor(name).unsqueeze(0)).row(0).transpose());
  };
  const Index count = golden.facts().at("images_in_set").as_int();
  return {plan.units, Moments(count, vector("mean"), vector("std")), Profiler().fingerprint(plan)};
}

/// The largest difference between the profiles of a sample, each layer's as a share of the layer's largest
/// value.
/// @param came, expected  [N, units] @return [N]; infinity where a layer that should be all 0 is not
inline torch::Tensor difference_by_layer(const Units& units, const torch::Tensor& came,
                                         const torch::Tensor& expected) {
  torch::Tensor worst = torch::zeros({came.size(0)}, torch::kDouble);
  for (const Layer& layer : units.layers()) {
    const auto a = came.slice(1, layer.first, layer.end()).to(torch::kDouble);
    const auto b = expected.slice(1, layer.first, layer.end());
    const auto share = (a - b).abs().amax(1) / b.abs().amax(1);
    worst = torch::maximum(worst, share.nan_to_num(0.0));  // 0 / 0: a layer that is all 0 in both
  }
  return worst;
}

/// z of the published method from raw profiles and the golden statistics: 0 for a dead filter.
inline torch::Tensor golden_z(const Golden& golden, const torch::Tensor& profiles) {
  const auto deviation = golden.tensor("std");
  return torch::where(deviation <= 1e-14, 0.0, (profiles - golden.tensor("mean")) / deviation);
}

}  // namespace culprit::test
