// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "culprit/cuda/kernel.cuh"

namespace culprit::cuda::detail {

/// A block of threads on the device.
template <class Tile, class Total>
struct DeviceBlock {
  Shared<Tile, Total>& memory;
  Registers<Tile, Total>& registers;

  template <class Each>
  __device__ __forceinline__ void each(const Each& f) {
    const auto thread = static_cast<int>(threadIdx.x);
    __builtin_assume(thread >= 0 && thread < Tile::threads);  // a division is a shift then
    f(thread, registers);
  }

  __device__ __forceinline__ void sync() { __syncthreads(); }

  /// Without a clobber of memory, which commit() and wait() have: what is filled is not read before.
  template <class T, int count>
  __device__ __forceinline__ void copy(T* to, const T* from, bool valid) const {
    constexpr int bytes = count * static_cast<int>(sizeof(T));
    if constexpr (bytes < 4) {
      *to = valid ? __ldg(from) : T{};
    } else {
      const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
      const int size = valid ? bytes : 0;  // the rest is filled with zeros
      if constexpr (bytes == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(size));
      } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(bytes),
                     "r"(size));
      }
    }
  }
  __device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int pending>
  __device__ __forceinline__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
  }

  __device__ __forceinline__ void multiply() {
#pragma unroll
    for (int i = 0; i < Tile::row_steps; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::column_steps; ++j)
        Tile::Multiply::multiply(registers.sums[i][j], registers.rows[i], registers.columns[j / 2][j % 2]);
    }
  }

  template <class RowAt>
  __device__ __forceinline__ void matrices(std::uint32_t (&to)[4], const RowAt& row_at, int lane) const {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row_at(lane)));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address));
  }

  __device__ __forceinline__ std::uint32_t tf32(std::uint32_t bits) const {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(__uint_as_float(bits)));
    return bits;
  }
};

/// Does not compile for an aggregation that device code cannot call: elsewhere nvcc would only warn.
template <class Policy>
__device__ __forceinline__ void require_device_functions(const Policy& policy) {
  static_cast<void>(policy.finish(policy.combine(policy.map(0.0F), policy.map(0.0F)), 1));
}

/// Blocks that a multiprocessor has registers for: totals of more than a number leave fewer.
template <class Tile, class Total>
constexpr int resident = sizeof(Total) <= sizeof(float) ? Tile::resident : 1;

/// @param totals  [samples * groups * row_count, parts]
template <class Tile, class Policy, class Total>
__global__ void __launch_bounds__(Tile::threads, resident<Tile, Total>)
    reduce_gradients(const __grid_constant__ GradientTask<typename Tile::Element> task,
                     const __grid_constant__ Policy policy, Total* totals) {
  require_device_functions(policy);
  extern __shared__ __align__(16) unsigned char memory[];
  Registers<Tile, Total> registers;
  DeviceBlock<Tile, Total> block{*reinterpret_cast<Shared<Tile, Total>*>(memory), registers};
  BlockReducer<Tile, Policy, DeviceBlock<Tile, Total>> reducer(block, task, policy,
                                                               static_cast<int>(blockIdx.x));
  reducer(totals);
}

/// @param numbers  of row r, group g of sample b at numbers[b * stride + g * row_count + r]
template <class Policy, class Total>
__global__ void finish_totals(const __grid_constant__ Policy policy, const Total* totals, int parts,
                              std::int64_t count, int of_sample, int size, float* numbers,
                              std::int64_t stride) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count)
    numbers[i / of_sample * stride + i % of_sample] = finished(policy, totals + i * parts, parts, size);
}

}  // namespace culprit::cuda::detail
