// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "culprit/concepts.hpp"
#include "culprit/detail/parallel.hpp"
#include "culprit/engine/convolution_kernel.hpp"

namespace culprit::engine {

/// finish(combine of map) over the gradient of one unit.
///
/// Sixteen independent accumulators let the compiler vectorize without reassociating floating-point sums, and
/// keep the rounding error of a sum of n terms near n/16 units in the last place.
template <ScalarAggregation A, class T>
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

namespace detail {

template <class A>
at::Tensor reduce_on_tensors(const A& policy, const at::Tensor& gradients, const Layer& layer) {
  const at::Tensor units = gradients.reshape({gradients.size(0), layer.count, layer.size});
  at::Tensor numbers = policy(units);
  if (numbers.sizes() != units.sizes().slice(0, 2)) {
    throw Error(ErrorCode::shape, "aggregation " + std::string(std::string_view(A::name)),
                "one number for each sample and unit of " + c10::str(units.sizes()),
                c10::str(numbers.sizes()));
  }
  return numbers;
}

/// What the form of the policy gives that serves the gradients' device.
template <Aggregation A, class OnScalars, class OnTensors>
decltype(auto) by_form(const A& policy, const at::Tensor& gradients, const OnScalars& on_scalars,
                       const OnTensors& on_tensors) {
  if constexpr (!TensorAggregation<A>) {
    return on_scalars(policy);
  } else if constexpr (!ScalarAggregation<A>) {
    return on_tensors(policy);
  } else {
    return gradients.is_cpu() ? on_scalars(policy) : on_tensors(policy);
  }
}

/// Calls `each(i)` for every unit of every sample, i = sample * units + unit.
template <class Each>
void for_each_unit(Index samples, const Layer& layer, const Each& each) {
  constexpr Index elements_per_task = 32768;
  const Index grain = std::max<Index>(1, elements_per_task / layer.size);
  culprit::detail::in_parallel(0, samples * layer.count, grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) each(i);
  });
}

}  // namespace detail

/// Reduces the gradients of one layer for a block of samples into its columns of the raw profiles.
/// @param gradients  [samples, layer.count * layer.size], float32 or float64, any device
/// @param profiles   [batch, units], same dtype and device
/// @param sample     row of `profiles` where the block begins
/// @throws Error (shape) when an aggregation on tensors gives anything but one number for each unit.
template <Aggregation A>
void reduce_layer(const A& policy, const at::Tensor& gradients, const Layer& layer, at::Tensor& profiles,
                  Index sample) {
  const at::Tensor columns =
      profiles.narrow(0, sample, gradients.size(0)).narrow(1, layer.first, layer.count);
  const auto on_scalars = [&](const auto& scalars) {
    const at::Tensor block = gradients.to(at::kCPU, profiles.scalar_type()).contiguous();
    const at::Tensor numbers = profiles.is_cpu() ? columns : at::empty(columns.sizes(), block.options());
    AT_DISPATCH_FLOATING_TYPES(block.scalar_type(), "culprit::reduce_layer", [&] {
      const auto* source = block.const_data_ptr<scalar_t>();
      auto* target = numbers.mutable_data_ptr<scalar_t>();
      const Index row = numbers.stride(0);
      detail::for_each_unit(block.size(0), layer, [&](Index i) {
        target[(i / layer.count) * row + i % layer.count] =
            reduce_unit(scalars, source + i * layer.size, layer.size);
      });
    });
    if (!profiles.is_cpu()) columns.copy_(numbers);
  };
  detail::by_form(policy, gradients, on_scalars, [&](const auto& tensors) {
    columns.copy_(detail::reduce_on_tensors(tensors, gradients, layer));
  });
}

namespace detail {

/// Reduces tiles of gradients while they are in cache, for ConvolutionTiles.
template <ScalarAggregation A, class T>
class TileReducer {
 public:
  /// @param target  the number of the first filter @param size  elements of a filter
  TileReducer(const A& policy, Instructions set, T* target, Index filters, Index size, Index lanes)
      : policy_(policy), set_(set), target_(target), filters_(filters), size_(size), lanes_(lanes) {}

  void rows(Index first, Index count, const T* values) { run(set_, Rows{*this, first, count, values}); }

  void finish() const {
    for (Index lane = 0; lane < filters_; ++lane)
      target_[lane] = static_cast<T>(policy_.finish(totals_[static_cast<std::size_t>(lane)], size_));
  }

 private:
  using Total = decltype(std::declval<const A&>().map(T{}));

  struct Rows {
    TileReducer& all;
    Index first, count;
    const T* values;

    template <std::size_t bytes>
    [[gnu::always_inline]] void operator()() const {
      constexpr Index width = bytes / sizeof(T);
      for (Index lane = 0; lane < all.lanes_; lane += width) {
        const T* row = values + lane;
        std::array<Total, static_cast<std::size_t>(width)> sums;
        Total* const part = sums.data();
        for (Index k = 0; k < width; ++k) part[k] = all.policy_.map(row[k]);
        for (Index i = 1; i < count; ++i) {
          row += all.lanes_;
          for (Index k = 0; k < width; ++k) part[k] = all.policy_.combine(part[k], all.policy_.map(row[k]));
        }
        Total* const totals = all.totals_.data() + lane;
        for (Index k = 0; k < width; ++k)
          totals[k] = first == 0 ? part[k] : all.policy_.combine(totals[k], part[k]);
      }
    }
  };

  const A& policy_;
  Instructions set_;
  T* target_;
  Index filters_, size_, lanes_;
  std::array<Total, 2 * vector_bytes(Instructions::avx512) / sizeof(T)> totals_{};
};

/// Gives each element of a tile a number of its own, for ConvolutionTiles and units of one parameter.
template <ScalarAggregation A, class T>
struct TileMapper {
  const A& policy;
  T* target;  ///< of the first filter of the tile
  Index filters, size, lanes;

  void rows(Index first, Index count, const T* values) const {
    for (Index filter = 0; filter < filters; ++filter) {
      T* const to = target + filter * size + first;
      for (Index i = 0; i < count; ++i)
        to[i] = static_cast<T>(policy.finish(policy.map(values[i * lanes + filter]), 1));
    }
  }
  void finish() const {}
};

/// Whether FusedOnCpu has a rule for this layer's units.
inline bool has_reducer(const Layer& layer) { return layer.count == layer.shape.front() || layer.size == 1; }

/// @tparam S  as ConvolutionTiles has it
template <class T, class S, ScalarAggregation A>
void reduce_tiles(const A& policy, const visit::ParameterUse& use, const Layer& layer,
                  const at::Tensor& input, const at::Tensor& gradient, at::Tensor& profiles) {
  const Instructions set = instructions_for<T>(use, layer.shape);
  const at::Tensor x = channels_second(use, input), dy = channels_second(use, gradient);
  const ConvolutionTiles<T, S> tiles(set, use, layer.shape, x, dy);
  auto* const target = profiles.mutable_data_ptr<T>() + layer.first;
  if (layer.count == layer.shape.front()) {
    tiles([&](Index sample, Index filter, Index filters) {
      return TileReducer<A, T>(policy, set, target + sample * profiles.stride(0) + filter, filters,
                               layer.size, tiles.lanes());
    });
  } else {
    const Index size = layer.count / layer.shape.front();
    tiles([&](Index sample, Index filter, Index filters) {
      return TileMapper<A, T>{policy, target + sample * profiles.stride(0) + filter * size, filters, size,
                              tiles.lanes()};
    });
  }
}

/// Reduces the rows of an embedding that each sample has, and no others: their gradients are 0.
/// @param x  [B, ...] integers @param dy  [B, ..., layer.size]
template <class T, ScalarAggregation A>
void reduce_embedding(const A& policy, const visit::ParameterUse& use, const Layer& layer,
                      const at::Tensor& x, const at::Tensor& dy, at::Tensor& profiles) {
  const Index batch = x.size(0), places = x.numel() / batch;
  const at::Tensor rows_of = x.to(at::kLong).contiguous(), gradients = dy.contiguous();
  const auto* const row = rows_of.const_data_ptr<Index>();
  const T* const gradient = gradients.const_data_ptr<T>();
  auto* const numbers = profiles.mutable_data_ptr<T>() + layer.first;
  const T unmoved =
      reduce_unit(policy, std::vector<T>(static_cast<std::size_t>(layer.size)).data(), layer.size);
  culprit::detail::in_parallel(0, batch, 1, [&](Index begin, Index end) {
    std::vector<Index> order(static_cast<std::size_t>(places));
    std::vector<T> sum(static_cast<std::size_t>(layer.size));
    for (Index sample = begin; sample < end; ++sample) {
      T* const of_sample = numbers + sample * profiles.stride(0);
      std::fill_n(of_sample, layer.count, unmoved);
      std::iota(order.begin(), order.end(), sample * places);
      std::ranges::stable_sort(order, {}, [&](Index place) { return row[place]; });
      for (auto next = order.begin(); next != order.end();) {
        const Index current = row[*next];
        std::ranges::fill(sum, T(0));
        for (; next != order.end() && row[*next] == current; ++next) {
          for (Index i = 0; i < layer.size; ++i)
            sum[static_cast<std::size_t>(i)] += gradient[*next * layer.size + i];
        }
        if (current != use.padding_row) of_sample[current] = reduce_unit(policy, sum.data(), layer.size);
      }
    }
  });
}

}  // namespace detail

/// Reduces the gradients of a layer into its columns of the raw profiles as they are formed, where it has a
/// rule for the layer and its tensors: see FusedOnCpu.
template <class F>
concept FusedReduction = std::copyable<F> &&
    requires(const F& fused, const visit::ParameterUse& use, const Layer& layer, const at::Tensor& x,
             at::Tensor& profiles) {
  { fused(culprit::detail::SomeAggregation{}, use, layer, x, /*dy=*/x, profiles) } -> std::same_as<bool>;
};

/// Forms the gradients of a convolution's filters, of a linear layer's neurons, or of an embedding's rows,
/// for all samples on the CPU and reduces them, tile by tile or row by row, without writing them to memory.
struct FusedOnCpu {
  /// @param x  input of the use @param dy  gradient of its output, of the same dtype
  /// @param profiles  [B, units], float32 for x and dy in bfloat16, else of their dtype
  /// @returns         whether there is a rule for this; else nothing has been done
  template <ScalarAggregation A>
  bool operator()(const A& policy, const visit::ParameterUse& use, const Layer& layer, const at::Tensor& x,
                  const at::Tensor& dy, at::Tensor& profiles) const {
    if (use.kind == visit::ParameterUse::Kind::embedding) {
      if (layer.count != layer.shape.front() || !dy.is_cpu() || dy.scalar_type() != profiles.scalar_type())
        return false;
      AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "culprit::FusedOnCpu", [&] {
        detail::reduce_embedding<scalar_t>(policy, use, layer, x, dy, profiles);
      });
      return true;
    }
    const bool has_rule = detail::has_reducer(layer) && detail::has_tiles(use, layer.shape, x, dy);
    if (has_rule && dy.scalar_type() == at::kBFloat16) {
      detail::reduce_tiles<float, std::uint16_t>(policy, use, layer, x, dy, profiles);
    } else if (has_rule) {
      AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "culprit::FusedOnCpu", [&] {
        detail::reduce_tiles<scalar_t, scalar_t>(policy, use, layer, x, dy, profiles);
      });
    }
    return has_rule;
  }
};

static_assert(FusedReduction<FusedOnCpu>);

/// The vector-Jacobian product of reduce_layer: how the cotangent's sum of numbers changes with each
/// gradient.
/// @param gradients  as for reduce_layer
/// @param numbers    [samples, layer.count], what reduce_layer gave
/// @param cotangent  [samples, layer.count], any device
/// @returns          as gradients
template <DifferentiableAggregation A>
[[nodiscard]] at::Tensor reduce_layer_vjp(const A& policy, const at::Tensor& gradients, const Layer& layer,
                                          const at::Tensor& numbers, const at::Tensor& cotangent) {
  const auto on_tensors = [&](const auto& tensors) {
    const at::AutoGradMode with_grad(true);
    const at::Tensor variable = gradients.detach().requires_grad_(true);
    const torch::autograd::variable_list numbers_there{detail::reduce_on_tensors(tensors, variable, layer)};
    const torch::autograd::variable_list weights{cotangent.to(gradients.options())};
    return torch::autograd::grad(numbers_there, {variable}, weights)[0];
  };
  const auto on_scalars = [&](const auto& scalars) {
    if constexpr (!requires { scalars.derivative(0.0, 0.0, Index{1}); }) {
      return on_tensors(scalars);
    } else {
      const at::Tensor results = numbers.cpu().contiguous();
      const at::Tensor block = gradients.to(results.options()).contiguous();
      const at::Tensor weights = cotangent.to(block.options()).contiguous();
      at::Tensor slopes = at::empty_like(block);
      AT_DISPATCH_FLOATING_TYPES(block.scalar_type(), "culprit::reduce_layer_vjp", [&] {
        const auto* gradient = block.const_data_ptr<scalar_t>();
        const auto* result = results.const_data_ptr<scalar_t>();
        const auto* weight = weights.const_data_ptr<scalar_t>();
        auto* slope = slopes.mutable_data_ptr<scalar_t>();
        detail::for_each_unit(block.size(0), layer, [&](Index i) {
          for (Index j = i * layer.size; j < (i + 1) * layer.size; ++j) {
            slope[j] =
                static_cast<scalar_t>(weight[i] * scalars.derivative(gradient[j], result[i], layer.size));
          }
        });
      });
      return slopes.to(gradients.options());
    }
  };
  return detail::by_form(policy, gradients, on_scalars, on_tensors);
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
