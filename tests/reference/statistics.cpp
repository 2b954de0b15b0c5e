// SPDX-License-Identifier: MIT
//
// Mean and deviation of profiles, against the results of the published method: see the README.md of the
// shared data.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "reference/golden.hpp"
#include "support/catch.hpp"

namespace {

using culprit::Index;
using culprit::Profiler;
using culprit::test::difference_by_layer;
using culprit::test::from_tested_device;
using culprit::test::Golden;
using culprit::test::Images;
using culprit::test::load_images;

/// How far mean and deviation are from the golden ones, each layer's as a share of the layer's largest value.
struct StatisticsError {
  double mean;
  double deviation;
};

StatisticsError statistics_error(const culprit::Baseline& baseline, const torch::Tensor& mean,
                                 const torch::Tensor& deviation) {
  const auto difference = [&](const Eigen::VectorXd& came, const torch::Tensor& expected) {
    const auto row = torch::tensor(std::vector<double>(came.begin(), came.end()), torch::kDouble);
    return difference_by_layer(baseline.units(), row.unsqueeze(0), expected.unsqueeze(0)).item<double>();
  };
  return {difference(baseline.mean(), mean), difference(baseline.stddev(), deviation)};
}

/// Mean and deviation of the whole set. The golden's cancellation (see tolerance in goldens.cpp) is an
/// absolute error near 2^-53 of the seed of each sample, 16 digits below the seeds of order 1 of the wrong
/// samples that make up mean and deviation; it does not show, and the bound stays 1e-9 of the layer's largest
/// value.
void check_statistics(const Golden& golden, std::size_t batch_size) {
  const auto facts = golden.facts();
  const auto model = golden.model(torch::kDouble);
  std::optional<std::filesystem::path> classes;
  if (!golden.classes.empty()) classes = culprit::test::shared_data(golden.classes);
  const auto set =
      culprit::data::open_dataset("folder:" + culprit::test::shared_data(golden.images).string(), classes);
  const auto count = static_cast<Index>(set->size());
  REQUIRE(count == facts.at("images_in_set").as_int());
  culprit::data::Loader loader(*set, culprit::data::Preprocess::preset(golden.preset),
                               {.batch = batch_size, .dtype = torch::kDouble, .prefetch = 1});

  // As Profiler::fit, which keeps neither outputs nor losses.
  const Profiler profiler;
  const auto plan = profiler.plan(*model);
  culprit::Moments moments(plan.units->size());
  Index right = 0;
  double loss = 0;
  for (const auto& batch : loader) {
    const auto result = profiler.batch(plan, batch.inputs, batch.labels);
    moments.add(culprit::to_matrix(from_tested_device(result.profiles)));
    right += (from_tested_device(result.outputs).argmax(1) == batch.labels).sum().item<Index>();
    loss += result.losses.sum().item<double>() / static_cast<double>(count);
  }
  const culprit::Baseline baseline(plan.units, std::move(moments), profiler.fingerprint(plan));

  CHECK(baseline.count() == count);
  CHECK(static_cast<Index>(baseline.dead().size()) == facts.at("std_at_most_1e-14").as_int());
  CHECK(right == facts.at("correct").as_int());
  CHECK(count - right == facts.at("misclassified").as_int());
  CHECK(std::abs(loss - facts.at("mean_loss").as_double()) <= 1e-12 * loss);
  const auto [mean, deviation] = statistics_error(baseline, golden.tensor("mean"), golden.tensor("std"));
  std::cout << golden.network << " over " << count << " images in float64: " << right << " right, "
            << count - right << " wrong, " << baseline.dead().size() << " dead filters; mean differs by "
            << mean << " and deviation by " << deviation << " of the layer's largest value\n";
  CHECK(mean <= 1e-9);
  CHECK(deviation <= 1e-9);
}

}  // namespace

TEST_CASE("a baseline fitted to images has the mean and deviation of their published profiles",
          "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  const Golden& golden = culprit::test::resnet20;
  const auto model = golden.model(torch::kDouble);
  const Images images = load_images(golden, golden.facts().at("images").items(), torch::kDouble);
  std::vector<std::pair<torch::Tensor, torch::Tensor>> batches;
  for (Index begin = 0; begin < images.labels.size(0); begin += 24) {  // the last batch is smaller
    const Index end = std::min(begin + 24, images.labels.size(0));
    batches.emplace_back(images.inputs.slice(0, begin, end), images.labels.slice(0, begin, end));
  }
  const auto baseline = Profiler().fit(*model, batches);
  const auto profiles = golden.tensor("profiles");
  CHECK(baseline.count() == profiles.size(0));
  const auto [mean, deviation] = statistics_error(baseline, profiles.mean(0), profiles.std(0));
  CHECK(mean <= 1e-9);
  CHECK(deviation <= 1e-9);
}

TEST_CASE("mean and deviation of MobileNet over 600 ImageNet images are the published method's",
          "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_statistics(culprit::test::mobilenet, 4);
}

TEST_CASE("mean and deviation of ResNet-20 over 10,000 CIFAR-10 images are the published method's",
          "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_statistics(culprit::test::resnet20, 32);
}

TEST_CASE("mean and deviation of ResNet-56 over 10,000 CIFAR-10 images are the published method's",
          "[reference][nightly]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_statistics(culprit::test::resnet56, 32);
}

TEST_CASE("published ImageNet statistics load, with their dead filters", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("published_stats");
  struct Published {
    std::string name;
    std::size_t filters;
    std::ptrdiff_t dead;  ///< counted with numpy
  };
  for (const auto& [name, filters, dead] :
       {Published{"resnet50", 26560, 280}, Published{"vgg19", 5504, 0}, Published{"densenet121", 10240, 5},
        Published{"inception_v3", 18112, 903}}) {
    INFO(name);
    const auto file = culprit::io::Safetensors::open(
        culprit::test::shared_data("published_stats/" + name + ".safetensors"));
    const auto mean = file.read<float>("mean");
    const auto deviation = file.read<double>("std");
    CHECK(mean.size() == filters);
    CHECK(deviation.size() == filters);
    CHECK(std::all_of(mean.begin(), mean.end(), [](float value) { return value >= 0; }));
    const auto none = std::count_if(deviation.begin(), deviation.end(),
                                    [](double value) { return value <= culprit::dead_stddev; });
    std::cout << name << ": " << deviation.size() << " filters in the published statistics, " << none
              << " dead\n";
    CHECK(none == dead);
  }
}
