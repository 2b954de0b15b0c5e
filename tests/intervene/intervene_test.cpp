// SPDX-License-Identifier: MIT
#include "intervene/check.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

/// Conv, batch norm, ReLU, a grouped conv with bias, pooling, linear: one of each.
struct SmallImpl : torch::nn::Module {
  explicit SmallImpl(bool affine = true) {
    conv1 = register_module("conv1",
                            torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 8, 3).padding(1).bias(!affine)));
    bn1 = register_module("bn1", torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(8).affine(affine)));
    conv2 = register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).groups(4)));
    fc = register_module("fc", torch::nn::Linear(8, 5));
    const at::NoGradGuard no_grad;
    for (auto& item : named_parameters()) item.value().normal_(0.0, 0.5);
    bn1->running_mean.normal_();
    bn1->running_var.uniform_(0.5, 2.0);
    eval();
    to(torch::kDouble);
  }

  at::Tensor forward(const at::Tensor& x) { return fc(conv2(bn1(conv1(x)).relu_()).relu_().mean({2, 3})); }

  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::BatchNorm2d bn1{nullptr};
  torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(Small);

visit::Plan plan_of(Small& model) { return Profiler{}.plan(model); }

}  // namespace

TEST_CASE("Interventions act on a scope of a small network, and are undone", "[intervene]") {
  torch::manual_seed(1);
  Small model(GENERATE(true, false));
  check_interventions(model, normal({4, 3, 6, 6}), 4);
}

TEST_CASE("Interventions act on neurons as on filters", "[intervene]") {
  torch::manual_seed(2);
  Small model;
  check_interventions(model, normal({4, 3, 6, 6}), 4, visit::AllWeights{});
}

TEST_CASE("Interventions act on units of several filters as on one", "[intervene]") {
  torch::manual_seed(2);
  Small model(GENERATE(true, false));
  const auto pairs = [](at::IntArrayRef shape) -> Index { return shape.size() == 4 ? shape[0] / 2 : 0; };
  const at::Tensor x = normal({4, 3, 6, 6});
  check_interventions(model, x, 4, pairs);
  CHECK(batched_against_loop(model, x, classes(4, 5), pairs) <= 1e-10);
}

TEST_CASE("Interventions act on a script module", "[intervene]") {
  torch::manual_seed(3);
  torch::jit::Module model("small");
  const auto parameter = [&](const char* name, at::IntArrayRef sizes) {
    model.register_parameter(name, weight(sizes), /*is_buffer=*/false);
  };
  parameter("conv", {6, 3, 3, 3});
  model.register_parameter("conv_bias", normal({6}), false);
  model.register_parameter("scale", normal({6}), false);
  model.register_parameter("shift", normal({6}), false);
  model.register_buffer("mean", normal({6}));
  model.register_buffer("var", at::rand({6}, at::kDouble) + 0.5);
  parameter("last", {5, 6, 1, 1});
  model.define(R"(
    def forward(self, x):
        y = torch.conv2d(x, self.conv, self.conv_bias)
        y = torch.batch_norm(y, self.scale, self.shift, self.mean, self.var, False, 0.1, 1e-5, False)
        return torch.conv2d(torch.relu(y), self.last).mean([2, 3])
  )");
  model.eval();
  check_interventions(model, normal({4, 3, 6, 6}), 3);
}

TEST_CASE("A shared convolution is switched off in each use", "[intervene]") {
  torch::manual_seed(4);
  const at::Tensor first = weight({6, 3, 1, 1});
  const at::Tensor shared = weight({6, 6, 3, 3});
  const at::Tensor bias = normal({6});
  const auto model = net({{"first", first}, {"shared", shared}, {"bias", bias}}, [=](const at::Tensor& x) {
    const at::Tensor y = at::conv2d(x, first).tanh();
    return at::conv2d(at::conv2d(y, shared, bias).tanh(), shared, bias).mean({2, 3});
  });
  check_interventions(model, normal({3, 3, 8, 8}), 3);
}

TEST_CASE("A transposed convolution's units are pruned sample by sample", "[intervene]") {
  torch::manual_seed(5);
  const at::Tensor up = weight({3, 3, 2, 2});
  const at::Tensor bias = normal({3});
  const auto model = net({{"up", up}, {"bias", bias}}, [=](const at::Tensor& x) {
    return at::conv_transpose2d(x, up, bias).mean({2, 3});
  });
  const at::Tensor x = normal({2, 3, 4, 4});
  const visit::Plan plan = visit::trace(Profiler{}.plan(model), x);
  const std::vector<std::vector<Index>> units{{1}, {0, 2}};
  const at::Tensor outputs = intervene::outputs_pruned_each(plan, x, units);
  // The unit is an input channel: what is left of the output is what the others bring, and the bias.
  at::Tensor without = x.clone();
  without[0][1].zero_();
  without[1][0].zero_();
  without[1][2].zero_();
  CHECK(relative_difference(outputs, model.forward(without)) < 1e-12);
}

TEST_CASE("A plan is traced where it is not, before each sample loses its own units", "[intervene]") {
  torch::manual_seed(5);
  Small model(GENERATE(true, false));
  const at::Tensor x = normal({3, 3, 6, 6});
  const std::vector<std::vector<Index>> units{{1, 9}, {}, {0, 2, 15}};
  const visit::Plan plan = plan_of(model);
  REQUIRE(plan.outlets.empty());
  const at::Tensor outputs = intervene::outputs_pruned_each(plan, x, units);
  CHECK(outputs.equal(intervene::outputs_pruned_each(visit::trace(plan, x), x, units)));
  CHECK(plan.outlets.empty());
  for (Index i = 0; i < 3; ++i) {
    const intervene::Scope scope(intervene::Prune{}, plan, {x[i], 0, units[static_cast<std::size_t>(i)]});
    CHECK(relative_difference(outputs[i], scope.outputs()) < 1e-11);
  }

  const auto code = [&](const at::Tensor& inputs, std::size_t lists) {
    return error_of([&] {
             (void)intervene::outputs_pruned_each(plan, inputs, {units.data(), lists});
           })
        .code();
  };
  CHECK(code(x, 2) == ErrorCode::shape);
  CHECK(code(x.narrow(0, 0, 0), 0) == ErrorCode::shape);
  CHECK(code(at::scalar_tensor(1.0), 1) == ErrorCode::shape);
  const std::vector<std::vector<Index>> unknown{{1}, {16}, {}};
  CHECK(error_of([&] { (void)intervene::outputs_pruned_each(plan, x, unknown); }).code() ==
        ErrorCode::argument);
}

TEST_CASE("A weight that the model computes with is not pruned by halves", "[intervene]") {
  torch::manual_seed(6);
  const at::Tensor w = weight({4, 3, 3, 3});
  const auto model = net({{"w", w}}, [=](const at::Tensor& x) {
    return at::conv2d(x, w / (w.norm() + 1.0)).mean({2, 3});
  });
  const at::Tensor x = normal({2, 3, 5, 5});
  const at::Tensor before = w.clone();
  const Error error = error_of([&] {
    const intervene::Scope scope(intervene::Prune{}, Profiler{}.plan(model), {x[0], 0, {1}});
  });
  CHECK(error.code() == ErrorCode::model);
  CHECK(error.place() == "w");
  CHECK(w.equal(before));
}

TEST_CASE("Whole tensors and single parameters can be pruned too", "[intervene]") {
  torch::manual_seed(7);
  Small model;
  const at::Tensor x = normal({2, 3, 6, 6});
  const ModelState before = state_of(model);
  {
    const visit::Plan plan =
        visit::trace(Profiler{aggregate::TensorMean{}, standardize::Identity{}}.plan(model), x);
    const intervene::Scope scope(intervene::Prune{}, plan, {x[0], 0, {0}});
    CHECK(model->conv1->weight.abs().max().item<double>() == 0.0);
    CHECK(model->bn1->bias.abs().max().item<double>() == 0.0);
    CHECK(model->conv2->weight.abs().min().item<double>() > 0.0);
  }
  CHECK(state_of(model) == before);
  const visit::Plan plan =
      visit::trace(Profiler{aggregate::ParameterWise{}, standardize::Identity{}}.plan(model), x);
  const std::vector<std::vector<Index>> units{{}, {30}};
  const at::Tensor virtually = intervene::outputs_pruned_each(plan, x, units);
  {
    const intervene::Scope scope(intervene::Prune{}, plan, {x[1], 0, {30}});
    CHECK(model->conv1->weight.flatten()[30].item<double>() == 0.0);
    CHECK((model->conv1->weight == 0.0).sum().item<Index>() == 1);
    CHECK(scope.outputs().equal(virtually[1]));
  }
  CHECK(state_of(model) == before);
}

TEST_CASE("Fine-tuning goes down the loss, and nowhere without a gradient", "[intervene]") {
  torch::manual_seed(8);
  Small model;
  const at::Tensor x = normal({3, 6, 6});
  const visit::Plan plan = plan_of(model);
  const auto loss_of = [&](const at::Tensor& outputs) { return -outputs.log_softmax(0)[2].item<double>(); };
  const double before = loss_of(model->forward(x.unsqueeze(0))[0]);
  {
    const intervene::Scope scope(intervene::FineTune<>{.eta = 1e-2, .loss = {}}, plan,
                                 {x, 2, first_indices(16)});
    CHECK(loss_of(scope.outputs()) < before);
  }
  const ModelState state = state_of(model);
  const intervene::Scope scope(intervene::FineTune<>{}, plan, {x, 2, {}});
  CHECK(state_of(model) == state);
}

TEST_CASE("A mask takes the pixels it is told to", "[intervene]") {
  torch::manual_seed(9);
  Small model;
  const visit::Plan plan = plan_of(model);
  const at::Tensor x = normal({3, 4, 5});
  const at::Tensor saliency = at::arange(20, at::kDouble).view({4, 5});
  const auto masked = [&](const intervene::Mask& mask) {
    return intervene::Scope(mask, plan, {x, 0, {}, saliency}).input();
  };
  const auto pixels = [&](const intervene::Mask& mask) {
    std::vector<Index> all;
    const at::Tensor places = (masked(mask) != x).any(0).flatten().nonzero().flatten();
    for (Index i = 0; i < places.numel(); ++i) all.push_back(places[i].item<Index>());
    return all;
  };
  using intervene::Pixels;
  CHECK(pixels({.share = 0.15}) == std::vector<Index>{17, 18, 19});
  CHECK(pixels({.share = 0.15, .pixels = Pixels::least_salient}) == std::vector<Index>{0, 1, 2});
  CHECK(pixels({.share = 0.0}).empty());
  CHECK(pixels({.share = 1.0}).size() == 20);
  const intervene::Box last_row{3, 0, 4, 5};
  CHECK(pixels({.share = 0.1, .keep = last_row}) == std::vector<Index>{13, 14});
  CHECK(pixels({.share = 1.0, .keep = last_row}).size() == 15);
  const auto random = pixels({.share = 0.25, .pixels = Pixels::random, .keep = last_row, .seed = 3});
  CHECK(random.size() == 5);
  CHECK(random.back() < 15);
  CHECK(random == pixels({.share = 0.25, .pixels = Pixels::random, .keep = last_row, .seed = 3}));
  CHECK(random != pixels({.share = 0.25, .pixels = Pixels::random, .keep = last_row, .seed = 4}));

  // Filled with a value, with another image, with the blurred image.
  CHECK(masked({.share = 1.0, .fill = 0.5}).equal(at::full_like(x, 0.5)));
  const at::Tensor other = normal({3, 4, 5});
  at::Tensor region = at::zeros({4, 5}, at::kBool);
  region[1].fill_(true);
  const at::Tensor pasted = masked({.region = region, .fill = other});
  CHECK(pasted.select(1, 1).equal(other.select(1, 1)));
  CHECK(pasted.select(1, 0).equal(x.select(1, 0)));
  CHECK(masked({.share = 1.0, .fill = intervene::Blur{1e-3}}).allclose(x));
  const at::Tensor flat = masked({.share = 1.0, .fill = intervene::Blur{50.0}});
  CHECK(flat.std().item<double>() < x.std().item<double>());
  CHECK(at::full_like(x, 2.0).allclose(
      intervene::Scope(intervene::Mask{.share = 1.0, .fill = intervene::Blur{2.0}}, plan,
                       {at::full_like(x, 2.0), 0, {}, saliency})
          .input()));

  // What differs says so.
  CHECK(describe(intervene::Mask{}) == "mask 0.05 of the pixels, most salient, by 0");
  CHECK(describe(intervene::Mask{
            .pixels = Pixels::random, .keep = last_row, .fill = intervene::Blur{}, .seed = 1}) ==
        "mask 0.05 of the pixels, random by seed 1 outside rows 3 to 4, columns 0 to 5, by a blur of 3");
  CHECK(describe(intervene::Mask{.region = region, .fill = other}).starts_with("mask region [4, 5] "));
  CHECK(describe(intervene::Mask{.region = region}) != describe(intervene::Mask{.region = ~region}));
  CHECK(describe(intervene::Mask{.fill = x}) != describe(intervene::Mask{.fill = other}));

  // Wrong calls say what was wanted.
  const auto code = [&](const intervene::Mask& mask) { return error_of([&] { masked(mask); }).code(); };
  CHECK(code({.share = 1.5}) == ErrorCode::argument);
  CHECK(code({.keep = intervene::Box{0, 0, 5, 5}}) == ErrorCode::shape);
  CHECK(code({.region = at::ones({2, 2}, at::kBool)}) == ErrorCode::shape);
  CHECK(code({.fill = at::zeros({3, 2, 2})}) == ErrorCode::shape);
  CHECK(code({.fill = intervene::Blur{0.0}}) == ErrorCode::argument);
  CHECK(error_of([&] { intervene::Scope(intervene::Mask{}, plan, {x, 0, {}}); }).code() == ErrorCode::shape);
  const Error nan = error_of([&] {
    intervene::Scope(intervene::Mask{}, plan, {x, 0, {}, at::full({4, 5}, NAN)});
  });
  CHECK(nan.code() == ErrorCode::numeric);
}
