// SPDX-License-Identifier: MIT
//
// Input saliency against the results of the published method: see the README.md of the shared data.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "reference/golden.hpp"
#include "support/catch.hpp"

namespace {

using culprit::Index;
using culprit::InputGradient;
using culprit::InputSaliency;
using culprit::Profiler;
using culprit::test::baseline_of;
using culprit::test::Golden;
using culprit::test::Images;
using culprit::test::load_images;

using LoopProfiler = Profiler<culprit::aggregate::MeanAbs, culprit::standardize::ZScore,
                              culprit::visit::ConvFilters, culprit::engine::Loop>;

/// The images that the golden has G of, in its order.
std::vector<culprit::io::Json> images_with_gradient(const culprit::io::Json& facts) {
  std::vector<culprit::io::Json> entries;
  for (const auto& position : facts.at("input_gradient_images").items())
    entries.push_back(facts.at("images")[static_cast<std::size_t>(position.as_int())]);
  return entries;
}

std::vector<Index> sorted(std::vector<Index> units) {
  std::sort(units.begin(), units.end());
  return units;
}

std::vector<Index> row_of(const torch::Tensor& row) {
  const auto values = row.contiguous();
  return {values.const_data_ptr<std::int64_t>(), values.const_data_ptr<std::int64_t>() + values.numel()};
}

/// G of each image, in batches of that size; on the CPU.
template <class P>
std::vector<InputGradient> gradients_of(const P& profiler, const Golden& golden, const Images& images,
                                        torch::Dtype dtype, Index batch) {
  const auto model = golden.model(dtype);
  const auto plan = profiler.plan(*model);
  const auto baseline = baseline_of(golden, plan);
  const InputSaliency saliency{profiler};
  std::vector<InputGradient> all;
  for (Index begin = 0; begin < images.labels.size(0); begin += batch) {
    const Index end = std::min(begin + batch, images.labels.size(0));
    for (auto& one : saliency.batch(plan, images.inputs.slice(0, begin, end),
                                    images.labels.slice(0, begin, end), baseline)) {
      one.gradient = culprit::test::from_tested_device(one.gradient);
      all.push_back(std::move(one));
    }
  }
  return all;
}

/// The largest difference of any pixel and channel, as a share of the image's largest value.
double difference(const torch::Tensor& came, const torch::Tensor& expected) {
  return ((came.to(torch::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

double cosine(const torch::Tensor& came, const torch::Tensor& expected) {
  const auto a = came.to(torch::kDouble).flatten();
  const auto b = expected.flatten();
  return (a.dot(b) / (a.norm() * b.norm())).item<double>();
}

void check(const Golden& golden) {
  const auto facts = golden.facts();
  auto entries = images_with_gradient(facts);
  auto expected = golden.tensor("input_gradient");
  auto top10 = golden.tensor("top10");
  if (facts.contains("shark")) {
    entries.push_back(facts.at("shark"));
    expected = torch::cat({expected, golden.tensor("shark.input_gradient").unsqueeze(0)});
    top10 = torch::cat({top10, golden.tensor("shark.top10").unsqueeze(0)});
  }
  const auto count = static_cast<Index>(entries.size());
  REQUIRE(count == expected.size(0));

  double largest = 0;
  const Images exact = load_images(golden, entries, torch::kFloat64);
  const auto batched = gradients_of(Profiler(), golden, exact, torch::kFloat64, 5);
  constexpr Index handful = 3;
  const Images few{exact.inputs.slice(0, 0, handful), exact.labels.slice(0, 0, handful),
                   exact.losses.slice(0, 0, handful)};
  const auto loop = gradients_of(LoopProfiler(), golden, few, torch::kFloat64, handful);
  for (Index i = 0; i < count; ++i) {
    const auto n = static_cast<std::size_t>(i);
    INFO("image " << entries[n].at("path").as_string());
    CHECK(sorted(batched[n].boosted) == sorted(row_of(top10[i])));
    CHECK(batched[n].distance == Approx(entries[n].at("cosine_distance").as_double()).epsilon(1e-9));
    CHECK(batched[n].salient() == 10);
    const double apart = difference(batched[n].gradient, expected[i]);
    CHECK(apart <= 1e-7);
    largest = std::max(largest, apart);
    if (i < handful) CHECK(difference(loop[n].gradient, expected[i]) <= 1e-7);
  }

  double least = 1;
  const Images single = load_images(golden, entries, torch::kFloat32);
  const auto in_float32 = gradients_of(Profiler(), golden, single, torch::kFloat32, 5);
  for (Index i = 0; i < count; ++i) {
    const auto n = static_cast<std::size_t>(i);
    INFO("image " << entries[n].at("path").as_string());
    CHECK(in_float32[n].gradient.scalar_type() == torch::kFloat32);
    const double similarity = cosine(in_float32[n].gradient, expected[i]);
    CHECK(similarity >= 0.999);
    least = std::min(least, similarity);
  }
  std::cout << golden.network << ": G of " << count << " images, float64 differs by at most " << largest
            << " of an image's largest value; float32 has a cosine similarity of at least 1 - " << 1 - least
            << '\n';
}

}  // namespace

TEST_CASE("input saliency of ResNet-20 is that of the published method", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check(culprit::test::resnet20);
}

TEST_CASE("input saliency of ResNet-56 is that of the published method", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check(culprit::test::resnet56);
}

TEST_CASE(
    "input saliency of MobileNet, and of the paper's great white shark, is that of the published method",
    "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check(culprit::test::mobilenet);
}
