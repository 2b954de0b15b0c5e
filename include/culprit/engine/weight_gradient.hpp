// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "culprit/engine/convolution_kernel.hpp"
#include "culprit/visit/operator_observer.hpp"

namespace culprit::engine {

namespace detail {

/// unfold(x): the values under each tap of a convolution kernel, [B, C, taps..., positions...]; a strided
/// view of x where no padding is needed.
inline at::Tensor patches(const at::Tensor& x, const visit::ParameterUse& use, at::IntArrayRef taps,
                          at::IntArrayRef positions) {
  const std::size_t dimensions = taps.size();
  std::vector<std::int64_t> pad(2 * dimensions);  // constant_pad_nd: last dimension first
  bool padded = false;
  for (std::size_t d = 0; d < dimensions; ++d) {
    const std::int64_t extent = x.size(static_cast<std::int64_t>(d) + 2);
    const std::int64_t reach = (positions[d] - 1) * use.stride[d] + (taps[d] - 1) * use.dilation[d] + 1;
    const std::size_t slot = 2 * (dimensions - 1 - d);
    pad[slot] = use.padding[d];
    pad[slot + 1] = std::max<std::int64_t>(0, reach - use.padding[d] - extent);
    padded = padded || pad[slot] != 0 || pad[slot + 1] != 0;
  }
  const at::Tensor source = padded ? at::constant_pad_nd(x, pad) : x;
  std::vector<std::int64_t> sizes{source.size(0), source.size(1)};
  std::vector<std::int64_t> strides{source.stride(0), source.stride(1)};
  for (std::size_t d = 0; d < dimensions; ++d) {
    sizes.push_back(taps[d]);
    strides.push_back(use.dilation[d] * source.stride(static_cast<std::int64_t>(d) + 2));
  }
  for (std::size_t d = 0; d < dimensions; ++d) {
    sizes.push_back(positions[d]);
    strides.push_back(use.stride[d] * source.stride(static_cast<std::int64_t>(d) + 2));
  }
  return source.as_strided(sizes, strides);
}

/// rows [B, groups * R, P...] times unfolded columns: the gradient of a convolution's weight, [B, groups * R,
/// ...].
inline at::Tensor convolution_gradient(const at::Tensor& rows, const at::Tensor& unfolded_from,
                                       const visit::ParameterUse& use, at::IntArrayRef weight_shape) {
  const std::int64_t batch = rows.size(0);
  const at::Tensor columns = patches(unfolded_from, use, weight_shape.slice(2), rows.sizes().slice(2));
  const std::int64_t taps = c10::multiply_integers(weight_shape.slice(1));
  const std::int64_t positions = c10::multiply_integers(rows.sizes().slice(2));
  const at::Tensor left = rows.reshape({batch * use.groups, rows.size(1) / use.groups, positions});
  const at::Tensor right = columns.reshape({batch * use.groups, taps, positions});
  return at::bmm(left, right.transpose(1, 2)).reshape({batch, -1});
}

/// For each position of b samples, the row of its gradient in a table of b * (rows + 1) rows: one of the
/// weight's `rows` for its sample, or the last, for positions without a gradient.
inline at::Tensor embedding_rows(const visit::ParameterUse& use, const at::Tensor& x, std::int64_t rows) {
  at::Tensor places = x.reshape({x.size(0), -1}).to(at::kLong);
  if (use.padding_row >= 0) places = places.masked_fill(places.eq(use.padding_row), rows);
  return places.add(at::arange(x.size(0), places.options()).mul(rows + 1).unsqueeze(1)).view({-1});
}

/// Writes tiles of gradients where they belong, for ConvolutionTiles.
template <class T>
struct TileWriter {
  T* gradient;  ///< of the first filter of the tile
  Index filters, size, lanes;

  void rows(Index first, Index count, const T* values) const {
    for (Index filter = 0; filter < filters; ++filter) {
      for (Index i = 0; i < count; ++i) gradient[filter * size + first + i] = values[i * lanes + filter];
    }
  }
  void finish() const {}
};

inline at::Tensor gradient_by_tiles(const visit::ParameterUse& use, at::IntArrayRef weight_shape,
                                    const at::Tensor& x, const at::Tensor& dy) {
  at::Tensor gradients = at::empty({x.size(0), c10::multiply_integers(weight_shape)}, dy.options());
  AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "culprit::gradient_by_tiles", [&] {
    auto* const all = gradients.mutable_data_ptr<scalar_t>();
    const Index size = c10::multiply_integers(weight_shape.slice(1));
    const ConvolutionTiles<scalar_t> tiles(instructions_for<scalar_t>(use, weight_shape), use, weight_shape,
                                           x, dy);
    tiles([&](Index sample, Index filter, Index filters) {
      return TileWriter<scalar_t>{all + sample * gradients.stride(0) + filter * size, filters, size,
                                  tiles.lanes()};
    });
  });
  return gradients;
}

/// A convolution's operation on its input, and that operation's gradient for it.
struct ConvolutionCall {
  at::Tensor weight, input;  ///< of the input, shape and order in memory count, not the numbers
  std::vector<std::int64_t> stride, padding, dilation, output_padding;
  bool transposed = false;
  std::int64_t groups = 1;

  ConvolutionCall() = default;
  ConvolutionCall(const visit::ParameterUse& use, at::Tensor with_weight, at::Tensor x, const at::Tensor& y)
      : weight(std::move(with_weight)),
        input(std::move(x)),
        stride(use.stride),
        padding(use.padding),
        dilation(use.dilation),
        output_padding(use.stride.size(), 0),
        transposed(use.transposed),
        groups(use.groups) {
    for (std::size_t d = 0; transposed && d < stride.size(); ++d) {
      const auto axis = static_cast<std::int64_t>(d) + 2;
      output_padding[d] = y.size(axis) - ((input.size(axis) - 1) * stride[d] - 2 * padding[d] +
                                          dilation[d] * (weight.size(axis) - 1) + 1);
    }
  }

  [[nodiscard]] at::Tensor output(const at::Tensor& x) const {
    return at::convolution(x, weight, {}, stride, padding, dilation, transposed, output_padding, groups);
  }

  [[nodiscard]] at::Tensor input_gradient(const at::Tensor& dy) const {
    return std::get<0>(at::convolution_backward(dy, input, weight, {}, stride, padding, dilation, transposed,
                                                output_padding, groups, {true, false, false}));
  }
};

}  // namespace detail

/// Gradient of the weight for each sample, [b, weight elements]: dY_b * unfold(X_b)^T for a convolution, with
/// the roles of X and dY exchanged for a transposed one, dY_b^T X_b over all positions for a linear layer,
/// and for a row of an embedding the sum of dY over the positions that have it.
/// @param x   input of the use for b samples @param dy  gradient of its output for the same samples
[[nodiscard]] inline at::Tensor weight_gradient(const visit::ParameterUse& use, at::IntArrayRef weight_shape,
                                                const at::Tensor& x, const at::Tensor& dy) {
  if (use.kind == visit::ParameterUse::Kind::linear) {
    const std::int64_t batch = x.size(0);
    const at::Tensor rows = dy.reshape({batch, -1, weight_shape[0]});
    const at::Tensor columns = x.reshape({batch, -1, weight_shape[1]});
    return at::bmm(rows.transpose(1, 2), columns).reshape({batch, -1});
  }
  if (use.kind == visit::ParameterUse::Kind::embedding) {
    const at::Tensor rows = detail::embedding_rows(use, x, weight_shape[0]);
    at::Tensor gradient = at::zeros({x.size(0) * (weight_shape[0] + 1), weight_shape[1]}, dy.options());
    gradient.index_add_(0, rows, dy.reshape({-1, weight_shape[1]}));
    return gradient.view({x.size(0), -1}).narrow(1, 0, c10::multiply_integers(weight_shape)).contiguous();
  }
  if (detail::has_tiles(use, weight_shape, x, dy) && dy.scalar_type() != at::kBFloat16)
    return detail::gradient_by_tiles(use, weight_shape, x, dy);
  if (use.transposed) return detail::convolution_gradient(x, dy, use, weight_shape);
  return detail::convolution_gradient(dy, x, use, weight_shape);
}

/// What <u, gradient of the weight> depends on through each of its two factors.
struct FactorGradients {
  at::Tensor dy;  ///< the use's own operation on X with each sample's u as its weight
  at::Tensor x;   ///< and that operation's gradient for its input, at dY; undefined for an embedding
};

/// Gradients of sum over samples of <u_b, dY_b * unfold(X_b)^T> with respect to dY and X.
/// @param u   [b, weight elements], a constant for each sample
/// @param x   input of the use for b samples @param dy  gradient of its output for the same samples
[[nodiscard]] inline FactorGradients weight_gradient_vjp(const visit::ParameterUse& use,
                                                         at::IntArrayRef weight_shape, const at::Tensor& u,
                                                         const at::Tensor& x, const at::Tensor& dy) {
  const std::int64_t batch = x.size(0);
  if (use.kind == visit::ParameterUse::Kind::linear) {
    const at::Tensor weights = u.reshape({batch, weight_shape[0], weight_shape[1]});
    const at::Tensor rows = dy.reshape({batch, -1, weight_shape[0]});
    const at::Tensor columns = x.reshape({batch, -1, weight_shape[1]});
    return {at::bmm(columns, weights.transpose(1, 2)).reshape(dy.sizes()),
            at::bmm(rows, weights).reshape(x.sizes())};
  }
  if (use.kind == visit::ParameterUse::Kind::embedding) {  // X are no numbers to differentiate by
    const at::Tensor weights =
        at::constant_pad_nd(u.view({batch, weight_shape[0], weight_shape[1]}), {0, 0, 0, 1});
    const at::Tensor rows = detail::embedding_rows(use, x, weight_shape[0]);
    return {weights.flatten(0, 1).index_select(0, rows).reshape(dy.sizes()), {}};
  }
  // A sample is a group of channels of one large sample, so that each has a weight of its own.
  const auto as_groups = [&](const at::Tensor& tensor) {
    std::vector<std::int64_t> sizes = tensor.sizes().vec();
    sizes[0] = 1;
    sizes[1] *= batch;
    return tensor.reshape(sizes);
  };
  std::vector<std::int64_t> weight_sizes = weight_shape.vec();
  weight_sizes[0] *= batch;
  const at::Tensor wide_x = as_groups(x);
  const at::Tensor wide_dy = as_groups(dy);
  detail::ConvolutionCall call(use, u.reshape(weight_sizes), wide_x, wide_dy);
  call.groups *= batch;
  return {call.output(wide_x).reshape(dy.sizes()), call.input_gradient(wide_dy).reshape(x.sizes())};
}

/// Elements of the temporary block that one sample needs: unfolded columns and gradient.
[[nodiscard]] inline std::int64_t block_elements(const visit::ParameterUse& use, at::IntArrayRef weight_shape,
                                                 const at::Tensor& x, const at::Tensor& dy) {
  const std::int64_t weight = c10::multiply_integers(weight_shape);
  if (use.kind != visit::ParameterUse::Kind::convolution) return weight;
  const at::Tensor& rows = use.transposed ? x : dy;
  const std::int64_t positions = c10::multiply_integers(rows.sizes().slice(2));
  return weight + use.groups * c10::multiply_integers(weight_shape.slice(1)) * positions;
}

}  // namespace culprit::engine
