// SPDX-License-Identifier: MIT
#include "engine/nets.hpp"
#include "engine/random_nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

/// A user's own aggregation: the share of a unit's gradients above a threshold.
struct ShareAbove {
  static constexpr std::string_view name = "share_above";
  double threshold = 1e-3;

  double map(double gradient) const { return std::abs(gradient) > threshold ? 1.0 : 0.0; }
  double combine(double a, double b) const { return a + b; }
  double finish(double sum, Index size) const { return sum / static_cast<double>(size); }
};
static_assert(Aggregation<ShareAbove>);

/// A user's own aggregation whose map gives a structure: the variance of a unit's gradient (Chan et al.
/// 1979).
struct Variance {
  static constexpr std::string_view name = "variance";
  struct Part {
    double count, mean, squares;
  };

  Part map(double gradient) const { return {1.0, gradient, 0.0}; }
  Part combine(const Part& a, const Part& b) const {
    const double count = a.count + b.count;
    const double delta = b.mean - a.mean;
    return {count, a.mean + delta * b.count / count,
            a.squares + b.squares + delta * delta * a.count * b.count / count};
  }
  double finish(const Part& all, Index /*size*/) const { return all.squares / all.count; }
};
static_assert(Aggregation<Variance>);

/// A user's own granularity: one number for a whole tensor.
struct TensorMax : aggregate::MaxAbs {
  static constexpr std::string_view name = "tensor_max";
  static constexpr Granularity granularity = Granularity::tensor;
};
static_assert(Aggregation<TensorMax>);

/// Convolutions of any number of dimensions.
struct Spatial {
  [[nodiscard]] bool operator()(at::IntArrayRef shape) const { return shape.size() >= 3; }
};

template <class A>
engine::BatchResult loop(const RandomNet& net, const visit::ModelView& view, const A& aggregation,
                         const std::function<bool(at::IntArrayRef)>& visitor) {
  return engine::Loop{}(visit::make_plan(view, visitor, granularity_of<A>()), aggregation,
                        loss::CrossEntropy{}, net.inputs, net.targets);
}

/// Batched against Loop, relative to the layer's largest value of an aggregation in which nothing cancels.
template <class A, class Scale = A>
double difference(const RandomNet& net, Index block_bytes,
                  const std::function<bool(at::IntArrayRef)>& visitor) {
  const A aggregation{};
  const visit::ModelView view = visit::view(net.model);
  const visit::Plan plan = visit::make_plan(view, visitor, granularity_of<A>());
  const engine::BatchResult fast =
      engine::Batched{block_bytes}(plan, aggregation, loss::CrossEntropy{}, net.inputs, net.targets);
  const engine::BatchResult slow = loop(net, view, aggregation, visitor);
  CHECK(at::allclose(fast.outputs, slow.outputs, 1e-12, 1e-13));
  CHECK(at::allclose(fast.losses, slow.losses, 1e-12, 1e-13));
  const at::Tensor scale =
      std::is_same_v<A, Scale> ? slow.profiles : loop(net, view, Scale{}, visitor).profiles;
  return worst(*plan.units, fast.profiles, slow.profiles,
               std::is_same_v<A, Variance> ? scale.square() : scale);
}

double difference(const RandomNet& net, Index aggregation, Index block_bytes,
                  const std::function<bool(at::IntArrayRef)>& visitor) {
  switch (aggregation) {
    case 0:
      return difference<aggregate::Mean, aggregate::MeanAbs>(net, block_bytes, visitor);
    case 1:
      return difference<aggregate::L2Norm>(net, block_bytes, visitor);
    case 2:
      return difference<aggregate::MaxAbs>(net, block_bytes, visitor);
    case 3:
      return difference<aggregate::ParameterWise>(net, block_bytes, visitor);
    case 4:
      return difference<ShareAbove>(net, block_bytes, visitor);
    case 5:
      return difference<Variance, aggregate::L2Norm>(net, block_bytes, visitor);
    case 6:
      return difference<TensorMax>(net, block_bytes, visitor);
    default:
      return difference<aggregate::MeanAbs>(net, block_bytes, visitor);
  }
}

}  // namespace

TEST_CASE("Batched equals Loop in float64 over 200 random layer configurations", "[engine]") {
  torch::manual_seed(seed());
  Dice dice(seed());
  Warnings warnings;
  double largest = 0.0;
  for (int i = 0; i < 200; ++i) {
    const RandomNet net = random_net(dice, /*smooth=*/false);
    INFO("configuration " << i << ", seed " << seed() << ": " << net.inputs.sizes() << "; "
                          << net.description.str());
    const Index block_bytes = dice.chance(2) ? engine::Batched{}.block_bytes : dice.between(1, 20'000);
    const std::array<std::function<bool(at::IntArrayRef)>, 3> visitors{visit::AllWeights{}, Spatial{},
                                                                       visit::LinearNeurons{}};
    const double apart = difference(net, dice.between(0, 9), block_bytes,
                                    visitors[static_cast<std::size_t>(dice.between(0, 2))]);
    CHECK(apart <= 1e-10);
    largest = std::max(largest, apart);
  }
  CHECK(warnings.messages == std::vector<std::string>{});
  CHECK(largest > 0.0);  // the two engines add in different orders
}

TEST_CASE("Batched in float32 is as near to float64 as rounding allows", "[engine]") {
  torch::manual_seed(seed());
  Dice dice(seed());
  for (int i = 0; i < 50; ++i) {
    RandomNet net = random_net(dice, /*smooth=*/true);  // at a kink of a ReLU no bound holds
    INFO("configuration " << i << ", seed " << seed() << ": " << net.inputs.sizes() << "; "
                          << net.description.str());
    net.inputs = net.inputs.to(at::kFloat);
    net.model->to(at::kFloat);
    const auto run = [&](const auto& engine) {
      const visit::Plan plan =
          visit::make_plan(visit::view(net.model), visit::AllWeights{}, Granularity::filter);
      return std::pair(
          engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, net.inputs, net.targets).profiles,
          plan.units);
    };
    const at::Tensor single = run(engine::Batched{}).first;
    CHECK(single.scalar_type() == at::kFloat);
    net.inputs = net.inputs.to(at::kDouble);
    net.model->to(at::kDouble);
    const auto [exact, units] = run(engine::Loop{});
    // A sum of n terms in any order is within n * 2^-24 of the sum of their absolute values (Higham, Accuracy
    // and Stability, section 3.1), and errors of layers in a row add to first order. The factor 8 is for
    // terms that cancel: the bound is relative to the layer's largest result, not to the sum of the absolute
    // terms.
    const double bound = 8.0 * static_cast<double>(net.additions) * 0x1p-24;
    CHECK(worst(*units, single, exact) <= bound);
  }
}

TEST_CASE("One weight in several layers counts with the sum of its gradients", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({3, 3, 3, 3});
  const at::Tensor v = weight({6, 6});
  const auto model = net({{"w", w}, {"v", v}}, [=](const at::Tensor& x) {
    const at::Tensor a = at::conv2d(x, w, {}, 1, 1);
    const at::Tensor b = at::conv2d(a.relu(), w, {}, 2, 1, 2);  // another stride and dilation
    const at::Tensor c =
        at::conv_transpose2d(b.tanh(), w, {}, 2, 1, 1);  // and transposed: units are what is dimension 0
    const at::Tensor features = at::cat({c.mean({2, 3}), a.mean({2, 3})}, 1);
    return at::linear(at::linear(features.unsqueeze(1).repeat({1, 4, 1}), v).tanh().mean(1), v);
  });
  for (const Index batch : {1, 5}) {
    for (const Index block_bytes : {Index{1}, engine::Batched{}.block_bytes}) {
      CHECK(batched_against_loop(model, normal({batch, 3, 7, 7}), classes(batch, 6), visit::AllWeights{},
                                 aggregate::MeanAbs{}, loss::CrossEntropy{},
                                 engine::Batched{block_bytes}) <= 1e-10);
    }
  }
  // The two uses of the weight point against each other: only the sum, not the sum of absolute values, is 0.
  const at::Tensor u = weight({4, 5});
  const auto opposed =
      net({{"u", u}}, [=](const at::Tensor& x) { return at::linear(x, u) - at::linear(x, u); });
  const visit::Plan plan = visit::make_plan(opposed, visit::AllWeights{}, Granularity::filter);
  const auto result =
      engine::Batched{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, normal({3, 5}), classes(3, 4));
  CHECK(result.profiles.abs().max().item<double>() == 0.0);
}

TEST_CASE("A layer that the loss does not reach counts as zero gradients", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor used = weight({4, 5});
  const at::Tensor unused = weight({3, 5});
  const at::Tensor aside = weight({2, 5});
  const auto model = net({{"unused", unused}, {"used", used}, {"aside", aside}}, [=](const at::Tensor& x) {
    const at::Tensor ignored = at::linear(x, aside);
    return at::linear(x, used) + 0.0 * ignored.detach().sum();
  });
  const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
  const auto check = [&](const auto& engine) {
    const auto profiles =
        engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, normal({3, 5}), classes(3, 4)).profiles;
    CHECK(at::equal(profiles.narrow(1, 0, 3), at::zeros({3, 3}, at::kDouble)));
    CHECK(profiles.narrow(1, 3, 4).min().template item<double>() > 0.0);
    CHECK(at::equal(profiles.narrow(1, 7, 2), at::zeros({3, 2}, at::kDouble)));
  };
  check(engine::Batched{});
  check(engine::Loop{});
  // An output that no parameter reaches at all.
  const auto constant = net({{"unused", unused}}, [](const at::Tensor& x) { return x.narrow(1, 0, 4); });
  CHECK(worst(*plan.units, at::zeros({3, 9}), at::zeros({3, 9})) == 0.0);
  const visit::Plan none = visit::make_plan(constant, visit::AllWeights{}, Granularity::filter);
  for (const auto& result :
       {engine::Batched{}(none, aggregate::L2Norm{}, loss::CrossEntropy{}, normal({3, 5}), classes(3, 4)),
        engine::Loop{}(none, aggregate::L2Norm{}, loss::CrossEntropy{}, normal({3, 5}), classes(3, 4))}) {
    CHECK(at::equal(result.profiles, at::zeros({3, 3}, at::kDouble)));
  }
}

namespace {

/// A script module with parameters of these names, in eval mode.
torch::jit::Module script(const std::vector<visit::NamedTensor>& parameters,
                          const std::vector<visit::NamedTensor>& buffers, const std::string& forward) {
  torch::jit::Module module("net");
  for (const auto& [name, tensor] : buffers) module.register_buffer(name, tensor);
  for (const auto& [name, tensor] : parameters) module.register_parameter(name, tensor, /*is_buffer=*/false);
  module.register_attribute("training", c10::BoolType::get(), false);
  module.define(forward);
  return module;
}

struct ScriptCase {
  std::vector<visit::NamedTensor> parameters, buffers;
  std::string source;
  Forward eager;
  at::Tensor inputs;
};

std::vector<ScriptCase> script_cases() {
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor b = normal({4});
  const at::Tensor t = weight({4, 2, 3, 3});
  const at::Tensor l = weight({5, 4});
  const at::Tensor c = normal({5});
  const at::Tensor mean = normal({4});
  const at::Tensor variance = normal({4}).abs() + 0.5;
  return {
      {{{"w", w}, {"b", b}, {"l", l}, {"c", c}},
       {{"mean", mean}, {"variance", variance}},
       R"(
def forward(self, x):
    x = torch.conv2d(x, self.w, self.b, [2, 1], [1, 1], [1, 1], 1)
    x = torch.batch_norm(x, self.b, self.b, self.mean, self.variance, False, 0.1, 1e-5, False)
    x = torch.dropout(torch.relu_(x), 0.5, False)
    x = torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1)
    return torch.linear(x, self.l, self.c)
)",
       [=](const at::Tensor& x) {
         const at::Tensor y = at::conv2d(x, w, b, {2, 1}, {1, 1});
         return at::linear(
             at::batch_norm(y, b, b, mean, variance, false, 0.1, 1e-5, false).relu().mean({2, 3}), l, c);
       },
       normal({5, 3, 6, 6})},
      {{{"w", w}, {"b", b}, {"l", l}},
       {},
       R"(
def forward(self, x):
    x = torch._convolution(x, self.w, self.b, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, False, False, True, True)
    x = torch.relu(x).mean([2, 3])
    return torch.matmul(x, self.l.t())
)",
       [=](const at::Tensor& x) {
         return at::matmul(at::conv2d(x, w, b, 1, 1).relu().mean({2, 3}), l.t());
       },
       normal({5, 3, 6, 6})},
      {{{"t", t}, {"l", l}, {"c", c}},
       {},
       R"(
def forward(self, x):
    x = torch.conv_transpose2d(x, self.t, None, [2, 2], [1, 1], [1, 1], 2, [1, 1])
    return torch.addmm(self.c, torch.tanh(x).mean([2, 3]), self.l.t())
)",
       [=](const at::Tensor& x) {
         return at::linear(at::conv_transpose2d(x, t, {}, 2, 1, 1, 2).tanh().mean({2, 3}), l, c);
       },
       normal({5, 4, 5, 5})},
  };
}

}  // namespace

TEST_CASE("Script models give the numbers of the same eager model, also when they ran optimised before",
          "[engine]") {
  torch::manual_seed(seed());
  std::size_t number = 0;
  for (const ScriptCase& each : script_cases()) {
    INFO("case " << number++);
    torch::jit::Module module = script(each.parameters, each.buffers, each.source);
    const at::Tensor targets = classes(5, 5);
    const visit::Plan eager =
        visit::make_plan(net(each.parameters, each.eager), visit::AllWeights{}, Granularity::filter);
    const at::Tensor expected =
        engine::Loop{}(eager, aggregate::MeanAbs{}, loss::CrossEntropy{}, each.inputs, targets).profiles;
    Warnings warnings;
    const auto check = [&] {
      const visit::Plan plan =
          visit::make_plan(visit::view(module), visit::AllWeights{}, Granularity::filter);
      CHECK(plan.units->difference(*eager.units).empty());
      CHECK(worst(*plan.units,
                  engine::Batched{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, each.inputs, targets)
                      .profiles,
                  expected) <= 1e-10);
      CHECK(
          worst(
              *plan.units,
              engine::Loop{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, each.inputs, targets).profiles,
              expected) <= 1e-10);
    };
    check();
    const auto warm_up = [&] {
      for (int run = 0; run < 4; ++run) (void)module.forward({each.inputs});
    };
    for (const auto& parameter : each.parameters) parameter.tensor.set_requires_grad(true);
    warm_up();
    check();
    torch::jit::Module fresh = script(each.parameters, each.buffers, each.source);
    module = fresh;
    {
      const at::NoGradGuard no_grad;
      warm_up();
    }
    check();
    warm_up();
    check();
    for (const auto& parameter : each.parameters) parameter.tensor.set_requires_grad(false);
    CHECK(warnings.messages == std::vector<std::string>{});
  }
}

TEST_CASE("Script models may have parts, arguments with defaults and control flow", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 6});
  const at::Tensor v = weight({5, 4});
  torch::jit::Module part =
      script({{"w", w}}, {}, "def forward(self, x):\n    return torch.linear(x, self.w).tanh()\n");
  torch::jit::Module whole("whole");
  whole.register_parameter("v", v, /*is_buffer=*/false);
  whole.register_module("part", part);
  whole.define(R"(
def forward(self, x, times: int = 2):
    y = x
    for i in range(times):
        y = self.part.forward(x)
        x = x * 0.5
    return torch.linear(y, self.v)
)");
  const auto eager = net({{"v", v}, {"part.w", w}},
                         [=](const at::Tensor& x) { return at::linear(at::linear(0.5 * x, w).tanh(), v); });
  const at::Tensor inputs = normal({3, 6});
  const at::Tensor targets = classes(3, 5);
  const auto run = [&](const auto& engine, auto&& model) {
    const visit::Plan plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
    return engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets).profiles;
  };
  const visit::Plan plan = visit::make_plan(eager, visit::AllWeights{}, Granularity::filter);
  for (int warm_up = 0; warm_up < 3; ++warm_up) {
    const Warnings warnings;
    CHECK(worst(*plan.units, run(engine::Batched{}, whole), run(engine::Loop{}, eager)) <= 1e-10);
    CHECK(worst(*plan.units, run(engine::Loop{}, whole), run(engine::Loop{}, eager)) <= 1e-10);
    CHECK(warnings.messages == std::vector<std::string>{});
    for (int times = 0; times < 2; ++times) (void)whole.forward({inputs});
  }
  torch::jit::Module empty("empty");
  empty.register_parameter("v", v, /*is_buffer=*/false);
  CHECK(error_of([&] { (void)visit::view(empty); }).code() == ErrorCode::model);
}

TEST_CASE("The output of a script model is its first tensor", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor l = weight({5, 4});
  const at::Tensor inputs = normal({3, 4});
  const at::Tensor targets = classes(3, 5);
  const auto run = [&](const std::string& result) {
    const torch::jit::Module module =
        script({{"l", l}}, {},
               "def forward(self, x):\n    y = torch.matmul(x, self.l.t())\n    return " + result + "\n");
    const visit::Plan plan = visit::make_plan(visit::view(module), visit::AllWeights{}, Granularity::filter);
    return engine::Batched{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets).profiles;
  };
  const at::Tensor plain = run("y");
  CHECK(at::equal(run("(y, x)"), plain));
  CHECK(at::equal(run("((y, x), x)"), plain));
  for (const std::string other : {"{'y': y}", "[y, y]", "1.0"}) {
    INFO(other);
    const Error error = error_of([&] { (void)run(other); });
    CHECK(error.code() == ErrorCode::model);
  }
}
