// SPDX-License-Identifier: MIT
#include "intervene/check.hpp"
#include "models/zoo.hpp"
#include "reference/golden.hpp"

using namespace culprit;
using namespace culprit::test;

TEST_CASE("Interventions act on a scope of every architecture, and are undone", "[reference][intervene]") {
  CULPRIT_REQUIRE_DEVICE();
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
  model->to(tested_device());
  check_interventions(*model, normal({3, 3, side, side}, at::kFloat).to(tested_device()), 20);
}

TEST_CASE("Pruning many samples at once gives the figures of the loop that edits the weights",
          "[reference][intervene]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  std::vector<io::Json> entries;  // ten images of each class
  const std::vector<std::string> names{"airplane", "automobile", "bird",  "cat",  "deer",
                                       "dog",      "frog",       "horse", "ship", "truck"};
  for (std::size_t label = 0; label < names.size(); ++label) {
    for (int i = 0; i < 10; ++i) {
      const std::string path = "cifar10/test/" + names[label] + "/000" + std::to_string(i) + ".jpg";
      entries.push_back(io::Json::object({{"path", path}, {"label", label}, {"loss", 0.0}}));
    }
  }
  const Images images = load_images(resnet20, entries, torch::kFloat);
  const auto model = resnet20.model(torch::kFloat);
  const torch::Tensor& inputs = images.inputs;
  const visit::Plan plan = visit::trace(Profiler{}.plan(*model), inputs.slice(0, 0, 1));
  const Baseline baseline = baseline_of(resnet20, plan);
  const torch::Tensor raw = Profiler{}.batch(plan, inputs, images.labels).profiles;
  for (const Index k : {1, 10, 100}) {
    std::vector<std::vector<Index>> units;
    for (const Profile& z : Profiler{}.standardize(raw, baseline))
      units.push_back(z.select(select::Top{.count = k}));
    const torch::Tensor at_once =
        from_tested_device(intervene::outputs_pruned_each(plan, inputs, units)).softmax(1);
    for (Index i = 0; i < inputs.size(0); ++i) {
      const intervene::Scope scope(intervene::Prune{}, plan,
                                   {inputs[i], 0, units[static_cast<std::size_t>(i)]});
      INFO("k " << k << ", image " << i);
      CHECK((at_once[i] - from_tested_device(scope.outputs()).softmax(0)).abs().max().item<double>() < 1e-4);
    }
  }
}
