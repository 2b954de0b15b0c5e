// SPDX-License-Identifier: MIT
// The functions of every aggregation on scalars compile as device code, and give on the device what they give
// on the host. Without a device only the first is tested, and the test is listed as skipped.
#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include <cuda_runtime.h>

#include "culprit/aggregate/aggregate.hpp"

namespace {

constexpr int unit_size = 1000;

template <class Aggregation>
__host__ __device__ double aggregate(const double* gradients) {
  const Aggregation policy{};
  auto sum = policy.map(gradients[0]);
  for (int i = 1; i < unit_size; ++i) sum = policy.combine(sum, policy.map(gradients[i]));
  const double result = policy.finish(sum, unit_size);
  return result + policy.derivative(gradients[1], result, unit_size);
}

template <class Aggregation>
__global__ void aggregate_on_device(const double* gradients, double* result) {
  *result = aggregate<Aggregation>(gradients);
}

/// Whether device and host agree; both sum in the same order, but the device fuses multiplications and
/// additions.
template <class Aggregation>
bool agrees(const std::vector<double>& gradients) {
  double* input = nullptr;
  double* output = nullptr;
  double device = std::nan("");
  const std::size_t bytes = gradients.size() * sizeof(double);
  const bool ran =
      cudaMalloc(&input, bytes) == cudaSuccess && cudaMalloc(&output, sizeof device) == cudaSuccess &&
      cudaMemcpy(input, gradients.data(), bytes, cudaMemcpyHostToDevice) == cudaSuccess &&
      (aggregate_on_device<Aggregation><<<1, 1>>>(input, output), cudaGetLastError()) == cudaSuccess &&
      cudaMemcpy(&device, output, sizeof device, cudaMemcpyDeviceToHost) == cudaSuccess;
  cudaFree(input);
  cudaFree(output);
  const double host = aggregate<Aggregation>(gradients.data());
  const bool same = ran && std::abs(device - host) <= 1e-12 * std::abs(host);
  std::printf("%s: host %.17g, device %.17g\n", Aggregation::name.data(), host, device);
  return same;
}

template <class... Aggregations>
int count_wrong(const std::vector<double>& gradients) {
  return (0 + ... + (agrees<Aggregations>(gradients) ? 0 : 1));
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("SKIPPED: needs a CUDA device");
    return 0;
  }
  std::vector<double> gradients(unit_size);
  for (int i = 0; i < unit_size; ++i) gradients[static_cast<std::size_t>(i)] = std::sin(i) + 0.25;
  namespace aggregate = culprit::aggregate;
  return count_wrong<aggregate::MeanAbs, aggregate::Mean, aggregate::L2Norm, aggregate::MaxAbs,
                     aggregate::ParameterWise, aggregate::TensorMean>(gradients);
}
