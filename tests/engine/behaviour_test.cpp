// SPDX-License-Identifier: MIT
#include "engine/nets.hpp"

namespace F = torch::nn::functional;
using namespace culprit;
using namespace culprit::test;

namespace {

constexpr double tolerance = 1e-10;

/// A model that needs Loop, and the operator that the warning must name.
struct Fallback {
  std::string op;
  visit::ModelView model;
  at::Tensor inputs;
};

Fallback elementwise_weight() {
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor g = normal({4, 1, 1, 1});
  return {"aten::mul",
          net({{"w", w}, {"g", g}},
              [=](const at::Tensor& x) {
                return F::conv2d(x, w * g).mean({2, 3});
              }),
          normal({3, 3, 6, 6})};
}

Fallback weight_norm() {
  const at::Tensor v = weight({4, 3, 3, 3});
  const at::Tensor g = normal({4, 1, 1, 1});
  return {"weight_norm",
          net({{"g", g}, {"v", v}},
              [=](const at::Tensor& x) {
                return F::conv2d(x, at::_weight_norm(v, g, 0)).mean({2, 3});
              }),
          normal({3, 3, 6, 6})};
}

Fallback embedding() {
  const at::Tensor table = normal({11, 5});
  return {"aten::embedding",
          net({{"table", table}},
              [=](const at::Tensor& x) {
                return at::embedding(table, x.to(at::kLong), -1, /*scale_grad_by_freq=*/true).sum(1);
              }),
          at::randint(11, {3, 6}, at::kDouble)};
}

Fallback einsum() {
  const at::Tensor w = weight({4, 6});
  return {"aten::",
          net({{"w", w}},
              [=](const at::Tensor& x) {
                return at::einsum("bpi,oi->bo", {x.exp(), w});
              }),
          normal({3, 5, 6})};
}

Fallback concatenation() {
  const at::Tensor a = weight({2, 6});
  const at::Tensor b = weight({3, 6});
  return {"aten::cat",
          net({{"a", a}, {"b", b}},
              [=](const at::Tensor& x) {
                return F::linear(x, at::cat({a, b}));
              }),
          normal({3, 6})};
}

Fallback weight_as_input() {
  const at::Tensor a = weight({2, 6});
  const at::Tensor b = weight({5, 2});
  return {"aten::mm",
          net({{"a", a}, {"b", b}},
              [=](const at::Tensor& x) { return F::linear(x, F::linear(a.t(), b).t().contiguous()); }),
          normal({3, 6})};
}

Fallback mixed_samples() {
  const at::Tensor w = weight({4, 3, 3, 3});
  return {
      "batch norm",
      net({{"w", w}},
          [=](const at::Tensor& x) {
            const at::Tensor y = F::conv2d(x, w);
            return at::batch_norm(y, {}, {}, {}, {}, /*training=*/true, 0.1, 1e-5, false).exp().mean({2, 3});
          }),
      normal({3, 3, 6, 6})};
}

Fallback folded_batch() {
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor v = weight({5, 8});
  return {"samples were not found",
          net({{"w", w}, {"v", v}},
              [=](const at::Tensor& x) {
                const at::Tensor frames = F::conv2d(x.flatten(0, 1), w).relu().mean({2, 3});
                return F::linear(frames.view({x.size(0), -1}), v);
              }),
          normal({3, 2, 3, 6, 6})};
}

Fallback without_autograd() {
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor v = weight({5, 4});
  return {"autograd",
          net({{"w", w}, {"v", v}},
              [=](const at::Tensor& x) {
                const at::Tensor features = [&] {
                  const at::NoGradGuard frozen;
                  return F::conv2d(x, w);
                }();
                return F::linear(features.relu().mean({2, 3}), v);
              }),
          normal({3, 3, 6, 6})};
}

}  // namespace

TEST_CASE("A model with an operator that has no batched rule runs by Loop, with one warning that names it",
          "[engine]") {
  torch::manual_seed(seed());
  const std::vector<Fallback> cases{elementwise_weight(), weight_norm(),     embedding(),     einsum(),
                                    concatenation(),      weight_as_input(), mixed_samples(), folded_batch(),
                                    without_autograd()};
  for (const Fallback& fallback : cases) {
    INFO(fallback.op);
    const at::Tensor targets = classes(fallback.inputs.size(0), 4);
    const ModelState before(fallback.model);
    Warnings warnings;
    CHECK(batched_against_loop(fallback.model, fallback.inputs, targets) == 0.0);
    REQUIRE(warnings.messages.size() == 1);
    CHECK(warnings.messages.front().find(fallback.op) != std::string::npos);
    CHECK(batched_against_loop(fallback.model, fallback.inputs, targets) == 0.0);
    CHECK(vjp_batched_against_loop(fallback.model, fallback.inputs, targets) == 0.0);
    CHECK(warnings.messages.size() == 1);
    CHECK(ModelState(fallback.model) == before);
  }
}

TEST_CASE("Samples are told apart also where another dimension happens to have the batch's extent",
          "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor in = weight({6, 6});
  const at::Tensor out = weight({4, 6});
  // Sequence first, as in a transformer's default: [length, batch, features].
  const auto model = net({{"in", in}, {"out", out}}, [=](const at::Tensor& x) {
    return F::linear(F::linear(x.transpose(0, 1), in).relu().mean(0), out);
  });
  for (const Index batch : {5, 3, 1}) {
    INFO("batch " << batch);
    CHECK(batched_against_loop(model, normal({batch, 5, 6}), classes(batch, 4)) <= tolerance);
  }
}

TEST_CASE("Units in biases and other parameters without a rule are counted", "[engine]") {
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3)), torch::nn::BatchNorm2d(4),
                              torch::nn::ReLU(), torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
                              torch::nn::Linear(4, 5));
  model->to(at::kDouble);
  model->eval();
  CHECK(batched_against_loop(model, normal({3, 3, 6, 6}), classes(3, 5), Everything{}) <= tolerance);
  // Where the bias is all that no rule covers.
  torch::nn::Sequential convolution(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 5, 6)),
                                    torch::nn::Flatten());
  convolution->to(at::kDouble);
  convolution->eval();
  CHECK(batched_against_loop(convolution, normal({3, 3, 6, 6}), classes(3, 5), Everything{}) <= tolerance);
  torch::nn::Sequential linear(torch::nn::Linear(6, 5));
  linear->to(at::kDouble);
  linear->eval();
  CHECK(batched_against_loop(linear, normal({3, 6}), classes(3, 5), Everything{}) <= tolerance);
}

TEST_CASE("An in-place operation on the input changes neither the caller's tensor nor the fallback",
          "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor v = weight({4, 3, 1, 1});
  const auto model = net({{"w", w}, {"v", v}}, [=](at::Tensor x) {
    x.sub_(0.25).mul_(3.0);
    return (F::conv2d(x, w) + F::conv2d(x, v.abs()).narrow(2, 1, 4).narrow(3, 1, 4)).exp().mean({2, 3});
  });
  const at::Tensor inputs = normal({3, 3, 6, 6});
  const at::Tensor before = inputs.clone();
  CHECK(batched_against_loop(model, inputs, classes(3, 4)) == 0.0);
  CHECK(at::equal(inputs, before));
}

TEST_CASE("Instance norm and layer norm, which do not mix samples, stay batched", "[engine]") {
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3)),
                              torch::nn::InstanceNorm2d(torch::nn::InstanceNorm2dOptions(4).affine(true)),
                              torch::nn::GELU(), torch::nn::Conv2d(torch::nn::Conv2dOptions(4, 4, 3)),
                              torch::nn::GroupNorm(torch::nn::GroupNormOptions(2, 4)),
                              torch::nn::ReLU(torch::nn::ReLUOptions(true)), torch::nn::Flatten(),
                              torch::nn::LayerNorm(torch::nn::LayerNormOptions({16})),
                              torch::nn::Linear(16, 5));
  model->to(at::kDouble);
  model->eval();
  const Warnings warnings;
  CHECK(batched_against_loop(model, normal({4, 3, 6, 6}), classes(4, 5)) <= tolerance);
  CHECK(warnings.messages.empty());
}

TEST_CASE("The caller's gradient and inference modes change no number", "[engine]") {
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3)), torch::nn::BatchNorm2d(4),
                              torch::nn::ReLU(), torch::nn::Flatten(), torch::nn::Linear(64, 5));
  model->to(at::kDouble);
  model->eval();
  const at::Tensor inputs = normal({3, 3, 6, 6});
  const at::Tensor targets = classes(3, 5);
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
  const auto run = [&](const auto& engine, const at::Tensor& x, const at::Tensor& y) {
    return engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, x, y).profiles.clone();
  };
  const at::Tensor fast = run(engine::Batched{}, inputs, targets);
  const at::Tensor slow = run(engine::Loop{}, inputs, targets);
  {
    const at::NoGradGuard no_grad;
    CHECK(at::equal(run(engine::Batched{}, inputs, targets), fast));
    CHECK(at::equal(run(engine::Loop{}, inputs, targets), slow));
    CHECK(visit::trace(plan, inputs).units->layers().front().batch_norm == "1");
  }
  {
    const c10::InferenceMode inference;
    const at::Tensor x = inputs.clone();
    const at::Tensor y = targets.clone();
    CHECK(at::equal(run(engine::Batched{}, x, y), fast));
    CHECK(at::equal(run(engine::Loop{}, x, y), slow));
    CHECK(visit::trace(plan, x).units->layers().front().batch_norm == "1");
    const c10::InferenceMode outside(false);
    CHECK(at::equal(run(engine::Batched{}, x, y), fast));
    CHECK(at::equal(run(engine::Loop{}, x, y), slow));
    CHECK(visit::trace(plan, x).units->layers().front().batch_norm == "1");
  }
}

TEST_CASE("A model made in inference mode is refused by name", "[engine]") {
  const at::Tensor w = [] {
    const c10::InferenceMode inference;
    return weight({4, 6});
  }();
  const auto model = net({{"head.weight", w}}, [=](const at::Tensor& x) { return F::linear(x, w); });
  const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
  const auto check = [&](const auto& engine) {
    const Error error = error_of([&] {
      (void)engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, normal({2, 6}), classes(2, 4));
    });
    CHECK(error.code() == ErrorCode::model);
    CHECK(error.place() == "head.weight");
  };
  check(engine::Batched{});
  check(engine::Loop{});
}

namespace {

/// Mean squared error against a float target for each output.
struct SquaredError {
  static constexpr std::string_view name = "squared_error";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return (outputs - targets).square().mean(1);
  }
};

/// How far the best other class is above the label's.
struct Margin {
  static constexpr std::string_view name = "margin";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    const at::Tensor index = targets.unsqueeze(1);
    return outputs.scatter(1, index, -1e9).amax(1) - outputs.gather(1, index).squeeze(1);
  }
};

struct Scalar {
  static constexpr std::string_view name = "scalar";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& /*targets*/) const {
    return outputs.sum();
  }
};

struct ScalarWithGradient : Scalar {
  static constexpr std::string_view name = "scalar_with_gradient";
  at::Tensor gradient(const at::Tensor& outputs, const at::Tensor& /*targets*/) const {
    return at::ones_like(outputs);
  }
};

/// Cross entropy by LibTorch, differentiated by autograd.
struct AutogradCrossEntropy {
  static constexpr std::string_view name = "autograd_cross_entropy";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return F::cross_entropy(outputs, targets, F::CrossEntropyFuncOptions().reduction(torch::kNone));
  }
};

}  // namespace

TEST_CASE("Any callable that gives one loss for each sample is a loss", "[engine]") {
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3)), torch::nn::ReLU(),
                              torch::nn::Flatten(), torch::nn::Linear(64, 5));
  model->to(at::kDouble);
  model->eval();
  const at::Tensor inputs = normal({4, 3, 6, 6});
  const at::Tensor labels = classes(4, 5);
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
  const auto run = [&](const auto& loss, const at::Tensor& targets) {
    return engine::Batched{}(plan, aggregate::MeanAbs{}, loss, inputs, targets);
  };
  CHECK(batched_against_loop(model, inputs, normal({4, 5}), visit::AllWeights{}, aggregate::MeanAbs{},
                             SquaredError{}) <= tolerance);
  CHECK(batched_against_loop(model, inputs, labels, visit::AllWeights{}, aggregate::MeanAbs{}, Margin{}) <=
        tolerance);
  CHECK(run(SquaredError{}, normal({4, 5})).losses.scalar_type() == at::kDouble);

  const auto expected = run(loss::CrossEntropy{}, labels);
  const auto by_autograd = run(AutogradCrossEntropy{}, labels);
  CHECK(worst(*plan.units, by_autograd.profiles, expected.profiles) <= tolerance);
  CHECK(at::allclose(by_autograd.losses, expected.losses, 1e-12));

  const at::Tensor predicted = expected.outputs.argmax(1);
  CHECK(at::equal(run(loss::AtTarget<loss::PredictedClass>{}, labels).profiles,
                  run(loss::CrossEntropy{}, predicted).profiles));
  const loss::AtTarget<loss::GivenClass> at_third{.target = {.index = 3}};
  CHECK(at::equal(run(at_third, labels).profiles,
                  run(loss::CrossEntropy{}, at::full({4}, 3, at::kLong)).profiles));
  const loss::AtTarget<loss::GivenClass, AutogradCrossEntropy> by_autograd_at_third{.target = {.index = 3}};
  CHECK(worst(*plan.units, run(by_autograd_at_third, labels).profiles, run(at_third, labels).profiles) <=
        tolerance);
  const loss::AtTarget<loss::GivenClass> outside{.target = {.index = 5}};
  CHECK(error_of([&] { (void)run(outside, labels); }).code() == ErrorCode::label);

  CHECK(error_of([&] { (void)run(Scalar{}, labels); }).code() == ErrorCode::shape);
  CHECK(error_of([&] { (void)run(ScalarWithGradient{}, labels); }).code() == ErrorCode::shape);
  CHECK(error_of([&] { (void)run(Scalar{}, labels); }).place() == "loss scalar");
}
