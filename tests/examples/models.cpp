// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <culprit/io/json.hpp>
#include <culprit/io/safetensors.hpp>
#include <torch/torch.h>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "data/loader.hpp"
#include "data/preprocess.hpp"
#include "io/error_of.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

namespace {

using culprit::Error;
using culprit::ErrorCode;
using culprit::test::error_of;
using culprit::test::TemporaryFolder;
using culprit::zoo::load_weights;
using culprit::zoo::make_model;
using culprit::zoo::save_weights;
using NamedViews = std::vector<std::pair<std::string, culprit::io::TensorView>>;

/// The largest difference, as a share of the largest reference value.
double relative_difference(const torch::Tensor& came, const torch::Tensor& expected) {
  return (came - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

torch::Tensor read_tensor(const culprit::io::Safetensors& file, const std::string& name) {
  return culprit::zoo::detail::copy_of(file.at(name));
}

std::vector<torch::Tensor> copies(const torch::nn::Module& module) {
  std::vector<torch::Tensor> result;
  for (const auto& [name, tensor] : culprit::zoo::detail::state_of(module)) {
    result.push_back(tensor.clone());
  }
  return result;
}

bool same(const std::vector<torch::Tensor>& left, const std::vector<torch::Tensor>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const auto& a, const auto& b) { return torch::equal(a, b); });
}

NamedViews views_of(const culprit::io::Safetensors& file) {
  NamedViews views;
  for (const auto& name : file.names()) {
    views.emplace_back(name, file.at(name));
  }
  return views;
}

}  // namespace

// The same LibTorch computes both sides in float32, so that only the order of a few sums can differ (the mean
// over positions). One rounding is 2^-24 = 6e-8 and such errors grow with the square root of their number:
// about 50 layers of them stay below 1e-6 of the largest logit. The bound is 1e-5; any wrong stride, slope,
// padding or layer moves logits by far more, because every layer of the reference is alive (see
// model_references.py).
TEST_CASE("every network of the zoo computes the logits of its PyTorch definition", "[examples]") {
  CULPRIT_REQUIRE_PYTHON("torchvision");
  CULPRIT_REQUIRE_PYTHON("safetensors");
  const TemporaryFolder folder;
  std::string command = std::string("OMP_NUM_THREADS=1 '") + CULPRIT_PYTHON + "' '" + CULPRIT_SOURCE_DIR +
                        "/tests/examples/model_references.py' '" + folder.path().string() + "'";
  for (const auto& architecture : culprit::zoo::architectures) {
    command += " " + std::string(architecture.name);
  }
  REQUIRE(std::system(command.c_str()) == 0);

  const torch::NoGradGuard no_grad;
  for (const auto& architecture : culprit::zoo::architectures) {
    const std::string name(architecture.name);
    INFO(name);
    const auto weights = folder / (name + ".weights.safetensors");
    const auto model = make_model(name);
    load_weights(*model, weights);
    std::string order;
    for (const auto& parameter : model->named_parameters()) {
      order += (order.empty() ? "" : "\n") + parameter.key();
    }
    CHECK(order == culprit::io::Safetensors::open(weights).metadata().at("parameters"));
    const auto answers = culprit::io::Safetensors::open(folder / (name + ".answers.safetensors"));
    CHECK(relative_difference(model->forward(read_tensor(answers, "input")),
                              read_tensor(answers, "logits")) <= 1e-5);
    std::filesystem::remove(weights);
  }
}

TEST_CASE("a network that the zoo does not know is refused with the names that it knows", "[examples]") {
  const Error error = error_of([] { static_cast<void>(make_model("resnet21")); });
  CHECK(error.code() == ErrorCode::argument);
  CHECK(error.came() == "'resnet21'");
  for (const auto& architecture : culprit::zoo::architectures) {
    CHECK(error.expected().find(architecture.name) != std::string::npos);
  }
}

TEST_CASE("a network has the number of classes that was asked for", "[examples]") {
  const auto model = make_model("mobilenet_v1_025", 37);
  CHECK(model->forward(torch::zeros({2, 3, 32, 32})).sizes() == torch::IntArrayRef({2, 37}));
}

TEST_CASE("weights come back bit for bit, with their metadata", "[examples]") {
  const TemporaryFolder folder;
  const auto saved = make_model("resnet8_fashion");
  save_weights(*saved, folder / "weights.safetensors", {{"seed", "7"}});
  CHECK(culprit::io::Safetensors::open(folder / "weights.safetensors").metadata().at("seed") == "7");
  const auto loaded = make_model("resnet8_fashion");
  REQUIRE_FALSE(same(copies(*saved), copies(*loaded)));
  load_weights(*loaded, folder / "weights.safetensors");
  CHECK(same(copies(*saved), copies(*loaded)));
}

TEST_CASE("weights of float32 are widened for a model of float64", "[examples]") {
  const TemporaryFolder folder;
  const auto saved = make_model("resnet8_fashion");
  save_weights(*saved, folder / "weights.safetensors", {});
  const auto loaded = make_model("resnet8_fashion");
  loaded->to(torch::kFloat64);
  load_weights(*loaded, folder / "weights.safetensors");
  CHECK(torch::equal(loaded->parameters().back(), saved->parameters().back().to(torch::kFloat64)));
}

TEST_CASE("weights without batch counts are complete", "[examples]") {
  const TemporaryFolder folder;
  const auto saved = make_model("resnet8_fashion");
  save_weights(*saved, folder / "all.safetensors", {});
  const auto file = culprit::io::Safetensors::open(folder / "all.safetensors");
  auto views = views_of(file);
  CHECK(std::erase_if(views, [](const auto& view) { return view.first.ends_with("num_batches_tracked"); }) ==
        7);
  culprit::io::write_safetensors(folder / "some.safetensors", views);
  const auto loaded = make_model("resnet8_fashion");
  load_weights(*loaded, folder / "some.safetensors");
  CHECK(same(copies(*saved), copies(*loaded)));
}

TEST_CASE("wrong weights are refused with all that is wrong, and change nothing", "[examples]") {
  const TemporaryFolder folder;
  const auto path = folder / "weights.safetensors";
  const auto model = make_model("resnet8_fashion");
  save_weights(*model, folder / "right.safetensors", {});
  const auto file = culprit::io::Safetensors::open(folder / "right.safetensors");
  auto views = views_of(file);
  const std::vector<std::int64_t> integers(16 * 9, 1);
  const std::vector<float> floats(11, 1.0F);
  std::erase_if(views, [](const auto& view) { return view.first == "layer2.0.conv1.weight"; });
  for (auto& [name, view] : views) {
    if (name == "conv1.weight") {
      view = culprit::io::view_of<std::int64_t>(integers, {16, 1, 3, 3});
    } else if (name == "linear.bias") {
      view = culprit::io::view_of<float>(floats, {11});
    }
  }
  views.emplace_back("fc.bias", culprit::io::view_of<float>(floats, {11}));
  culprit::io::write_safetensors(path, views);

  const auto before = copies(*model);
  for (auto& parameter : model->parameters()) {
    const torch::NoGradGuard no_grad;
    parameter.add_(1);
  }
  const auto changed = copies(*model);
  const Error error = error_of([&] { load_weights(*model, path); });
  CHECK(error.code() == ErrorCode::model);
  CHECK(error.place() == path.string());
  CHECK(error.came() ==
        "conv1.weight of type I64 instead of Float; missing layer2.0.conv1.weight [32, 16, 3, 3]; "
        "linear.bias of shape [11] instead of [10]; extra fc.bias [11]");
  CHECK(same(copies(*model), changed));
  CHECK_FALSE(same(before, changed));
}

TEST_CASE("weights with NaN, or too large for the model's type, are refused by name", "[examples]") {
  const TemporaryFolder folder;
  const auto path = folder / "weights.safetensors";
  const auto model = make_model("resnet8_fashion");
  const auto before = copies(*model);
  const auto broken = make_model("resnet8_fashion");
  double value = 0;
  SECTION("NaN") { value = std::numeric_limits<double>::quiet_NaN(); }
  SECTION("infinity") { value = std::numeric_limits<double>::infinity(); }
  SECTION("finite in float64 only") { value = 1e300; }
  broken->to(torch::kFloat64);
  {
    const torch::NoGradGuard no_grad;
    broken->named_parameters()["layer3.0.bn2.weight"][5] = value;
  }
  save_weights(*broken, path, {});
  const Error error = error_of([&] { load_weights(*model, path); });
  CHECK(error.code() == ErrorCode::numeric);
  CHECK(error.place() == path.string() + ", tensor layer3.0.bn2.weight");
  CHECK(error.came() == "1 of 64 that are NaN or infinite");
  CHECK(same(copies(*model), before));
}

// Float64 on both sides: 56 layers of sums rounded at 2^-53 = 1.1e-16 stay far below 1e-11.
TEST_CASE("published weights give the reference logits", "[examples]") {
  CULPRIT_REQUIRE_DATA("golden");
  using culprit::test::shared_data;
  const torch::NoGradGuard no_grad;
  const auto [name, weights, golden, preset] =
      GENERATE(table<std::string, std::string, std::string, std::string>({
          {"resnet20", "resnet20_cifar10", "resnet20_cifar10_test", "cifar10"},
          {"resnet56", "resnet56_cifar10", "resnet56_cifar10_test", "cifar10"},
          {"mobilenet_v1_025", "mobilenet_v1_025_imagenet", "mobilenet_imagenet_public", "imagenet"},
      }));
  INFO(name);
  const auto model = make_model(name);
  model->to(torch::kFloat64);
  load_weights(*model, shared_data("weights/" + weights + ".safetensors"));
  const auto reference = shared_data("golden/" + golden);
  const auto facts = culprit::io::parse_json(culprit::test::read_bytes(reference.string() + ".json"), golden);
  const auto preprocess = culprit::data::Preprocess::preset(preset);
  std::vector<torch::Tensor> inputs;
  for (const auto& image : facts.at("images").items()) {
    inputs.push_back(
        preprocess(culprit::data::decode_image(shared_data(image.at("path").as_string())), torch::kFloat64));
  }
  const auto file = culprit::io::Safetensors::open(reference.string() + ".safetensors");
  CHECK(relative_difference(model->forward(torch::stack(inputs)), read_tensor(file, "logits")) <= 1e-11);
}

TEST_CASE("the demo's committed weights are as accurate as they say, and at least 91 percent", "[examples]") {
  const std::string folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    std::cout << "SKIPPED: needs Debian's package dataset-fashion-mnist\n";
    return;
  }
  const std::filesystem::path path =
      std::string(CULPRIT_SOURCE_DIR) + "/examples/weights/resnet8_fashion.safetensors";
  CHECK(std::filesystem::file_size(path) < 2'000'000);
  const auto model = make_model("resnet8_fashion");
  load_weights(*model, path);
  const auto dataset = culprit::data::open_dataset("idx:" + folder);
  REQUIRE(dataset->size() == 10'000);
  const torch::NoGradGuard no_grad;
  std::int64_t right = 0;
  culprit::data::Loader loader(*dataset, culprit::data::Preprocess::preset("fashion"), {.batch = 100});
  for (const auto& batch : loader) {
    right += model->forward(batch.inputs).argmax(1).eq(batch.labels).sum().item<std::int64_t>();
  }
  CHECK(right >= 9'100);
  // Other processors round otherwise, and a few images lie on the border between two classes.
  const double stated =
      std::stod(culprit::io::Safetensors::open(path).metadata().at("test_accuracy_percent"));
  CHECK(std::abs(static_cast<double>(right) / 100.0 - stated) <= 0.05);
}
