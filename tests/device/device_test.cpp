// SPDX-License-Identifier: MIT
// Everything on tensors runs where the model is, and nothing in between waits for the device.
#include "device/other_device.hpp"
#include "engine/nets.hpp"
#include "intervene/check.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

// Other operations, and other orders of the same sums, in float64.
constexpr double rounding = 1e-10;

/// A model whose layers take each of the engine's ways, with its parameters on a device: a convolution with
/// batch norm, one that is used twice, groups, a transposed one, a linear layer, and a layer that is not
/// used.
visit::ModelView model_on(at::Device device) {
  torch::manual_seed(seed());
  const auto made = [&](at::Tensor tensor) { return tensor.to(device); };
  const at::Tensor first = made(weight({6, 3, 3, 3})), bias = made(normal({6})), scale = made(normal({6})),
                   mean = made(normal({6})), variance = made(at::rand({6}, at::kDouble) + 0.5),
                   twice = made(weight({6, 6, 3, 3})), grouped = made(weight({6, 3, 1, 1})),
                   up = made(weight({6, 4, 2, 2})), dense = made(weight({5, 4})),
                   unused = made(weight({2, 2, 1, 1}));
  visit::ModelView view =
      net({{"first.weight", first},
           {"first.bias", bias},
           {"norm.weight", scale},
           {"twice", twice},
           {"grouped", grouped},
           {"up", up},
           {"dense", dense},
           {"unused", unused}},
          [=](const at::Tensor& x) {
            at::Tensor y = at::conv2d(x, first, bias, /*stride=*/1, /*padding=*/1);
            y = at::batch_norm(y, scale, bias, mean, variance, false, 0.1, 1e-5, false).relu();
            y = at::conv2d(y, twice, at::Tensor(), 1, 1).relu();
            y = at::conv2d(y, twice, at::Tensor(), 2, 1).relu();
            y = at::conv2d(y, grouped, at::Tensor(), /*stride=*/1, at::IntArrayRef({0, 0}), /*dilation=*/1,
                           /*groups=*/2);
            y = at::conv_transpose2d(y, up, at::Tensor(), 2).tanh();
            return at::linear(y.mean({2, 3}), dense);
          });
  view.buffers = {{"norm.running_mean", mean}, {"norm.running_var", variance}};
  return view;
}

const at::Tensor& inputs() {
  static const at::Tensor all = [] {
    torch::manual_seed(seed() + 1);
    return normal({6, 3, 8, 8});
  }();
  return all;
}

const at::Tensor& labels() {
  static const at::Tensor all = [] {
    torch::manual_seed(seed() + 2);
    return classes(6, 5);
  }();
  return all;
}

double difference(const at::Tensor& there, const at::Tensor& here) {
  REQUIRE(there.device() == other_device);
  return (there.cpu() - here).abs().max().item<double>() / here.abs().max().item<double>();
}

struct Excess {
  static constexpr std::string_view name = "excess";
  static double map(double g) { return std::max(std::abs(g) - 1e-3, 0.0); }
  static double combine(double a, double b) { return a + b; }
  static double finish(double sum, Index size) { return sum / static_cast<double>(size); }
  static double derivative(double g, double /*result*/, Index size) {
    return std::abs(g) > 1e-3 ? std::copysign(1.0 / static_cast<double>(size), g) : 0.0;
  }
};

/// A loader of three batches that notes how often the host had waited before each.
struct Watched {
  struct Batches {
    Index at;
    std::vector<std::size_t>& waited;
    bool operator!=(const Batches& end) const { return at != end.at; }
    void operator++() { ++at; }
    std::pair<at::Tensor, at::Tensor> operator*() const {
      waited.push_back(waits().size());
      return {inputs().narrow(0, 2 * at, 2), labels().narrow(0, 2 * at, 2)};
    }
  };
  std::vector<std::size_t>& waited;
  [[nodiscard]] Batches begin() const { return {0, waited}; }
  [[nodiscard]] Batches end() const { return {3, waited}; }
};

}  // namespace

TEST_CASE("The other device refuses operands on the CPU, and notes what would wait for it", "[device]") {
  const at::Tensor there = normal({3}).to(other_device);
  CHECK_THROWS_AS(there + normal({3}), c10::Error);
  CHECK_THROWS_AS(at::mv(normal({3, 3}).to(other_device), normal({3})), c10::Error);
  waits().clear();
  static_cast<void>(there.sum().item<double>());
  static_cast<void>(there.cpu());
  static_cast<void>(there.nonzero());
  CHECK(waits() == std::vector<std::string>{"a number read", "a copy to the CPU", "aten::nonzero"});
}

TEMPLATE_LIST_TEST_CASE("Each aggregation gives the same profiles on another device, without a wait",
                        "[device]", Aggregations) {
  const Profiler profiler{TestType{}, standardize::Identity{}, visit::AllWeights{}};
  const engine::BatchResult here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels());
  const visit::Plan plan = profiler.plan(model_on(other_device));
  waits().clear();
  const engine::BatchResult there = profiler.batch_as_is(plan, inputs(), labels());
  CHECK(waits().empty());
  CHECK(difference(there.profiles, here.profiles) < rounding);
  CHECK(difference(there.outputs, here.outputs) < rounding);
  CHECK(difference(there.losses, here.losses) < rounding);
}

TEST_CASE("An aggregation on scalars alone is computed on the CPU", "[device]") {
  const Profiler profiler{Excess{}, standardize::Identity{}, visit::AllWeights{}};
  const engine::BatchResult here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels());
  const engine::BatchResult there = profiler.batch(profiler.plan(model_on(other_device)), inputs(), labels());
  CHECK(difference(there.profiles, here.profiles) < rounding);
}

TEMPLATE_LIST_TEST_CASE("Each engine and loss runs on another device", "[device]", Losses) {
  const auto check = [](const auto& engine) {
    const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}, engine,
                            TestType{}};
    const engine::BatchResult here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels());
    const engine::BatchResult there = profiler.batch(profiler.plan(model_on(other_device)),
                                                     inputs().to(other_device), labels().to(other_device));
    CHECK(difference(there.profiles, here.profiles) < rounding);
  };
  check(engine::Batched{});
  check(engine::Batched{.block_bytes = 1});
  check(engine::Batched{.workers = 2});
  check(engine::Loop{});
}

TEST_CASE("A convolution of any kind has the same profile on another device", "[device]") {
  std::mt19937 dice(seed());
  const auto between = [&](Index low, Index high) {
    return low + static_cast<Index>(dice() % static_cast<std::uint32_t>(high - low + 1));
  };
  for (std::uint32_t i = 0; i < 60; ++i) {
    const Index groups = between(1, 3), in = groups * between(1, 2), out = groups * between(2, 3);
    const bool transposed = between(0, 3) == 0;
    std::vector<Index> x_sizes{4, in}, w_sizes{transposed ? in : out, (transposed ? out : in) / groups};
    std::vector<Index> stride, padding, dilation;
    for (Index axis = between(1, 3); axis > 0; --axis) {
      x_sizes.push_back(between(5, 8));
      w_sizes.push_back(between(1, 3));
      stride.push_back(between(1, 2));
      padding.push_back(between(0, 1));
      dilation.push_back(between(1, 2));
    }
    const std::vector<Index> no_padding(stride.size(), 0);
    const at::Tensor w = weight(w_sizes), x = normal(x_sizes);
    INFO("weight " << c10::str(w.sizes()) << " x " << c10::str(x.sizes()) << " stride " << stride
                   << " padding " << padding << " dilation " << dilation << " transposed " << transposed);
    const auto profiles = [&](at::Device device) {
      const at::Tensor there = w.to(device);
      const auto model = net({{"w", there}}, [&](const at::Tensor& input) {
        return at::convolution(input, there, {}, stride, padding, dilation, transposed, no_padding, groups)
            .tanh()
            .flatten(2)
            .mean(2);
      });
      const Profiler profiler{aggregate::L2Norm{}, standardize::Identity{}, visit::AllWeights{}};
      return profiler.batch(profiler.plan(model), x, classes(4, out)).profiles;
    };
    torch::manual_seed(i);
    const at::Tensor here = profiles(at::kCPU);
    torch::manual_seed(i);
    CHECK(difference(profiles(other_device), here) < rounding);
  }
}

TEST_CASE("A model on the CPU takes inputs and labels from another device", "[device]") {
  const Profiler profiler;
  const visit::Plan plan = profiler.plan(model_on(at::kCPU));
  const at::Tensor here = profiler.batch(plan, inputs(), labels()).profiles;
  CHECK(profiler.batch(plan, inputs().to(other_device), labels().to(other_device)).profiles.equal(here));
}

TEST_CASE("A baseline is fitted to a model on another device, and no batch is waited for", "[device]") {
  const Profiler profiler;
  std::vector<std::size_t> waited;
  const Baseline here = profiler.fit(model_on(at::kCPU), Watched{waited});
  waited.clear();
  copies_on_the_way() = 0;
  const Baseline there = profiler.fit(model_on(other_device), Watched{waited});
  CHECK(waited == std::vector<std::size_t>(3, waited.front()));
  CHECK(copies_on_the_way() == 3);
  CHECK((there.mean() - here.mean()).cwiseAbs().maxCoeff() < rounding);
  CHECK((there.stddev() - here.stddev()).cwiseAbs().maxCoeff() < rounding);

  const auto model = model_on(other_device);
  const Sample sample{inputs()[0], labels()[0].item<Index>()};
  const Profile profile = profiler(model, sample, there);
  CHECK((profile.values() - profiler(model_on(at::kCPU), sample, here).values()).cwiseAbs().maxCoeff() <
        1e-6);
}

TEMPLATE_LIST_TEST_CASE("Input saliency of each distance is the same on another device", "[device]",
                        Distances) {
  if constexpr (DifferentiableDistance<TestType>) {
    std::vector<std::size_t> waited;
    const Profiler profiler;
    const Baseline baseline = profiler.fit(model_on(at::kCPU), Watched{waited});
    for (const BoostOptions options : {BoostOptions{}, BoostOptions{.noise_iters = 2, .noise_std = 0.1}}) {
      const InputSaliency saliency{profiler, TestType{}, select::Top{3}, options};
      const auto of = [&](at::Device device) {
        return saliency.batch(profiler.plan(model_on(device)), inputs(), labels(), baseline);
      };
      const std::vector<InputGradient> here = of(at::kCPU), there = of(other_device);
      for (std::size_t i = 0; i < here.size(); ++i) {
        CHECK(there[i].boosted == here[i].boosted);
        CHECK(difference(there[i].gradient, here[i].gradient) < 1e-7);
      }
      const at::Tensor map = pixel_saliency(there.front().gradient), host = map.cpu();
      const HeatMap heat;
      CHECK(heat(map, heat.scale({&map, 1})).equal(heat(host, heat.scale({&host, 1}))));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("Each intervention gives the same outputs on another device, and the model back",
                        "[device]", Interventions) {
  const auto outputs = [](at::Device device) {
    const auto model = model_on(device);
    const ModelState before = state_of(model);
    const visit::Plan plan = visit::trace(Profiler{}.plan(model), inputs());
    torch::manual_seed(seed());
    const intervene::Subject subject{inputs()[0], 1, {0, 2, 7}, at::rand({8, 8})};
    const at::Tensor result = intervene::Scope(TestType{}, plan, subject).outputs();
    CHECK(state_of(model) == before);
    return result;
  };
  CHECK(difference(outputs(other_device), outputs(at::kCPU)) < rounding);
}

TEST_CASE("Trials that share a pass give the same outputs on another device", "[device]") {
  const auto outputs = [](at::Device device) {
    const auto model = model_on(device);
    const visit::Plan plan = visit::trace(Profiler{}.plan(model), inputs());
    const std::vector<std::vector<Index>> units{{0}, {1, 8}, {}, {3}, {4}, {5}};
    const at::Tensor pruned = intervene::outputs_pruned_each(plan, inputs(), units);
    const std::vector<intervene::Trial> trials{{0, {0, 3}, {0, 1}}, {1, {8}, {1}}, {5, {1, 2}, {2, 5, 4}}};
    std::vector<at::Tensor> all =
        intervene::outputs_fine_tuned_each(plan, intervene::FineTune{}, inputs(), labels(), trials);
    all.push_back(pruned);
    return at::cat(all);
  };
  CHECK(difference(outputs(other_device), outputs(at::kCPU)) < rounding);
}
