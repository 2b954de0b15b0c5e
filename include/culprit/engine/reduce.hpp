// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include "culprit/concepts.hpp"

namespace culprit::engine {

/// finish(combine of map) over the gradient of one unit.
///
/// Sixteen independent accumulators let the compiler vectorize without reassociating floating-point sums, and
/// keep the rounding error of a sum of n terms near n/16 units in the last place.
template <Aggregation A, class T>
[[nodiscard]] T reduce_unit(const A& policy, const T* gradient, Index size) {
  constexpr Index lanes = 16;
  auto total = policy.map(gradient[0]);
  Index i = 1;
  if (size >= 2 * lanes) {
    std::array<decltype(total), lanes> partial;
    for (Index j = 0; j < lanes; ++j) partial[static_cast<std::size_t>(j)] = policy.map(gradient[j]);
    for (i = lanes; i + lanes <= size; i += lanes) {
      for (Index j = 0; j < lanes; ++j) {
        auto& lane = partial[static_cast<std::size_t>(j)];
        lane = policy.combine(lane, policy.map(gradient[i + j]));
      }
    }
    for (Index half = lanes / 2; half > 0; half /= 2) {
      for (Index j = 0; j < half; ++j) {
        auto& lane = partial[static_cast<std::size_t>(j)];
        lane = policy.combine(lane, partial[static_cast<std::size_t>(j + half)]);
      }
    }
    total = partial[0];
  }
  for (; i < size; ++i) total = policy.combine(total, policy.map(gradient[i]));
  return static_cast<T>(policy.finish(total, size));
}

/// Reduces the gradients of one layer for a block of samples into its columns of the raw profiles.
/// @param gradients  [samples, layer.count * layer.size], float32 or float64, any device
/// @param profiles   [batch, units], same dtype, on the CPU
/// @param sample     row of `profiles` where the block begins
template <Aggregation A>
void reduce_layer(const A& policy, const at::Tensor& gradients, const Layer& layer, at::Tensor& profiles,
                  Index sample) {
  constexpr Index elements_per_task = 32768;
  const at::Tensor block = gradients.to(at::kCPU, profiles.scalar_type()).contiguous();
  AT_DISPATCH_FLOATING_TYPES(block.scalar_type(), "culprit::reduce_layer", [&] {
    const auto* source = block.const_data_ptr<scalar_t>();
    auto* target = profiles.mutable_data_ptr<scalar_t>() + sample * profiles.stride(0) + layer.first;
    const Index row = profiles.stride(0);
    const Index grain = std::max<Index>(1, elements_per_task / layer.size);
    at::parallel_for(0, block.size(0) * layer.count, grain, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        target[(i / layer.count) * row + i % layer.count] =
            reduce_unit(policy, source + i * layer.size, layer.size);
      }
    });
  });
}

/// What a layer's units are worth when no gradient reaches them: the policy's number for zero gradients.
template <Aggregation A>
void fill_unreached(const A& policy, const Layer& layer, at::Tensor& profiles) {
  const at::Tensor zeros = at::zeros({1, layer.size}, profiles.options());
  at::Tensor one = at::zeros({1, 1}, profiles.options());
  Layer unit;
  unit.count = 1;
  unit.size = layer.size;
  reduce_layer(policy, zeros, unit, one, 0);
  profiles.narrow(1, layer.first, layer.count).fill_(one.squeeze());
}

}  // namespace culprit::engine
