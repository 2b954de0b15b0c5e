// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "culprit/cuda/device_block.cuh"
#include "culprit/cuda/task.cuh"

namespace culprit::cuda {

/// Queues the reduction of one layer's gradients on a stream.
/// @param policy     an aggregation on scalars whose functions device code may call
/// @param workspace  gives memory of so many bytes on the device, for as long as the stream needs it
/// @param numbers    of row r, group g of sample b at numbers[b * stride + g * row_count + r]
/// @returns          what the launch gave
template <class Multiply, class Policy, class Workspace>
[[nodiscard]] cudaError_t reduce_gradients(const GradientProblem<typename Multiply::Element>& problem,
                                           const Policy& policy, const Workspace& workspace, float* numbers,
                                           std::int64_t stride, cudaStream_t stream) {
  using Total = decltype(policy.map(0.0F));
  return with_tile<Multiply>(problem, [&]<class Tile>() -> cudaError_t {
    const auto kernel = detail::reduce_gradients<Tile, Policy, Total>;
    constexpr auto bytes = static_cast<int>(sizeof(detail::Shared<Tile, Total>));
    // A multiprocessor of sm_90 and sm_100 has 228 KB, of which each block takes one for itself; others have
    // less.
    static_assert(detail::resident<Tile, Total> * (bytes + 1024) <= 228 * 1024);
    int device = 0;
    int processors = 0;
    for (const cudaError_t error :
         {cudaGetDevice(&device), cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)}) {
      if (error != cudaSuccess) return error;
    }
    const auto task = task_for<Tile>(problem, 2 * detail::resident<Tile, Total> * processors);
    const std::int64_t count = std::int64_t{problem.samples} * problem.groups * problem.row_count;
    void* const memory = workspace(count * task.parts * static_cast<std::int64_t>(sizeof(Total)));
    auto* const totals = static_cast<Total*>(memory);
    const std::int64_t blocks = std::int64_t{problem.samples} * problem.groups * task.row_tiles * task.parts;
    kernel<<<static_cast<unsigned>(blocks), Tile::threads, bytes, stream>>>(task, policy, totals);
    constexpr int threads = 256;
    detail::finish_totals<<<static_cast<unsigned>((count + threads - 1) / threads), threads, 0, stream>>>(
        policy, totals, task.parts, count, problem.groups * problem.row_count, problem.size(), numbers,
        stride);
    return cudaGetLastError();
  });
}

}  // namespace culprit::cuda
