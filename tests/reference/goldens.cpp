// SPDX-License-Identifier: MIT
//
// Against the results of the published method: see the README.md of the shared data.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <torch/script.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "reference/golden.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"

namespace {

using culprit::Index;
using culprit::Layer;
using culprit::Profiler;
using culprit::test::baseline_of;
using culprit::test::difference_by_layer;
using culprit::test::from_tested_device;
using culprit::test::Golden;
using culprit::test::Images;
using culprit::test::load_images;

using LoopProfiler = Profiler<culprit::aggregate::MeanAbs, culprit::standardize::ZScore,
                              culprit::visit::ConvFilters, culprit::engine::Loop>;

/// How far a raw profile in float64 may be from the golden one, by the sample's loss.
///
/// The golden program takes dL/do_y = p_y - 1 by subtraction. Where p_y is near 1 its rounding, a few times
/// 2^-53 after softmax's exponentials, sum and quotient, stays as an absolute error of a result near -loss,
/// and goes into every number of the profile as a relative error near 2^-53 / loss; 16 is room for "a few".
/// This library's seed does not subtract, so the error is the golden's alone.
torch::Tensor tolerance(const torch::Tensor& losses) { return 1e-9 + 16 * std::ldexp(1.0, -53) / losses; }

/// The engine's results for the samples, in batches that fit into memory; on the CPU.
template <class P>
culprit::engine::BatchResult profiles_of(const P& profiler, const culprit::visit::Plan& plan,
                                         const Images& images, Index count) {
  std::vector<torch::Tensor> profiles, outputs, losses;
  for (Index begin = 0; begin < count; begin += 8) {
    const Index end = std::min(begin + 8, count);
    auto part = profiler.batch(plan, images.inputs.slice(0, begin, end), images.labels.slice(0, begin, end));
    profiles.push_back(from_tested_device(part.profiles));
    outputs.push_back(from_tested_device(part.outputs));
    losses.push_back(from_tested_device(part.losses));
  }
  return {torch::cat(profiles), torch::cat(outputs), torch::cat(losses)};
}

void check_layers(const std::vector<Layer>& layers, const culprit::io::Json& expected) {
  REQUIRE(layers.size() == expected.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    CHECK(layers[i].name == expected[i].at("name").as_string());
    CHECK(layers[i].first == expected[i].at("first").as_int());
    CHECK(layers[i].end() == expected[i].at("end").as_int());
    std::vector<Index> shape;
    for (const auto& extent : expected[i].at("shape").items()) shape.push_back(extent.as_int());
    CHECK(layers[i].shape == shape);
  }
}

std::vector<Index> top_units(const culprit::Profile& profile, Index k) {
  std::vector<Index> units;
  for (const auto& ranked : profile.top(k)) units.push_back(ranked.unit);
  return units;
}

std::vector<Index> row_of(const torch::Tensor& matrix, Index row) {
  const auto values = matrix[row].contiguous();
  return {values.const_data_ptr<std::int64_t>(), values.const_data_ptr<std::int64_t>() + values.numel()};
}

void check_top10(const Golden& golden, const culprit::visit::Plan& plan, const torch::Tensor& profiles) {
  const culprit::Baseline baseline = baseline_of(golden, plan);
  const culprit::RowMatrix raw = culprit::to_matrix(profiles);
  std::vector<std::vector<Index>> top10;
  for (Index row = 0; row < raw.rows(); ++row) {
    const culprit::Profile profile(plan.units, raw.row(row));
    top10.push_back(top_units(Profiler().standardize(profile, baseline), 10));
  }

  const auto z = culprit::test::golden_z(golden, golden.tensor("profiles"));
  const auto [sorted, order] = z.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  Index compared = 0;
  for (Index row = 0; row < raw.rows(); ++row) {
    const double tenth = sorted[row][9].item<double>();
    const double eleventh = sorted[row][10].item<double>();
    if (tenth - eleventh <= 1e-6 * std::abs(tenth)) continue;
    INFO("image " << row);
    CHECK(top10[static_cast<std::size_t>(row)] == row_of(order.slice(1, 0, 10), row));
    ++compared;
  }
  std::cout << golden.network << ": top 10 compared of " << compared << " images of " << raw.rows() << '\n';
  CHECK(compared >= raw.rows() / 2);  // all misclassified images at least, and half of the images are

  const auto listed = golden.tensor("top10");
  const auto facts = golden.facts();
  const auto& with_gradient = facts.at("input_gradient_images").items();
  REQUIRE(listed.size(0) == static_cast<Index>(with_gradient.size()));
  for (std::size_t i = 0; i < with_gradient.size(); ++i) {
    INFO("image " << with_gradient[i].as_int());
    CHECK(top10[static_cast<std::size_t>(with_gradient[i].as_int())] ==
          row_of(listed, static_cast<Index>(i)));
  }
}

void check_images_float64(const Golden& golden) {
  const auto facts = golden.facts();
  const auto model = golden.model(torch::kDouble);
  const auto plan = Profiler().plan(*model);
  check_layers(plan.units->layers(), facts.at("layers"));
  REQUIRE(plan.units->size() == facts.at("filters").as_int());

  const Images images = load_images(golden, facts.at("images").items(), torch::kDouble);
  const Index count = images.labels.size(0);
  const auto expected = golden.tensor("profiles");
  REQUIRE(count == expected.size(0));
  const auto result = profiles_of(Profiler(), plan, images, count);

  // One grey level in one pixel would show here: the pixels are the same.
  const auto logits = golden.tensor("logits");
  const auto logit_error = (result.outputs - logits).abs().amax(1) / logits.abs().amax(1);
  CHECK(logit_error.max().item<double>() <= 1e-12);
  const auto predictions = result.outputs.argmax(1);
  for (Index i = 0; i < count; ++i) {
    const auto& listed = facts.at("images")[static_cast<std::size_t>(i)];
    CHECK(predictions[i].item<Index>() == listed.at("prediction").as_int());
  }
  // The golden's loss is -log of a p_y near 1 where it is small: an absolute error near 2^-53.
  const auto loss_error = (result.losses - images.losses).abs() / (images.losses + 1);
  CHECK(loss_error.max().item<double>() <= 1e-14);

  const auto difference = difference_by_layer(*plan.units, result.profiles, expected);
  const auto share = difference / tolerance(images.losses);
  std::cout << golden.network << " float64: profiles differ by " << difference.median().item<double>()
            << " of the layer's largest value (median of " << count << " images), at most "
            << difference.max().item<double>() << " or " << share.max().item<double>()
            << " of what is allowed; logits by " << logit_error.max().item<double>() << ", losses by "
            << loss_error.max().item<double>() << '\n';
  CHECK(share.max().item<double>() <= 1.0);
  check_top10(golden, plan, result.profiles);

  constexpr Index handful = 4;
  const auto loop = profiles_of(LoopProfiler(), plan, images, handful);
  CHECK((difference_by_layer(*plan.units, loop.profiles, expected.slice(0, 0, handful)) /
         tolerance(images.losses.slice(0, 0, handful)))
            .max()
            .item<double>() <= 1.0);
}

/// The bounds are the project's own: an activation within rounding of 0 may be on the other side of its ReLU
/// in float32, which moves single units by more than any bound, but neither the direction nor the median.
void check_images_float32(const Golden& golden) {
  const auto facts = golden.facts();
  const auto model = golden.model(torch::kFloat32);
  const auto plan = Profiler().plan(*model);
  const Images images = load_images(golden, facts.at("images").items(), torch::kFloat32);
  const auto result = profiles_of(Profiler(), plan, images, images.labels.size(0));
  REQUIRE(result.profiles.scalar_type() == torch::kFloat32);

  const auto came = result.profiles.to(torch::kDouble);
  const auto expected = golden.tensor("profiles");
  const auto cosine = (came * expected).sum(1) / (came.norm(2, 1) * expected.norm(2, 1));
  std::vector<torch::Tensor> shares;
  for (const Layer& layer : plan.units->layers()) {
    const auto a = came.slice(1, layer.first, layer.end());
    const auto b = expected.slice(1, layer.first, layer.end());
    shares.push_back((a - b).abs() / b.amax(1, /*keepdim=*/true).clamp_min(1e-300));
  }
  const auto share = torch::cat(shares, 1);
  const auto median = std::get<0>(share.median(1));
  std::cout << golden.network << " float32: cosine similarity at least "
            << 1 - (1 - cosine).max().item<double>() << " (1 - " << (1 - cosine).max().item<double>()
            << "); relative difference: median over all units of all "
            << "images " << share.median().item<double>() << ", largest median of an image "
            << median.max().item<double>() << " (loss " << images.losses[median.argmax()].item<double>()
            << "), largest of a unit " << share.max().item<double>() << '\n';
  CHECK(cosine.min().item<double>() >= 0.9999);
  CHECK(median.max().item<double>() <= 1e-5);
}

}  // namespace

TEST_CASE("raw profiles of ResNet-20 in float64 are those of the published method", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_images_float64(culprit::test::resnet20);
}

TEST_CASE("raw profiles of ResNet-56 in float64 are those of the published method", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_images_float64(culprit::test::resnet56);
}

TEST_CASE("raw profiles of MobileNet in float64 are those of the published method", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_images_float64(culprit::test::mobilenet);
}

TEST_CASE("raw profiles of ResNet-20 in float32 keep the published direction", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_images_float32(culprit::test::resnet20);
}

TEST_CASE("raw profiles of ResNet-56 in float32 keep the published direction", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_images_float32(culprit::test::resnet56);
}

TEST_CASE("raw profiles of MobileNet in float32 keep the published direction", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  check_images_float32(culprit::test::mobilenet);
}

TEST_CASE("the paper's great white shark has the published profile and culprits", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  const Golden& golden = culprit::test::mobilenet;
  const auto shark = golden.facts().at("shark");
  const auto model = golden.model(torch::kDouble);
  const auto plan = Profiler().plan(*model);
  const Images image = load_images(golden, {shark}, torch::kDouble);
  const auto result = profiles_of(Profiler(), plan, image, 1);

  const auto logits = golden.tensor("shark.logits");
  CHECK(((result.outputs[0] - logits).abs().max() / logits.abs().max()).item<double>() <= 1e-12);
  CHECK(result.outputs.argmax(1).item<Index>() == shark.at("prediction").as_int());
  const auto expected = golden.tensor("shark.profile").unsqueeze(0);
  CHECK(difference_by_layer(*plan.units, result.profiles, expected).item<double>() <= 1e-9);
  const culprit::Profile raw(plan.units, culprit::to_matrix(result.profiles).row(0));
  CHECK(top_units(Profiler().standardize(raw, baseline_of(golden, plan)), 10) ==
        row_of(golden.tensor("shark.top10").unsqueeze(0), 0));
}

TEST_CASE("parameter-wise saliency of ResNet-20 is that of the published method", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  const Golden& golden = culprit::test::resnet20;
  const Profiler profiler{culprit::aggregate::ParameterWise{}};
  const auto model = golden.model(torch::kDouble);
  const auto plan = profiler.plan(*model);
  const Images image = load_images(golden, {golden.facts().at("images")[0]}, torch::kDouble);
  const auto profiles = from_tested_device(profiler.batch(plan, image.inputs, image.labels).profiles);

  const auto file = culprit::io::Safetensors::open(
      culprit::test::shared_data("golden/resnet20_parameterwise_image0.safetensors"));
  REQUIRE(plan.units->layers().size() == file.names().size());
  std::vector<torch::Tensor> expected;
  for (const Layer& layer : plan.units->layers()) {
    expected.push_back(culprit::zoo::detail::copy_of(file.at(layer.name)).flatten());
  }
  const double worst =
      difference_by_layer(*plan.units, profiles, torch::cat(expected).unsqueeze(0)).item<double>();
  std::cout << "resnet20 parameter-wise: differs by " << worst << " of the layer's largest value\n";
  CHECK(worst <= 1e-9);
}

TEST_CASE("a traced ResNet-20 has the profiles of the C++ module", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  CULPRIT_REQUIRE_PYTHON("safetensors");
  CULPRIT_REQUIRE_PYTHON("torchvision");
  const Golden& golden = culprit::test::resnet20;
  const culprit::test::TemporaryFolder folder;
  const auto file = folder / "resnet20.pt";
  const std::string command = std::string("OMP_NUM_THREADS=1 '") + CULPRIT_PYTHON + "' '" +
                              CULPRIT_SOURCE_DIR + "/tests/reference/trace_resnet20.py' '" +
                              culprit::test::shared_data(golden.weights).string() + "' '" + file.string() +
                              "'";
  REQUIRE(std::system(command.c_str()) == 0);
  const auto script = torch::jit::load(file.string(), culprit::test::tested_device());
  const auto script_plan = Profiler().plan(script);
  const auto model = golden.model(torch::kDouble);
  const auto plan = Profiler().plan(*model);
  CHECK(plan.units->difference(*script_plan.units).empty());

  const Images images = load_images(golden, golden.facts().at("images").items(), torch::kDouble);
  const auto of_script = profiles_of(Profiler(), script_plan, images, 16);
  const auto of_module = profiles_of(Profiler(), plan, images, 16);
  CHECK(difference_by_layer(*plan.units, of_script.profiles, of_module.profiles).max().item<double>() <=
        1e-12);
}
