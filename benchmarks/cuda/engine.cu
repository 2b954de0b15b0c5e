// SPDX-License-Identifier: MIT
// Time of one batch on a CUDA device: profiles by each engine, in each precision, beside an ordinary training
// step on the same network and batch. Each time ends when the device has nothing left to do.
#include <benchmark/benchmark.h>
#include <c10/cuda/CUDAFunctions.h>

#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/cuda/batched.cuh"
#include "culprit/engine/autocast.hpp"
#include "culprit/profiler.hpp"
#include "culprit/visit/nn_module.hpp"
#include "models/zoo.hpp"

namespace {

namespace cu = culprit;
using Shape = std::vector<std::int64_t>;

struct Job {
  Job(const std::string& network, const Shape& shape) : model(cu::zoo::make_model(network)) {
    torch::manual_seed(1);
    model->eval();
    model->to(at::kCUDA);
    inputs = torch::randn(shape).to(at::kCUDA);
    const auto classes = model->forward(inputs.slice(0, 0, 1)).size(1);
    labels = torch::randint(classes, {shape[0]});
    labels_there = labels.to(at::kCUDA);
  }

  std::shared_ptr<cu::zoo::Classifier> model;
  at::Tensor inputs, labels, labels_there;
};

template <class Work>
void measure(benchmark::State& state, const Work& work) {
  for (int i = 0; i < 3; ++i) work();
  c10::cuda::device_synchronize();
  for ([[maybe_unused]] const auto turn : state) {
    work();
    c10::cuda::device_synchronize();
  }
}

void training_step(benchmark::State& state, const std::string& network, const Shape& shape, bool tf32) {
  at::globalContext().setAllowTF32CuDNN(tf32);
  const Job job(network, shape);
  measure(state, [&] {
    job.model->zero_grad();
    at::cross_entropy_loss(job.model->forward(job.inputs), job.labels_there).backward();
  });
}

void training_step_autocast(benchmark::State& state, const std::string& network, const Shape& shape) {
  const Job job(network, shape);
  at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
  measure(state, [&] {
    at::autocast::set_autocast_enabled(at::kCUDA, true);
    job.model->zero_grad();
    const at::Tensor outputs = job.model->forward(job.inputs);
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCUDA, false);
    at::cross_entropy_loss(outputs.to(at::kFloat), job.labels_there).backward();
  });
}

template <class Engine>
void profiles(benchmark::State& state, const std::string& network, const Shape& shape, bool tf32,
              const Engine& engine) {
  at::globalContext().setAllowTF32CuDNN(tf32);
  const Job job(network, shape);
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              engine};
  const auto plan = profiler.plan(job.model);
  measure(state, [&] { benchmark::DoNotOptimize(profiler.batch_as_is(plan, job.inputs, job.labels)); });
}

void register_jobs(const std::string& network, const Shape& shape) {
  using cu::cuda::Precision;
  const cu::cuda::Batched float32, tf32{.fused = {Precision::tf32}};
  const std::string end = "/" + network + "/" + std::to_string(shape[0]);
  const auto add = [&](const std::string& what, auto function, const auto&... rest) {
    benchmark::RegisterBenchmark((what + end).c_str(), function, network, shape, rest...)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  for (const bool allowed : {false, true}) {
    const std::string suffix = allowed ? "_tf32" : "_float32";
    add("training_step" + suffix, training_step, allowed);
    add("batched" + suffix, profiles<cu::engine::Batched>, allowed, cu::engine::Batched{});
    add("fused" + suffix, profiles<cu::cuda::Batched>, allowed, allowed ? tf32 : float32);
  }
  add("training_step_bfloat16", training_step_autocast);
  add("fused_bfloat16", profiles<cu::engine::Autocast<cu::cuda::Batched>>, true,
      cu::engine::Autocast<cu::cuda::Batched>{});
}

}  // namespace

int main(int argc, char* argv[]) {
  register_jobs("resnet20", {128, 3, 32, 32});
  register_jobs("resnet20", {1024, 3, 32, 32});
  for (const std::int64_t batch : {64, 256}) register_jobs("resnet50", {batch, 3, 224, 224});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (c10::cuda::device_count() == 0) {
    std::puts("SKIPPED: needs a CUDA device");
    return 0;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
