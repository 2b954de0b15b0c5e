// SPDX-License-Identifier: MIT
// Time of one batch with other filters switched off for each sample, beside a plain forward pass and the loop
// that edits the weights for each sample.
#include <vector>

#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "models/zoo.hpp"

namespace {

namespace cu = culprit;

struct Bench {
  Bench() {
    torch::manual_seed(1);
    inputs = torch::randn({128, 3, 32, 32});
    plan = cu::visit::trace(cu::Profiler{}.plan(model), inputs.slice(0, 0, 1));
    const auto all = cu::first_indices(plan.units->size());
    for (std::uint64_t sample = 0; sample < 128; ++sample) units.push_back(cu::drawn(all, 33, sample));
  }

  torch::NoGradGuard no_grad;
  std::shared_ptr<cu::zoo::Classifier> model = cu::zoo::make_model("resnet20");
  torch::Tensor inputs;
  cu::visit::Plan plan;
  std::vector<std::vector<cu::Index>> units;  // 33 is the mean of the experiment's 1 to 100
};

void plain_forward(benchmark::State& state) {
  const Bench bench;
  for ([[maybe_unused]] const auto turn : state)
    benchmark::DoNotOptimize(bench.plan.model.forward(bench.inputs).const_data_ptr());
  state.SetItemsProcessed(state.iterations() * 128);
}

void pruned_each(benchmark::State& state) {
  const Bench bench;
  for ([[maybe_unused]] const auto turn : state) {
    benchmark::DoNotOptimize(
        cu::intervene::outputs_pruned_each(bench.plan, bench.inputs, bench.units).const_data_ptr());
  }
  state.SetItemsProcessed(state.iterations() * 128);
}

void pruned_one_by_one(benchmark::State& state) {
  const Bench bench;
  for ([[maybe_unused]] const auto turn : state) {
    for (cu::Index sample = 0; sample < 128; ++sample) {
      const cu::intervene::Scope scope(
          cu::intervene::Prune{}, bench.plan,
          {bench.inputs[sample], 0, bench.units[static_cast<std::size_t>(sample)]});
      benchmark::DoNotOptimize(scope.outputs().const_data_ptr());
    }
  }
  state.SetItemsProcessed(state.iterations() * 128);
}

BENCHMARK(plain_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(pruned_each)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(pruned_one_by_one)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
