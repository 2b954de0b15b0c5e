// SPDX-License-Identifier: MIT
// The fused kernel on each of ResNet-50's convolutions, for 64 samples of 224 x 224: milliseconds, and
// operations a second, in each precision. A table for docs/cuda.md.
#include <algorithm>
#include <cstdio>
#include <vector>

#include <cuda_runtime.h>

#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/cuda/dispatch.cuh"

using namespace culprit::cuda;

namespace {

struct Convolution {
  int times, channels, filters, extent, taps, stride;

  [[nodiscard]] int positions() const { return extent / stride; }
  [[nodiscard]] double operations() const {
    return 2.0 * samples * filters * channels * taps * taps * positions() * positions();
  }
  /// Each factor read once.
  [[nodiscard]] double elements() const {
    return double{samples} *
           (double{1} * channels * extent * extent + double{1} * filters * positions() * positions());
  }
  static constexpr int samples = 64;
};

void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

template <class Element>
__global__ void fill(Element* numbers, std::size_t count) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) numbers[i] = Element(static_cast<float>((i * 2654435761U) % 2001) / 1000.0F - 1.0F);
}

template <class Element>
Element* some(std::size_t count) {
  Element* numbers = nullptr;
  require(cudaMalloc(&numbers, count * sizeof(Element)));
  fill<<<static_cast<unsigned>((count + 255) / 256), 256>>>(numbers, count);
  return numbers;
}

/// The median time of nine, in milliseconds.
template <class Multiply>
float time(const Convolution& layer) {
  using T = typename Multiply::Element;
  const int out = layer.positions();
  const auto factor = [](int channels, int extent) {
    const int area = extent * extent;
    return Factor<T>{some<T>(std::size_t{Convolution::samples} * channels * area),
                     std::int64_t{channels} * area,
                     std::int64_t{channels} * area,
                     area,
                     extent,
                     1};
  };
  const int padding = layer.taps / 2;
  const GradientProblem<T> problem{factor(layer.filters, out),
                                   factor(layer.channels, layer.extent),
                                   Convolution::samples,
                                   1,
                                   layer.filters,
                                   layer.channels,
                                   out,
                                   out,
                                   layer.extent,
                                   layer.extent,
                                   layer.taps,
                                   layer.taps,
                                   layer.stride,
                                   layer.stride,
                                   padding,
                                   padding,
                                   1,
                                   1};
  float* numbers = nullptr;
  require(cudaMalloc(&numbers, sizeof(float) * Convolution::samples * layer.filters));
  void* memory = nullptr;
  std::int64_t size = 0;
  const auto workspace = [&](std::int64_t bytes) {
    if (bytes > size) {
      cudaFree(memory);
      require(cudaMalloc(&memory, static_cast<std::size_t>(size = bytes)));
    }
    return memory;
  };
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 11; ++i) {
    require(cudaEventRecord(begin));
    require(reduce_gradients<Multiply>(problem, culprit::aggregate::MeanAbs{}, workspace, numbers,
                                       layer.filters, nullptr));
    require(cudaEventRecord(end));
    require(cudaEventSynchronize(end));
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, begin, end));
    if (i >= 2) times.push_back(milliseconds);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  for (const void* each :
       {static_cast<const void*>(problem.rows.data), static_cast<const void*>(problem.columns.data),
        static_cast<const void*>(numbers), static_cast<const void*>(memory)})
    require(cudaFree(const_cast<void*>(each)));
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("SKIPPED: needs a CUDA device");
    return 0;
  }
  const std::vector<Convolution> layers = {
      {1, 3, 64, 224, 7, 2},     {1, 64, 64, 56, 1, 1},    {3, 64, 64, 56, 3, 1},    {4, 64, 256, 56, 1, 1},
      {2, 256, 64, 56, 1, 1},    {1, 256, 128, 56, 1, 1},  {1, 128, 128, 56, 3, 2},  {4, 128, 512, 28, 1, 1},
      {1, 256, 512, 56, 1, 2},   {3, 512, 128, 28, 1, 1},  {3, 128, 128, 28, 3, 1},  {1, 512, 256, 28, 1, 1},
      {1, 256, 256, 28, 3, 2},   {6, 256, 1024, 14, 1, 1}, {1, 512, 1024, 28, 1, 2}, {5, 1024, 256, 14, 1, 1},
      {5, 256, 256, 14, 3, 1},   {1, 1024, 512, 14, 1, 1}, {1, 512, 512, 14, 3, 2},  {3, 512, 2048, 7, 1, 1},
      {1, 1024, 2048, 14, 1, 2}, {2, 2048, 512, 7, 1, 1},  {2, 512, 512, 7, 3, 1}};
  std::puts(
      "| times | channels | filters | extent | taps | stride | GFLOP | MB in float32 | float32 ms | TFLOP/s "
      "| TF32 ms "
      "| TFLOP/s | bfloat16 ms | TFLOP/s |");
  std::puts("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
  double operations = 0;
  double total[3] = {};
  for (const Convolution& layer : layers) {
    const float milliseconds[3] = {time<Float32>(layer), time<Tf32>(layer), time<Bfloat16>(layer)};
    std::printf("| %d | %d | %d | %d | %d | %d | %.1f | %.0f |", layer.times, layer.channels, layer.filters,
                layer.extent, layer.taps, layer.stride, layer.operations() / 1e9, layer.elements() * 4e-6);
    for (int i = 0; i < 3; ++i) {
      std::printf(" %.3f | %.0f |", milliseconds[i], layer.operations() / milliseconds[i] / 1e9);
      total[i] += layer.times * milliseconds[i];
    }
    std::puts("");
    operations += layer.times * layer.operations();
  }
  std::printf("| all | | | | | | %.0f | |", operations / 1e9);
  for (const double milliseconds : total)
    std::printf(" %.2f | %.0f |", milliseconds, operations / milliseconds / 1e9);
  std::puts("");
}
