// SPDX-License-Identifier: MIT
// Vector-Jacobian products of raw profiles with respect to the inputs.
#include "engine/nets.hpp"
#include "engine/random_nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

// Second derivatives add the roundings of two passes to those of the profiles' bound of 1e-10.
constexpr double vjp_tolerance = 1e-9;

double random_difference(const RandomNet& net, Index aggregation, Index block_bytes) {
  const engine::Batched batched{block_bytes};
  const auto run = [&](auto policy) {
    return vjp_batched_against_loop(net.model, net.inputs, net.targets, visit::AllWeights{}, policy,
                                    loss::CrossEntropy{}, batched);
  };
  switch (aggregation) {
    case 0:
      return run(aggregate::Mean{});
    case 1:
      return run(aggregate::L2Norm{});
    case 2:
      return run(aggregate::MaxAbs{});
    case 3:
      return run(aggregate::ParameterWise{});
    case 4:
      return run(aggregate::TensorMean{});
    case 5:
      return run(aggregate::MedianAbs{});
    default:
      return run(aggregate::MeanAbs{});
  }
}

/// Cross entropy by autograd alone: no gradient of its own.
struct PlainCrossEntropy {
  static constexpr std::string_view name = "plain";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return loss::CrossEntropy{}(outputs, targets);
  }
};

/// Linear in the outputs: its gradient is a constant, and what is left are the derivatives of the model.
struct Negated {
  static constexpr std::string_view name = "negated";
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return -outputs.gather(1, targets.unsqueeze(1)).squeeze(1);
  }
};

}  // namespace

TEST_CASE("Batched and Loop have the same products over 200 random layer configurations", "[engine]") {
  torch::manual_seed(seed());
  Dice dice(seed());
  Warnings warnings;
  double largest = 0.0;
  for (int i = 0; i < 200; ++i) {
    const RandomNet net = random_net(dice, /*smooth=*/false);
    INFO("configuration " << i << ", seed " << seed() << ": " << net.inputs.sizes() << "; "
                          << net.description.str());
    const Index block_bytes = dice.chance(2) ? engine::Batched{}.block_bytes : dice.between(1, 20'000);
    const double apart = random_difference(net, dice.between(0, 9), block_bytes);
    CHECK(apart <= vjp_tolerance);
    largest = std::max(largest, apart);
  }
  CHECK(warnings.messages == std::vector<std::string>{});
  CHECK(largest > 0.0);
}

TEST_CASE("Products hold for weights in several layers, any loss, and layers that no input reaches",
          "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({3, 3, 3, 3});
  const at::Tensor v = weight({6, 6});
  const at::Tensor constant = normal({1, 3, 7, 7});
  const auto model = net({{"w", w}, {"v", v}}, [=](const at::Tensor& x) {
    const at::Tensor a = at::conv2d(x, w, {}, 1, 1);
    const at::Tensor b = at::conv2d(a.tanh(), w, {}, 2, 1, 2);
    const at::Tensor c = at::conv_transpose2d(b.tanh(), w, {}, 2, 1, 1);
    const at::Tensor d = at::conv2d(constant.expand({x.size(0), 3, 7, 7}), w);  // no function of the input
    const at::Tensor features = at::cat({c.mean({2, 3}), (a.mean({2, 3}) * d.mean({2, 3})).relu_()}, 1);
    return at::linear(at::linear(features.unsqueeze(1).repeat({1, 4, 1}), v).tanh().mean(1), v);
  });
  for (const Index batch : {1, 5}) {
    const at::Tensor inputs = normal({batch, 3, 7, 7});
    const at::Tensor targets = classes(batch, 6);
    for (const Index block_bytes : {Index{1}, engine::Batched{}.block_bytes}) {
      const engine::Batched batched{block_bytes};
      const auto check = [&](auto loss) {
        CHECK(vjp_batched_against_loop(model, inputs, targets, visit::AllWeights{}, aggregate::MeanAbs{},
                                       loss, batched) <= vjp_tolerance);
      };
      check(loss::CrossEntropy{});
      check(PlainCrossEntropy{});
      check(Negated{});
      check(loss::AtTarget<loss::PredictedClass>{});
    }
    CHECK(vjp_batched_against_loop(model, inputs, targets, visit::ConvFilters{}) <= vjp_tolerance);
    CHECK(vjp_batched_against_loop(model, inputs, targets, visit::LinearNeurons{}, aggregate::L2Norm{}) <=
          vjp_tolerance);
  }
}

TEST_CASE("Products hold for a bias that depends on the input", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 3, 3, 3});
  const auto model = net({{"w", w}}, [=](const at::Tensor& x) {
    return at::conv2d(x, w, x.narrow(1, 0, 1).mean({0, 1, 2}).narrow(0, 0, 4)).tanh().mean({2, 3});
  });
  CHECK(vjp_batched_against_loop(model, normal({1, 3, 7, 7}), classes(1, 4), visit::ConvFilters{}) <=
        vjp_tolerance);
}

TEST_CASE("Products are 0 where nothing depends on the input, and integers have none", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 5});
  const at::Tensor other = normal({3, 5});
  const auto run = [&](const auto& engine, const visit::ModelView& model, const at::Tensor& inputs) {
    const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
    return engine.vjp(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, classes(3, 4),
                      random_cotangent(3, 4));
  };
  const auto aside =
      net({{"w", w}}, [=](const at::Tensor& x) { return at::linear(other.narrow(0, 0, x.size(0)), w); });
  const auto unused = net({{"w", w}}, [=](const at::Tensor& x) { return x.narrow(1, 0, 4); });
  const auto check = [&](const auto& engine) {
    const engine::Vjp apart = run(engine, aside, normal({3, 5}));
    CHECK(apart.batch.profiles.min().template item<double>() > 0.0);
    CHECK(at::equal(apart.input_gradient, at::zeros({3, 5}, at::kDouble)));
    const engine::Vjp none = run(engine, unused, normal({3, 5}));
    CHECK(at::equal(none.batch.profiles, at::zeros({3, 4}, at::kDouble)));
    CHECK(at::equal(none.input_gradient, at::zeros({3, 5}, at::kDouble)));
    const Error error = error_of([&] { (void)run(engine, aside, classes(15, 9).view({3, 5})); });
    CHECK(error.code() == ErrorCode::dtype);
    CHECK(error.place() == "inputs");
  };
  check(engine::Batched{});
  check(engine::Loop{});
}

TEST_CASE("Products of a script model are those of the same eager one", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor l = weight({5, 4});
  torch::jit::Module module("net");
  module.register_parameter("w", w, /*is_buffer=*/false);
  module.register_parameter("l", l, /*is_buffer=*/false);
  module.define(R"(
def forward(self, x):
    x = torch.relu_(torch.conv2d(x, self.w, None, [2, 1], [1, 1], [1, 1], 1))
    return torch.linear(torch.flatten(torch.adaptive_avg_pool2d(torch.tanh(x), [1, 1]), 1), self.l)
)");
  const auto eager = net({{"w", w}, {"l", l}}, [=](const at::Tensor& x) {
    return at::linear(at::conv2d(x, w, {}, {2, 1}, {1, 1}).relu().tanh().mean({2, 3}), l);
  });
  const at::Tensor inputs = normal({3, 3, 6, 6});
  const at::Tensor targets = classes(3, 5);
  const engine::Cotangent cotangent = random_cotangent(3, 9);
  const auto run = [&](const auto& engine, const visit::ModelView& model) {
    const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
    return engine.vjp(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets, cotangent)
        .input_gradient;
  };
  const at::Tensor expected = run(engine::Loop{}, eager);
  const Warnings warnings;
  CHECK(at::allclose(run(engine::Batched{}, visit::view(module)), expected, vjp_tolerance, 1e-14));
  CHECK(at::allclose(run(engine::Loop{}, visit::view(module)), expected, vjp_tolerance, 1e-14));
  CHECK(warnings.messages.empty());
}

TEST_CASE("Products go through operators that LibTorch differentiates once only", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({8, 3, 3, 3});
  const at::Tensor q = weight({8, 8}), k = weight({8, 8}), v = weight({8, 8}), l = weight({5, 8});
  const auto model = [&](const Forward& gate, const auto& attention) {
    return net({{"w", w}, {"q", q}, {"k", k}, {"v", v}, {"l", l}}, [=](const at::Tensor& x) {
      const at::Tensor places = gate(at::conv2d(x, w)).flatten(2).transpose(1, 2);
      const auto heads = [&](const at::Tensor& of) {
        return at::linear(places, of).unflatten(2, {2, 4}).transpose(1, 2);
      };
      return at::linear(attention(heads(q), heads(k), heads(v)).transpose(1, 2).flatten(2).mean(1), l);
    });
  };
  const auto spelled_out = model([](const at::Tensor& x) { return ((x + 3).clamp(0, 6)) / 6; },
                                 [](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
                                   return at::matmul(at::softmax(at::matmul(a, b.mT()) / 2, -1), c);
                                 });
  const at::Tensor inputs = 3 * normal({3, 3, 6, 6});
  const at::Tensor targets = classes(3, 5);
  const auto run = [&](const auto& engine, const visit::ModelView& of) {
    const visit::Plan plan = visit::make_plan(of, visit::AllWeights{}, Granularity::filter);
    torch::manual_seed(seed());
    return engine.vjp(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets,
                      random_cotangent(3, plan.units->size()));
  };
  const engine::Vjp expected = run(engine::Loop{}, spelled_out);
  CHECK(expected.input_gradient.abs().max().item<double>() > 0.0);
  const Warnings warnings;
  for (const Forward& gate : {Forward([](const at::Tensor& x) { return at::hardsigmoid(x); }),
                              Forward([](at::Tensor x) { return at::hardsigmoid_(x); })}) {
    const auto fused = model(gate, [](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
      return at::scaled_dot_product_attention(a, b, c);
    });
    const auto check = [&](const engine::Vjp& found) {
      CHECK(at::allclose(found.batch.profiles, expected.batch.profiles, vjp_tolerance, 1e-14));
      CHECK(at::allclose(found.input_gradient, expected.input_gradient, vjp_tolerance, 1e-14));
    };
    check(run(engine::Batched{}, fused));
    check(run(engine::Loop{}, fused));
  }
  CHECK(warnings.messages.empty());
}

TEST_CASE("An operator that cannot be differentiated twice is named", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 3, 3, 3});
  const auto model = net({{"w", w}}, [=](const at::Tensor& x) {
    const at::Tensor grid = at::zeros({x.size(0), 2, 2, 2}, x.options());
    return at::grid_sampler(at::conv2d(x, w).tanh(), grid, 0, 0, false).mean({2, 3});
  });
  const auto check = [&](const auto& engine) {
    const Profiler profiler{aggregate::MeanAbs{}, standardize::ZScore{}, visit::ConvFilters{}, engine};
    const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
    const Error error = error_of([&] {
      static_cast<void>(
          profiler.vjp(plan, normal({2, 3, 6, 6}), classes(2, 4), random_cotangent(2, plan.units->size())));
    });
    CHECK(error.code() == ErrorCode::model);
    CHECK(std::string(error.what()) ==
          "model: expected operators whose backward pass LibTorch can differentiate, came derivative for "
          "aten::grid_sampler_2d_backward is not implemented");
  };
  check(engine::Batched{});
  check(engine::Loop{});
}
