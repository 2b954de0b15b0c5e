// SPDX-License-Identifier: MIT
// Profiles and input saliency by cuda::Batched, of a model on a CUDA device, against engine::Batched in
// float64 on the CPU. Without a device only that it compiles is tested, and the test is listed as skipped.
#include <cstdio>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include "culprit/aggregate/aggregate.hpp"
#include "culprit/cuda/top_units.cuh"
#include "culprit/engine/autocast.hpp"
#include "culprit/input_saliency.hpp"
// [fused]
#include "culprit/cuda/batched.cuh"
#include "culprit/profiler.hpp"
#include "culprit/standardize/standardize.hpp"
// [/fused]

using namespace culprit;
namespace fused = culprit::cuda;  // CUDA has a namespace cuda too

namespace {

// [fused]
/// An aggregation of your own, compiled into the kernel.
struct Excess {
  static constexpr std::string_view name = "excess";
  double threshold = 1e-3;

  __host__ __device__ double map(double g) const { return fmax(fabs(g) - threshold, 0.0); }
  __host__ __device__ double combine(double a, double b) const { return a + b; }
  __host__ __device__ double finish(double sum, culprit::Index size) const { return sum / double(size); }
};
// [/fused]

/// A layer for each of the kernel's ways: convolutions, strided, dilated, grouped, depthwise, transposed, and
/// of one dimension, and linear layers of one and of many rows; one that is used twice, which is not fused.
visit::ModelView model_on(at::Device device, at::ScalarType dtype) {
  at::manual_seed(3);
  const auto made = [&](at::IntArrayRef sizes) {
    const double fan_in = static_cast<double>(c10::multiply_integers(sizes.slice(1)));
    return (at::randn(sizes, at::kDouble) / std::sqrt(fan_in)).to(device, dtype);
  };
  const std::vector<at::Tensor> w = {made({40, 3, 3, 3}), made({72, 40, 3, 3}), made({72, 36, 1, 1}),
                                     made({72, 1, 3, 3}), made({72, 20, 2, 2}), made({24, 20, 3}),
                                     made({100, 24}),     made({24, 100}),      made({7, 24}),
                                     made({24, 24})};
  std::vector<visit::NamedTensor> parameters;
  for (std::size_t i = 0; i < w.size(); ++i) parameters.push_back({"w" + std::to_string(i), w[i]});
  return {parameters, {}, {}, [w](const at::Tensor& x) {
            at::Tensor y = at::conv2d(x, w[0], {}, 1, 1).tanh();
            y = at::conv2d(y, w[1], {}, 2, 2, 2).tanh();
            y = at::conv2d(y, w[2], {}, 1, at::IntArrayRef({0, 0}), 1, 2).tanh();
            y = at::conv2d(y, w[3], {}, 1, 1, 1, 72).tanh();
            y = at::conv_transpose2d(y, w[4], {}, 2).tanh();
            y = at::conv1d(y.flatten(2), w[5], {}, 1, at::IntArrayRef({1})).tanh();
            at::Tensor rows = y.transpose(1, 2);
            rows = at::linear(at::linear(rows, w[6]).tanh(), w[7]).tanh() +
                   at::linear(at::linear(rows, w[9]).tanh(), w[9]);
            return at::linear(rows.mean(1), w[8]);
          }};
}

/// The largest difference of any sample and layer, over that layer's largest value.
double worst(const Units& units, const at::Tensor& found, const at::Tensor& expected) {
  double result = 0;
  for (const Layer& layer : units.layers()) {
    const auto part = [&](const at::Tensor& all) {
      return all.narrow(1, layer.first, layer.count).to(at::kCPU, at::kDouble);
    };
    const double here =
        ((part(found) - part(expected)).abs().amax(1) / part(expected).abs().amax(1)).max().item<double>();
    result = here <= result ? result : here;  // NaN stays
  }
  return result;
}

template <class E, class A>
at::Tensor profiles(const E& engine, const A& aggregation, const visit::ModelView& model,
                    const at::Tensor& inputs, const at::Tensor& labels) {
  const Profiler profiler{aggregation, standardize::Identity{}, visit::AllWeights{}, engine};
  return profiler
      .batch(profiler.plan(model), inputs.to(model.parameters.front().tensor.scalar_type()), labels)
      .profiles;
}

int wrong = 0;

void check(const char* what, double difference, double tolerance) {
  std::printf("%s: %.2e, at most %.0e\n", what, difference, tolerance);
  if (!(difference <= tolerance)) ++wrong;
}

template <class A>
void check_profiles(const A& aggregation, const at::Tensor& inputs, const at::Tensor& labels) {
  std::printf("%s\n", A::name.data());
  const auto on_cpu = model_on(at::kCPU, at::kDouble);
  const auto on_device = model_on(at::kCUDA, at::kFloat);
  const Profiler profiler{aggregation, standardize::Identity{}, visit::AllWeights{}};
  const visit::Plan plan = profiler.plan(on_cpu);
  const Units& units = *plan.units;
  const at::Tensor expected = profiles(engine::Batched{}, aggregation, on_cpu, inputs, labels);
  const at::Tensor plain = profiles(engine::Batched{}, aggregation, on_device, inputs, labels);
  const at::Tensor exact = profiles(fused::Batched{}, aggregation, on_device, inputs, labels);
  // What forward and backward pass in float32 cost, and what they cost in TF32 and bfloat16 on top.
  check("float32, operations of LibTorch", worst(units, plain, expected), 1e-4);
  check("float32, fused", worst(units, exact, expected), 1e-4);
  check("float32, fused against operations of LibTorch", worst(units, exact, plain), 1e-5);
  const fused::Batched tf32{.fused = {fused::Precision::tf32}};
  check("tf32, fused", worst(units, profiles(tf32, aggregation, on_device, inputs, labels), expected),
        0x1p-9);
}

/// The profiler of docs/cuda.md.
void check_own(const at::Tensor& inputs, const at::Tensor& labels) {
  // [fused]
  const culprit::Profiler profiler{Excess{}, culprit::standardize::ZScore{}, culprit::visit::ConvFilters{},
                                   culprit::cuda::Batched{.fused = {culprit::cuda::Precision::tf32}}};
  // [/fused]
  const auto on_cpu = model_on(at::kCPU, at::kDouble);
  const auto on_device = model_on(at::kCUDA, at::kFloat);
  const Profiler reference{Excess{}};
  const visit::Plan plan = reference.plan(on_cpu);
  check("tf32, convolutions alone",
        worst(*plan.units, profiler.batch(profiler.plan(on_device), inputs.to(at::kFloat), labels).profiles,
              reference.batch(plan, inputs, labels).profiles),
        0x1p-9);
}

/// The ranking of a batch's profiles, against that of each profile on the CPU.
void check_top(const at::Tensor& raw, const Baseline& baseline) {
  // [top]
  const at::Tensor usual = culprit::cuda::statistics_on(raw.device(), baseline);  // once
  const auto top = culprit::cuda::top_units(culprit::standardize::ZScore{}, raw, usual, 10);
  // [/top]
  const RowMatrix rows = to_matrix(raw);
  for (Index sample = 0; sample < rows.rows(); ++sample) {
    const Profile profile =
        Profiler{}.standardize(Profile(baseline.shared_units(), row_of(rows, sample)), baseline);
    Index place = 0;
    double off = 0;
    for (const RankedUnit& expected : profile.top(10)) {
      const bool same = top.units[sample][place].item<Index>() == expected.unit;
      off += same ? std::abs(top.values[sample][place].item<double>() - expected.value) : 1;
      ++place;
    }
    check("top ten", off, 1e-300);
  }
}

}  // namespace

int main() {
  if (c10::cuda::device_count() == 0) {
    std::puts("SKIPPED: needs a CUDA device");
    return 0;
  }
  at::globalContext().setAllowTF32CuDNN(false);
  at::manual_seed(1);
  const at::Tensor inputs = at::randn({5, 3, 20, 18}, at::kDouble);
  const at::Tensor labels = at::randint(7, {5}, at::kLong);
  check_profiles(aggregate::MeanAbs{}, inputs, labels);
  check_profiles(aggregate::MaxAbs{}, inputs, labels);
  check_profiles(Excess{}, inputs, labels);
  check_own(inputs, labels);

  // Reduced precision: both round the same factors, and what differs is the order of sums.
  const auto model = model_on(at::kCUDA, at::kFloat);
  const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}};
  const visit::Plan plan = profiler.plan(model);
  const Units& units = *plan.units;
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto reduced = model_on(at::kCUDA, dtype);
    check(c10::toString(dtype),
          worst(units, profiles(fused::Batched{}, aggregate::MeanAbs{}, reduced, inputs, labels),
                profiles(engine::Batched{}, aggregate::MeanAbs{}, reduced, inputs, labels)),
          1e-5);
  }

  // On a stream that is not the default one.
  {
    const at::Tensor before = profiles(fused::Batched{}, aggregate::MeanAbs{}, model, inputs, labels);
    c10::cuda::device_synchronize();
    const c10::cuda::CUDAStreamGuard on(c10::cuda::getStreamFromPool());
    const at::Tensor there = profiles(fused::Batched{}, aggregate::MeanAbs{}, model, inputs, labels);
    check("another stream", worst(units, there, before), 1e-6);
  }

  // Input saliency.
  const std::vector<std::pair<at::Tensor, at::Tensor>> batches{{inputs, labels}};
  const Profiler here{aggregate::MeanAbs{}, standardize::ZScore{}, visit::AllWeights{}};
  const Profiler there{aggregate::MeanAbs{}, standardize::ZScore{}, visit::AllWeights{}, fused::Batched{}};
  const auto on_cpu = model_on(at::kCPU, at::kDouble);
  const Baseline baseline = here.fit(on_cpu, batches);
  const auto expected = InputSaliency{here}.batch(here.plan(on_cpu), inputs, labels, baseline);
  const auto found = InputSaliency{there}.batch(there.plan(model), inputs.to(at::kFloat), labels, baseline);
  double difference = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const at::Tensor off = found[i].gradient.to(at::kCPU, at::kDouble) - expected[i].gradient;
    difference = std::max(difference, (off.norm() / expected[i].gradient.norm()).item<double>());
  }
  check("input saliency", difference, 1e-4);

  check_top(profiles(fused::Batched{}, aggregate::MeanAbs{}, model, inputs, labels), baseline);
  return wrong;
}
