// SPDX-License-Identifier: MIT
// Everything on tensors runs where the model is, and gives the numbers that the CPU gives.
#include "device/device.hpp"

#include "intervene/check.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

struct Excess {
  static constexpr std::string_view name = "excess";
  static double map(double g) { return std::max(std::abs(g) - 1e-3, 0.0); }
  static double combine(double a, double b) { return a + b; }
  static double finish(double sum, Index size) { return sum / static_cast<double>(size); }
  static double derivative(double g, double /*result*/, Index size) {
    return std::abs(g) > 1e-3 ? std::copysign(1.0 / static_cast<double>(size), g) : 0.0;
  }
};

}  // namespace

TEMPLATE_LIST_TEST_CASE("Each aggregation gives the same profiles on another device", "[device]",
                        Aggregations) {
  CULPRIT_REQUIRE_DEVICE();
  const Profiler profiler{TestType{}, standardize::Identity{}, visit::AllWeights{}};
  const engine::BatchResult here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels());
  const engine::BatchResult there =
      profiler.batch(profiler.plan(model_on(tested_device())), inputs(), labels());
  CHECK(difference(there.profiles, here.profiles) < tolerance);
  CHECK(difference(there.outputs, here.outputs) < tolerance);
  CHECK(difference(there.losses, here.losses) < tolerance);
}

TEST_CASE("An aggregation on scalars alone is computed on the CPU", "[device]") {
  CULPRIT_REQUIRE_DEVICE();
  const Profiler profiler{Excess{}, standardize::Identity{}, visit::AllWeights{}};
  const engine::BatchResult here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels());
  const engine::BatchResult there =
      profiler.batch(profiler.plan(model_on(tested_device())), inputs(), labels());
  CHECK(difference(there.profiles, here.profiles) < tolerance);
}

TEMPLATE_LIST_TEST_CASE("Each engine and loss runs on another device", "[device]", Losses) {
  CULPRIT_REQUIRE_DEVICE();
  const auto check = [](const auto& engine) {
    const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}, engine,
                            TestType{}};
    const engine::BatchResult here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels());
    const engine::BatchResult there = profiler.batch(
        profiler.plan(model_on(tested_device())), inputs().to(tested_device()), labels().to(tested_device()));
    CHECK(difference(there.profiles, here.profiles) < tolerance);
  };
  check(engine::Batched{});
  check(engine::Batched{.block_bytes = 1});
  check(engine::Batched{.workers = 2});
  check(engine::Loop{});
}

TEST_CASE("A convolution of any kind has the same profile on another device", "[device]") {
  CULPRIT_REQUIRE_DEVICE();
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
      const Profiler profiler{aggregate::L2Norm{}, standardize::Identity{}, Everything{}};
      return profiler.batch(profiler.plan(model), x, classes(4, out)).profiles;
    };
    torch::manual_seed(i);
    const at::Tensor here = profiles(at::kCPU);
    torch::manual_seed(i);
    CHECK(difference(profiles(tested_device()), here) < tolerance);
  }
}

TEST_CASE("A model on the CPU takes inputs and labels from another device", "[device]") {
  CULPRIT_REQUIRE_DEVICE();
  const Profiler profiler;
  const visit::Plan plan = profiler.plan(model_on(at::kCPU));
  const at::Tensor here = profiler.batch(plan, inputs(), labels()).profiles;
  CHECK(
      profiler.batch(plan, inputs().to(tested_device()), labels().to(tested_device())).profiles.equal(here));
}

TEST_CASE("A baseline is fitted to a model on another device", "[device]") {
  CULPRIT_REQUIRE_DEVICE();
  const Profiler profiler;
  const Baseline here = profiler.fit(model_on(at::kCPU), batches());
  const Baseline there = profiler.fit(model_on(tested_device()), batches());
  CHECK((there.mean() - here.mean()).cwiseAbs().maxCoeff() < tolerance);
  CHECK((there.stddev() - here.stddev()).cwiseAbs().maxCoeff() < tolerance);

  const auto model = model_on(tested_device());
  const Sample sample{inputs()[0], labels()[0].item<Index>()};
  const Profile profile = profiler(model, sample, there);
  CHECK((profile.values() - profiler(model_on(at::kCPU), sample, here).values()).cwiseAbs().maxCoeff() <
        1e-6);
}

TEMPLATE_LIST_TEST_CASE("Input saliency of each distance is the same on another device", "[device]",
                        Distances) {
  CULPRIT_REQUIRE_DEVICE();
  if constexpr (DifferentiableDistance<TestType>) {
    const Profiler profiler;
    const Baseline baseline = profiler.fit(model_on(at::kCPU), batches());
    for (const BoostOptions options : {BoostOptions{}, BoostOptions{.noise_iters = 2, .noise_std = 0.1}}) {
      const InputSaliency saliency{profiler, TestType{}, select::Top{3}, options};
      const auto of = [&](at::Device device) {
        return saliency.batch(profiler.plan(model_on(device)), inputs(), labels(), baseline);
      };
      const std::vector<InputGradient> here = of(at::kCPU), there = of(tested_device());
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
  CULPRIT_REQUIRE_DEVICE();
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
  CHECK(difference(outputs(tested_device()), outputs(at::kCPU)) < tolerance);
}

TEST_CASE("Trials that share a pass give the same outputs on another device", "[device]") {
  CULPRIT_REQUIRE_DEVICE();
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
  CHECK(difference(outputs(tested_device()), outputs(at::kCPU)) < tolerance);
}
