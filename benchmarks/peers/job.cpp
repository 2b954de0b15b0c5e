// SPDX-License-Identifier: MIT
// One job of benchmarks/peers/run.py in C++, as benchmarks/peers/profiles.py is in Python:
//   peer_job NETWORK WEIGHTS INPUTS METHOD PROFILES DEVICE
// WEIGHTS and INPUTS are safetensors files, INPUTS with "inputs" [B, C, H, W] and "labels" [B] int64; DEVICE
// is cpu, cuda or cuda:N. Says "ready" when one repetition is done; then for each line "run" does more of
// them, for a second and at least two, and says the median of their milliseconds without the first, which
// wakes memory and threads that lay idle. A repetition ends when the device has nothing left to do. On "end"
// says how much memory it held at most until then, in KiB, the process on the CPU or its tensors on another
// device, and writes the file PROFILES: its raw profiles, [B, units], by the names "profiles" and, computed
// once more in that type, "float64". A training step has no profiles and writes none, and so do the jobs
// whose results are others.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/DeviceAccelerator.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "culprit/engine/autocast.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"

namespace {

namespace cu = culprit;

using Model = std::shared_ptr<cu::zoo::Classifier>;
/// One repetition: raw profiles, or an undefined tensor.
using Repetition = std::function<at::Tensor()>;

Repetition training_step(const Model& model, torch::Tensor inputs, const torch::Tensor& labels,
                         at::MemoryFormat format) {
  for (torch::Tensor& parameter : model->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(format));
  }
  return [model, inputs = inputs.contiguous(format), labels = labels.to(inputs.device())] {
    model->zero_grad();
    torch::nn::functional::cross_entropy(model->forward(inputs), labels).backward();
    return at::Tensor{};
  };
}

template <class Engine, class Aggregation = cu::aggregate::MeanAbs>
Repetition profiles(const Engine& engine, const Model& model, const torch::Tensor& inputs,
                    const torch::Tensor& labels) {
  const cu::Profiler profiler{Aggregation{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{}, engine};
  return [=, plan = profiler.plan(model)] { return profiler.batch(plan, inputs, labels).profiles; };
}

/// Mean 0 and deviation 1, on which the time does not depend.
Repetition input_saliency(const cu::engine::Batched& engine, const Model& model, const torch::Tensor& inputs,
                          const torch::Tensor& labels) {
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              engine};
  const cu::visit::Plan plan = profiler.plan(model);
  const cu::Index units = plan.units->size();
  const cu::Baseline baseline(plan.units, {2, Eigen::VectorXd::Zero(units), Eigen::VectorXd::Ones(units)},
                              profiler.fingerprint(plan));
  return [=, saliency = cu::InputSaliency{profiler}] {
    (void)saliency.batch(plan, inputs, labels, baseline);
    return at::Tensor{};
  };
}

/// @param labels  on the CPU, where the profiler looks at them
Repetition make(const std::string& method, const Model& model, const torch::Tensor& inputs,
                const torch::Tensor& labels) {
  const cu::engine::Batched workers{.workers = at::get_num_threads()};
  const torch::Tensor channels_last = inputs.contiguous(at::MemoryFormat::ChannelsLast);
  if (method == "contiguous") return training_step(model, inputs, labels, at::MemoryFormat::Contiguous);
  if (method == "channels_last") return training_step(model, inputs, labels, at::MemoryFormat::ChannelsLast);
  if (method == "workers_channels_last") return profiles(workers, model, channels_last, labels);
  if (method == "workers") return profiles(workers, model, inputs, labels);
  if (method == "batched") return profiles(cu::engine::Batched{}, model, inputs, labels);
  if (method == "loop") return profiles(cu::engine::Loop{}, model, inputs, labels);
  if (method == "autocast")
    return profiles(cu::engine::Autocast<>{.engine = workers}, model, channels_last, labels);
  if (method == "parameter_wise") {  // what it writes is none of the others' profiles
    const auto run =
        profiles<cu::engine::Batched, cu::aggregate::ParameterWise>(workers, model, channels_last, labels);
    return [run] {
      (void)run();
      return at::Tensor{};
    };
  }
  if (method == "input_saliency") return input_saliency(workers, model, channels_last, labels);
  throw cu::Error(cu::ErrorCode::argument, "METHOD", "a method of JOBS in run.py", method);
}

/// @param values  contiguous
std::pair<std::string, cu::io::TensorView> named(const std::string& name, const at::Tensor& values) {
  return {name,
          {.dtype = cu::zoo::detail::file_dtype(values.scalar_type(), name),
           .shape = values.sizes().vec(),
           .data = {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}}};
}

/// Milliseconds, as the head of this file says.
template <class Run>
double median_time(const Run& run) {
  run();
  std::vector<double> times;
  for (double sum = 0.0; sum < 1000.0 || times.empty(); sum += times.back()) {
    const auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

/// The most memory this process has held, or its tensors on another device than the CPU, in KiB.
std::string peak_memory(at::Device device) {
  if (!device.is_cpu())
    return std::to_string(at::accelerator::getDeviceStats(device.index()).allocated_bytes[0].peak / 1024);
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") {
  }
  status >> word;
  return word;
}

}  // namespace

int main(int argc, char* argv[]) try {
  if (argc != 7) {
    std::cerr << "usage: peer_job NETWORK WEIGHTS INPUTS METHOD PROFILES DEVICE\n";
    return 2;
  }
  const at::Device device(argv[6]);
  if (device.is_cuda() && !torch::cuda::is_available())
    throw cu::Error(cu::ErrorCode::argument, "DEVICE " + device.str(), "a CUDA device", "none here");
  const Model model = cu::zoo::make_model(argv[1]);
  cu::zoo::load_weights(*model, argv[2]);
  const auto file = cu::io::Safetensors::open(argv[3]);
  model->to(device);
  const at::Tensor inputs = cu::zoo::detail::copy_of(file.at("inputs")).to(device);
  const at::Tensor labels = cu::zoo::detail::copy_of(file.at("labels"));
  const Repetition repetition = make(argv[4], model, inputs, labels);
  at::Tensor last = repetition();
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line == "run";) {
    std::cout << median_time([&] {
      last = repetition();
      if (device.is_cuda()) torch::cuda::synchronize(device.index());
    }) << std::endl;
  }
  const std::string peak = peak_memory(inputs.device());
  if (last.defined()) {
    model->to(at::kDouble);
    const at::Tensor exact = make(argv[4], model, inputs.to(at::kDouble), labels)().cpu();
    last = last.cpu();
    cu::io::write_safetensors(argv[5], std::array{named("profiles", last), named("float64", exact)});
  }
  std::cout << peak << std::endl;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
