// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <culprit/core/error.hpp>

#include "cifar_resnet.hpp"
#include "classifier.hpp"
#include "mobilenet.hpp"
#include "resnet.hpp"
#include "vgg.hpp"

namespace culprit::zoo {

/// A network that make_model knows.
struct Architecture {
  std::string_view name;
  std::int64_t classes;  ///< of the data set that it was made for
  std::shared_ptr<Classifier> (*make)(std::int64_t classes);
};

namespace detail {

template <std::int64_t Blocks>
std::shared_ptr<Classifier> cifar_resnet(std::int64_t classes) {
  return std::make_shared<CifarResNet>(CifarResNetOptions{.blocks_per_stage = Blocks, .classes = classes});
}

template <bool BatchNorm>
std::shared_ptr<Classifier> vgg19(std::int64_t classes) {
  return std::make_shared<Vgg19>(Vgg19Options{.batch_norm = BatchNorm, .classes = classes});
}

}  // namespace detail

/// All of them, in the order in which help texts list them.
inline constexpr std::array<Architecture, 11> architectures{{
    {"resnet20", 10, detail::cifar_resnet<3>},
    {"resnet32", 10, detail::cifar_resnet<5>},
    {"resnet44", 10, detail::cifar_resnet<7>},
    {"resnet56", 10, detail::cifar_resnet<9>},
    {"resnet18_cifar", 10,
     [](std::int64_t classes) -> std::shared_ptr<Classifier> {
       return std::make_shared<ResNet>(
           ResNetOptions{.small_images = true, .shortcut = "shortcut", .head = "linear", .classes = classes});
     }},
    {"resnet18", 1000,
     [](std::int64_t classes) -> std::shared_ptr<Classifier> {
       return std::make_shared<ResNet>(ResNetOptions{.classes = classes});
     }},
    {"resnet50", 1000,
     [](std::int64_t classes) -> std::shared_ptr<Classifier> {
       return std::make_shared<ResNet>(
           ResNetOptions{.blocks = {3, 4, 6, 3}, .bottleneck = true, .classes = classes});
     }},
    {"vgg19", 1000, detail::vgg19<false>},
    {"vgg19_bn", 1000, detail::vgg19<true>},
    {"mobilenet_v1_025", 1000,
     [](std::int64_t classes) -> std::shared_ptr<Classifier> {
       return std::make_shared<MobileNetV1Quarter>(classes);
     }},
    {"resnet8_fashion", 10,
     [](std::int64_t classes) -> std::shared_ptr<Classifier> {
       return std::make_shared<CifarResNet>(
           CifarResNetOptions{.blocks_per_stage = 1, .in_channels = 1, .classes = classes});
     }},
}};

/// A network by its name, in eval mode, float32, on the CPU, with LibTorch's random first weights.
/// @param classes  outputs; by default those of the data set that the architecture was made for
/// @throws Error{argument} that lists the names it knows
inline std::shared_ptr<Classifier> make_model(std::string_view name,
                                              std::optional<std::int64_t> classes = std::nullopt) {
  std::string known;
  for (const auto& architecture : architectures) {
    if (architecture.name == name) {
      auto model = architecture.make(classes.value_or(architecture.classes));
      model->eval();
      return model;
    }
    known += (known.empty() ? "" : ", ") + std::string(architecture.name);
  }
  throw Error(ErrorCode::argument, "model", "one of " + known, "'" + std::string(name) + "'");
}

}  // namespace culprit::zoo
