// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "culprit/cuda/top_kernel.cuh"

namespace culprit::cuda {

namespace detail {

struct DeviceTopBlock {
  TopShared& memory;

  template <class Each>
  __device__ __forceinline__ void each(const Each& f) {
    f(static_cast<int>(threadIdx.x));
  }
  __device__ __forceinline__ void sync() { __syncthreads(); }
  __device__ __forceinline__ int add(int& counter) { return atomicAdd(&counter, 1); }
};

template <class T, class Standardization>
__global__ void __launch_bounds__(top_threads, 4)
    find_top_units(const __grid_constant__ TopTask<T> task,
                   const __grid_constant__ Standardization standardization) {
  __shared__ TopShared memory;
  DeviceTopBlock block{memory};
  find_top(block, task, standardization, static_cast<std::int64_t>(blockIdx.x));
}

}  // namespace detail

/// Queues the ranking of a batch on a stream.
/// @param standardization  whose function device code may call @param samples  at least one
/// @returns                what the launch gave
template <class T, class Standardization>
[[nodiscard]] cudaError_t find_top_units(const TopTask<T>& task, const Standardization& standardization,
                                         std::int64_t samples, cudaStream_t stream) {
  detail::find_top_units<<<static_cast<unsigned>(samples), top_threads, 0, stream>>>(task, standardization);
  return cudaGetLastError();
}

}  // namespace culprit::cuda
