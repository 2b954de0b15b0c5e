// SPDX-License-Identifier: MIT
//
// On the models of the paper's ImageNet experiments, exported to TorchScript with random weights, and on the
// statistics that the authors published for them.
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <c10/util/Exception.h>
#include <torch/script.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "culprit/io/safetensors.hpp"
#include "intervene/check.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

namespace {

using culprit::Index;
using culprit::Layer;
using culprit::Profiler;

std::filesystem::path exported(const std::string& name) {
  return std::filesystem::path(CULPRIT_EXPORTED_MODELS) / (name + ".pt");
}

bool have_exported() {
  if (std::filesystem::exists(exported("resnet50"))) return true;
  std::cout << "SKIPPED: needs the exported models, which Python with torchvision makes\n";
  return false;
}

/// Random images in float64. @param side  small, for speed
torch::Tensor random_images(Index count, Index side) {
  torch::manual_seed(culprit::test::seed());
  return torch::randn({count, 3, side, side}, torch::kDouble);
}

/// Keeps what LibTorch warns of, in place of printing it.
class WarningRecorder : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override { messages.push_back(warning.msg()); }
  std::vector<std::string> messages;
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.rfind(from);
  return at == std::string::npos ? "" : text.replace(at, std::string::npos, to);
}

/// Batched against Loop; equal up to rounding, and without falling back to Loop.
template <class Visitor>
void check_batched(const std::string& name, const torch::Tensor& inputs, const Visitor& visitor) {
  auto model = torch::jit::load(exported(name).string());
  model.to(torch::kDouble);
  using culprit::aggregate::MeanAbs, culprit::standardize::ZScore;
  const Profiler profiler{MeanAbs{}, ZScore{}, visitor};
  const Profiler one_by_one{MeanAbs{}, ZScore{}, visitor, culprit::engine::Loop{}};
  const culprit::visit::Plan plan = profiler.plan(model);
  const auto targets = torch::tensor({3, 141}, torch::kLong);

  WarningRecorder recorder;
  culprit::engine::BatchResult batched;
  {
    const c10::WarningUtils::WarningHandlerGuard guard(&recorder);
    batched = profiler.batch(plan, inputs, targets);
  }
  CHECK(recorder.messages == std::vector<std::string>{});
  const culprit::engine::BatchResult loop = one_by_one.batch(plan, inputs, targets);

  double worst = 0;
  for (const Layer& layer : plan.units->layers()) {
    const auto a = batched.profiles.slice(1, layer.first, layer.end());
    const auto b = loop.profiles.slice(1, layer.first, layer.end());
    REQUIRE(b.amax(1).min().item<double>() > 0);
    worst = std::max(worst, ((a - b).abs().amax(1) / b.amax(1)).max().item<double>());
  }
  std::cout << name << ": batched differs from one by one by " << worst << " of the layer's largest value\n";
  CHECK(worst <= 1e-10);
  CHECK(torch::allclose(batched.losses, loop.losses, 1e-10, 0));
}

}  // namespace

TEST_CASE("exported models have as many filters as the published statistics", "[reference]") {
  if (!have_exported()) return;
  struct Model {
    std::string name;
    Index filters;
  };
  for (const auto& [name, filters] : {Model{"resnet50", 26560}, Model{"vgg19", 5504},
                                      Model{"densenet121", 10240}, Model{"inception_v3", 18112}}) {
    INFO(name);
    const auto model = torch::jit::load(exported(name).string());
    CHECK(Profiler().plan(model).units->size() == filters);
  }
}

TEST_CASE("the auxiliary head of Inception v3 is listed as unused, and only it", "[reference]") {
  if (!have_exported()) return;
  auto model = torch::jit::load(exported("inception_v3").string());
  model.to(torch::kDouble);
  const auto units = culprit::visit::trace(Profiler().plan(model), random_images(1, 96)).units;
  std::vector<std::string> unused;
  for (const Layer& layer : units->layers()) {
    INFO(layer.name);
    if (layer.uses == 0) {
      unused.push_back(layer.name);
      CHECK(layer.batch_norm.empty());
    } else {
      CHECK(layer.uses == 1);
      CHECK(layer.batch_norm == replaced(layer.name, "conv.weight", "bn"));
    }
  }
  CHECK(unused == std::vector<std::string>{"AuxLogits.conv0.conv.weight", "AuxLogits.conv1.conv.weight"});
}

TEST_CASE("filters that Inception v3 does not use are dead in its published statistics", "[reference]") {
  CULPRIT_REQUIRE_DATA("published_stats");
  if (!have_exported()) return;
  const auto model = torch::jit::load(exported("inception_v3").string());
  const auto plan = Profiler().plan(model);
  const auto file =
      culprit::io::Safetensors::open(culprit::test::shared_data("published_stats/inception_v3.safetensors"));
  const auto deviation = file.read<double>("std");
  for (const Layer& layer : plan.units->layers()) {
    INFO(layer.name);
    const auto from = deviation.begin() + layer.first;
    const auto dead =
        std::count_if(from, from + layer.count, [](double value) { return value <= culprit::dead_stddev; });
    if (layer.name.starts_with("AuxLogits.")) {
      CHECK(dead == layer.count);
    } else {
      CHECK(dead < layer.count);
    }
  }
}

TEST_CASE("an exported ResNet-50 runs batched, each convolution with its batch norm", "[reference]") {
  if (!have_exported()) return;
  check_batched("resnet50", random_images(2, 64), culprit::visit::ConvFilters{});
  auto model = torch::jit::load(exported("resnet50").string());
  model.to(torch::kDouble);
  const auto units = culprit::visit::trace(Profiler().plan(model), random_images(1, 64)).units;
  for (const Layer& layer : units->layers()) {
    INFO(layer.name);
    CHECK(layer.uses == 1);
    if (layer.name.ends_with("downsample.0.weight")) {
      CHECK(layer.batch_norm == replaced(layer.name, "0.weight", "1"));
    } else {
      const std::string number = layer.name.substr(layer.name.rfind("conv") + 4, 1);
      CHECK(layer.batch_norm == replaced(layer.name, "conv", "bn" + number));
    }
  }
}

TEST_CASE("an exported DenseNet-121 runs batched, a batch norm only where one reads a layer alone",
          "[reference]") {
  if (!have_exported()) return;
  check_batched("densenet121", random_images(2, 64), culprit::visit::ConvFilters{});
  auto model = torch::jit::load(exported("densenet121").string());
  model.to(torch::kDouble);
  const auto units = culprit::visit::trace(Profiler().plan(model), random_images(1, 64)).units;
  for (const Layer& layer : units->layers()) {
    INFO(layer.name);
    CHECK(layer.uses == 1);
    if (layer.name == "features.conv0.weight") {
      CHECK(layer.batch_norm == "features.norm0");
    } else if (layer.name.ends_with("conv1.weight")) {
      CHECK(layer.batch_norm == replaced(layer.name, "conv1", "norm2"));
    } else {
      CHECK(layer.batch_norm.empty());  // concatenated with others, or pooled, before a batch norm
    }
  }
}

TEST_CASE("Interventions act on a scope of an exported DenseNet-121 and ResNet-50, and are undone",
          "[reference][intervene]") {
  if (!have_exported()) return;
  const std::string name = GENERATE("densenet121", "resnet50");
  INFO(name);
  const auto model = torch::jit::load(exported(name).string());
  culprit::test::check_interventions(model, random_images(3, 64).to(torch::kFloat), 20);
}

TEST_CASE("exported transformers are computed batched", "[reference]") {
  if (!have_exported()) return;
  check_batched("vision_transformer", random_images(2, 32), culprit::visit::AllWeights{});
  torch::manual_seed(culprit::test::seed());
  torch::Tensor words = torch::randint(1, 50, {2, 9}, torch::kLong);
  words.index_put_({torch::indexing::Slice(), 8}, 0);  // padding
  check_batched("text_transformer", words, culprit::visit::AllWeights{});
}
