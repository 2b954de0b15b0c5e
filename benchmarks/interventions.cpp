// SPDX-License-Identifier: MIT
// Time of one batch with other filters switched off for each sample, beside a plain forward pass and the loop
// that edits the weights for each sample; and time of steps on 1 % of the filters, each with the outputs for
// the sample and ten others, beside the loop that takes the steps on the weights.
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
    for (cu::Index sample = 0; sample < 32; ++sample) {
      std::vector<cu::Index> rows;
      for (cu::Index i = 0; i < 11; ++i) rows.push_back((sample + 11 * i) % 128);
      trials.push_back({sample, cu::drawn(all, 7, static_cast<std::uint64_t>(sample)), rows});
    }
  }

  torch::NoGradGuard no_grad;
  std::shared_ptr<cu::zoo::Classifier> model = cu::zoo::make_model("resnet20");
  torch::Tensor inputs;
  cu::visit::Plan plan;
  std::vector<std::vector<cu::Index>> units;  // 33 is the mean of the experiment's 1 to 100
  torch::Tensor targets = torch::zeros({128}, torch::kLong);
  std::vector<cu::intervene::Trial> trials;
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

void fine_tuned_each(benchmark::State& state) {
  const Bench bench;
  for ([[maybe_unused]] const auto turn : state) {
    const auto outputs = cu::intervene::outputs_fine_tuned_each(bench.plan, cu::intervene::FineTune<>{},
                                                                bench.inputs, bench.targets, bench.trials);
    benchmark::DoNotOptimize(outputs.front().const_data_ptr());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(bench.trials.size()));
}

void fine_tuned_one_by_one(benchmark::State& state) {
  const Bench bench;
  for ([[maybe_unused]] const auto turn : state) {
    for (const cu::intervene::Trial& trial : bench.trials) {
      cu::intervene::Undo undo;
      const cu::intervene::FineTune<> tune;
      tune(bench.plan, {bench.inputs[trial.sample], 0, trial.units}, undo);
      const torch::Tensor rows = bench.inputs.index_select(0, torch::tensor(trial.rows));
      benchmark::DoNotOptimize(bench.plan.model.forward(rows).const_data_ptr());
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(bench.trials.size()));
}

BENCHMARK(plain_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(pruned_each)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(pruned_one_by_one)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(fine_tuned_each)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(fine_tuned_one_by_one)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
