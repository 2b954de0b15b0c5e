// SPDX-License-Identifier: MIT
#include "intervene/check.hpp"
#include "models/zoo.hpp"

using namespace culprit;
using namespace culprit::test;

TEST_CASE("Interventions act on a scope of every architecture, and are undone", "[reference][intervene]") {
  torch::manual_seed(11);
  const std::string name =
      GENERATE("resnet20", "resnet18", "resnet50", "vgg19", "vgg19_bn", "mobilenet_v1_025");
  INFO(name);
  const auto model = zoo::make_model(name, 10);
  const Index side = name == "resnet20" ? 32 : name.starts_with("vgg") ? 224 : 64;
  {
    const at::NoGradGuard no_grad;  // what a batch norm does at random first weights is too little to see
    for (auto& item : model->named_buffers()) {
      if (item.key().ends_with("running_mean")) item.value().normal_(0.0, 0.1);
    }
  }
  check_interventions(*model, normal({3, 3, side, side}, at::kFloat), 20);
}
