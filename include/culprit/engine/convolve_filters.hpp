// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include "culprit/core/units.hpp"
#include "culprit/engine/weight_gradient.hpp"

namespace culprit::engine {

/// conv(x, w) for a few filters w in the place of a layer's own, [n, filters, positions...].
///
/// One product gives each filter's taps at every position of x, and every tap is added where it belongs.
/// LibTorch's convolution of one filter takes as long as that of sixteen.
/// @param use        of the layer: not transposed @param x  [n, C, ...]
/// @param weights    [filters, elements]
/// @param filters    which filters of the layer these are: in a grouped convolution they say what is read
/// @param shape      of the layer's weight
/// @param positions  extents of the layer's output
[[nodiscard]] inline at::Tensor convolve_filters(const visit::ParameterUse& use, const at::Tensor& x,
                                                 const at::Tensor& weights, const at::Tensor& filters,
                                                 at::IntArrayRef shape, at::IntArrayRef positions) {
  const at::IntArrayRef taps = shape.slice(2);
  const Index count = filters.numel();
  const Index channels = shape[1];
  at::Tensor planes = x.flatten(2).unsqueeze(1);                             // [n, 1, C, ...]
  at::Tensor factors = weights.view({count, channels, -1}).transpose(1, 2);  // [filters, taps, C]
  if (use.groups == 1) {
    factors = factors.reshape({1, -1, channels});
  } else {
    const at::Tensor groups = filters.div(shape[0] / use.groups, "floor");
    planes = planes.view({x.size(0), use.groups, channels, -1}).index_select(1, groups);
  }
  std::vector<Index> sizes{x.size(0), -1};
  sizes.insert(sizes.end(), x.sizes().begin() + 2, x.sizes().end());
  const at::Tensor products = at::matmul(factors, planes).reshape(sizes);  // [n, filters * taps, ...]
  sizes = {count};
  sizes.insert(sizes.end(), taps.begin(), taps.end());
  std::vector<at::Tensor> terms{detail::patches(products, use, taps, positions).unflatten(1, sizes)};
  for (auto left = static_cast<Index>(taps.size()); left > 0; --left) {
    std::vector<at::Tensor> split;
    for (const at::Tensor& term : terms) {
      // Of each tap's product the positions that it serves.
      for (const at::Tensor& part : term.diagonal(0, 2, 2 + left).unbind(-1)) split.push_back(part);
    }
    terms = std::move(split);
  }
  at::Tensor sum = terms.front().clone();
  for (std::size_t i = 1; i < terms.size(); ++i) sum.add_(terms[i]);
  return sum;
}

}  // namespace culprit::engine
