// SPDX-License-Identifier: MIT
// What only a GPU can show. (The tests on any device are run on it too.)
#include <cmath>
#include <iostream>

#include <ATen/Context.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "device/device.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

at::Device culprit::test::tested_device() { return {at::kCUDA, 0}; }

bool culprit::test::have_tested_device() {
  if (torch::cuda::is_available()) return true;
  std::cout << "SKIPPED: needs a CUDA device\n";
  return false;
}

namespace {

/// Products of float32 are float32's, not those of 10 bits that LibTorch allows in convolutions.
[[maybe_unused]] const bool whole_products = [] {
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  return true;
}();

/// Keeps the current stream at work for many times longer than the CPU takes to queue a batch: 20 products of
/// 1.1e12 operations each, in few enough kernels to be queued at once.
void occupy(const at::Tensor& large, at::Tensor& result) {
  for (int i = 0; i < 20; ++i) at::mm_out(result, large, large);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("A batch is queued on the current stream of a GPU, and nothing waits", "[device]",
                        Aggregations) {
  CULPRIT_REQUIRE_DEVICE();
  const Profiler profiler{TestType{}, standardize::Identity{}, visit::AllWeights{}};
  const at::Tensor here = profiler.batch(profiler.plan(model_on(at::kCPU)), inputs(), labels()).profiles;

  const at::Device device = tested_device();
  const c10::Stream own = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  const visit::Plan plan = profiler.plan(model_on(device));
  const at::Tensor source = inputs().to(device);
  const at::Tensor large = at::zeros({8192, 8192}, at::dtype(at::kFloat).device(device));
  at::Tensor result = at::empty_like(large);
  torch::cuda::synchronize();

  at::Tensor profiles;
  // The first turn is for what waits once in a process: memory, kernels and libraries that are made ready.
  for (const bool ready : {false, true}) {
    const at::Tensor late = at::full_like(source, std::nan(""));
    torch::cuda::synchronize();
    const c10::StreamGuard guard(own);
    occupy(large, result);
    late.copy_(source);
    profiles = profiler.batch_as_is(plan, late, labels()).profiles;
    if (ready) CHECK_FALSE(own.query());
    own.synchronize();
  }
  CHECK(difference(profiles, here) < tolerance);
}

TEST_CASE("Profiles in float32 on a GPU differ from those in float64 by rounding", "[device]") {
  CULPRIT_REQUIRE_DEVICE();
  const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}};
  const visit::Plan exact = profiler.plan(model_on(at::kCPU));
  const at::Tensor here = profiler.batch(exact, inputs(), labels()).profiles;
  const visit::Plan plan = profiler.plan(model_on(tested_device(), at::kFloat));
  const at::Tensor there = profiler.batch(plan, inputs().to(at::kFloat), labels()).profiles;
  REQUIRE(there.scalar_type() == at::kFloat);
  // No number is the sum of more than 54 products, or of 64 positions, in any of six layers, forward or back.
  constexpr double sums = 2 * 6 * 64, unit_roundoff = 6e-8;
  CHECK(worst(*plan.units, there.cpu(), here) < sums * unit_roundoff);
}
