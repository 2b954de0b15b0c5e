// SPDX-License-Identifier: MIT
// Profiles in mixed precision.
#include "culprit/engine/autocast.hpp"

#include "engine/nets.hpp"

using namespace culprit;
using namespace culprit::test;
namespace F = torch::nn::functional;

namespace {

struct Net {
  Net() {
    torch::manual_seed(seed());
    model = torch::nn::Sequential(
        torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 24, 3).padding(1)), torch::nn::BatchNorm2d(24),
        torch::nn::ReLU(), torch::nn::Conv2d(torch::nn::Conv2dOptions(24, 24, 3).groups(24)),
        torch::nn::ReLU(), torch::nn::Conv2d(torch::nn::Conv2dOptions(24, 40, 1).stride(2)),
        torch::nn::ReLU(), torch::nn::Flatten(), torch::nn::Linear(640, 10));
    model->eval();
    plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
  }

  template <class E>
  [[nodiscard]] engine::BatchResult run(const E& engine) const {
    return engine(*plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets);
  }

  torch::nn::Sequential model{nullptr};
  at::Tensor inputs = normal({6, 3, 10, 10}, at::kFloat);
  at::Tensor targets = classes(6, 10);
  std::optional<visit::Plan> plan;
};

/// What a number may be off by, relative to it, when it is rounded to bfloat16.
constexpr double unit = 1.0 / 256;

}  // namespace

TEST_CASE("Autocast gives the profiles of autocast's training step, one sample at a time", "[engine]") {
  const Net net;
  Warnings warnings;
  const engine::BatchResult slow = net.run(engine::Autocast<engine::Loop>{});
  for (const Index workers : {1, 3}) {
    const engine::BatchResult fast = net.run(engine::Autocast<>{.engine = {.workers = workers}});
    CHECK(fast.profiles.scalar_type() == at::kFloat);
    CHECK(fast.outputs.scalar_type() == at::kFloat);
    CHECK(fast.losses.scalar_type() == at::kDouble);
    // The layers' inputs, the gradients of their outputs and, by Loop alone, those of the weights are
    // rounded; each may go the other way when a sum has another order.
    CHECK(worst(*net.plan->units, fast.profiles, slow.profiles) <= 3 * unit);
  }
  CHECK(warnings.messages == std::vector<std::string>{});
  // It did compute in bfloat16; how near that comes on a trained network is told by tests/reference.
  CHECK(worst(*net.plan->units, net.run(engine::Autocast<>{}).profiles, net.run(engine::Batched{}).profiles) >
        1e-5);
}

TEST_CASE("Autocast ends with its call", "[engine]") {
  const Net net;
  const ModelState before(net.plan->model);
  const auto state = [] {
    return std::pair(at::autocast::is_autocast_enabled(at::kCPU), at::autocast::get_autocast_dtype(at::kCPU));
  };
  const auto was = state();
  REQUIRE_FALSE(was.first);
  (void)net.run(engine::Autocast<>{});
  CHECK(state() == was);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kHalf);
  const at::Tensor wrong = at::full({6}, 10, at::kLong);
  CHECK_THROWS_AS(
      engine::Autocast<>{}(*net.plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, net.inputs, wrong), Error);
  CHECK(state() == std::pair(true, at::kHalf));
  at::autocast::set_autocast_enabled(at::kCPU, was.first);
  at::autocast::set_autocast_dtype(at::kCPU, was.second);
  CHECK(ModelState(net.plan->model) == before);
}
