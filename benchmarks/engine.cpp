// SPDX-License-Identifier: MIT
// Time of one batch: profiles and input saliency by each engine beside an ordinary training step on the same
// network and batch.
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "models/zoo.hpp"

namespace {

namespace cu = culprit;

struct EngineJob {
  EngineJob(const std::string& network, std::vector<std::int64_t> shape)
      : model(cu::zoo::make_model(network)) {
    torch::manual_seed(1);
    model->eval();
    inputs = torch::randn(shape);
    const auto classes = model->forward(inputs.slice(0, 0, 1)).size(1);
    labels = torch::randint(classes, {shape[0]});
  }

  std::shared_ptr<cu::zoo::Classifier> model;
  torch::Tensor inputs;
  torch::Tensor labels;
};

void training_step(benchmark::State& state, const std::string& network,
                   const std::vector<std::int64_t>& shape) {
  const EngineJob job(network, shape);
  for ([[maybe_unused]] const auto turn : state) {
    job.model->zero_grad();
    torch::nn::functional::cross_entropy(job.model->forward(job.inputs), job.labels).backward();
  }
  state.SetItemsProcessed(state.iterations() * shape[0]);
}

/// Channels last, with a worker for each thread.
void workers(benchmark::State& state, const std::string& network, const std::vector<std::int64_t>& shape) {
  const EngineJob job(network, shape);
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              cu::engine::Batched{.workers = at::get_num_threads()}};
  const auto plan = profiler.plan(job.model);
  const torch::Tensor inputs = job.inputs.contiguous(at::MemoryFormat::ChannelsLast);
  for ([[maybe_unused]] const auto turn : state)
    benchmark::DoNotOptimize(profiler.batch(plan, inputs, job.labels).profiles.const_data_ptr());
  state.SetItemsProcessed(state.iterations() * shape[0]);
}

template <class Engine>
void profiles(benchmark::State& state, const std::string& network, const std::vector<std::int64_t>& shape) {
  const EngineJob job(network, shape);
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              Engine{}};
  const auto plan = profiler.plan(job.model);
  for ([[maybe_unused]] const auto turn : state) {
    benchmark::DoNotOptimize(profiler.batch(plan, job.inputs, job.labels).profiles.const_data_ptr());
  }
  state.SetItemsProcessed(state.iterations() * shape[0]);
}

/// Mean 0 and deviation 1: the time does not depend on them.
cu::Moments unit_moments(cu::Index units) {
  return {2, Eigen::VectorXd::Zero(units), Eigen::VectorXd::Ones(units)};
}

template <class Engine>
void input_saliency(benchmark::State& state, const std::string& network,
                    const std::vector<std::int64_t>& shape) {
  const EngineJob job(network, shape);
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              Engine{}};
  const auto plan = profiler.plan(job.model);
  const cu::Baseline baseline(plan.units, unit_moments(plan.units->size()), profiler.fingerprint(plan));
  const cu::InputSaliency saliency{profiler};
  for ([[maybe_unused]] const auto turn : state) {
    benchmark::DoNotOptimize(saliency.batch(plan, job.inputs, job.labels, baseline).front().distance);
  }
  state.SetItemsProcessed(state.iterations() * shape[0]);
}

void register_jobs(const std::string& network, const std::vector<std::int64_t>& shape) {
  const auto add = [&](const std::string& what, auto function) {
    benchmark::RegisterBenchmark((what + "/" + network).c_str(), function, network, shape)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  add("training_step", training_step);
  add("batched", profiles<cu::engine::Batched>);
  add("loop", profiles<cu::engine::Loop>);
  add("input_saliency_batched", input_saliency<cu::engine::Batched>);
  add("input_saliency_loop", input_saliency<cu::engine::Loop>);
}

}  // namespace

int main(int argc, char* argv[]) {
  register_jobs("resnet20", {128, 3, 32, 32});
  register_jobs("resnet56", {64, 3, 32, 32});
  for (const std::string network : {"resnet20", "resnet56"}) {
    for (const std::int64_t batch : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      benchmark::RegisterBenchmark(("cost/" + network + "/" + std::to_string(batch)).c_str(), workers,
                                   network, std::vector<std::int64_t>{batch, 3, 32, 32})
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  register_jobs("resnet50", {8, 3, 224, 224});
  register_jobs("mobilenet_v1_025", {32, 3, 224, 224});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
