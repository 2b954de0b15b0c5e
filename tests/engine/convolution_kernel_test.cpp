// SPDX-License-Identifier: MIT
//
// Tiles of the gradient of a convolution's or linear layer's weight by every instruction set that runs here,
// against autograd's gradient of each sample in float64.
#include <cstdint>
#include <iostream>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <torch/torch.h>

#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/engine/reduce.hpp"
#include "culprit/engine/weight_gradient.hpp"
#include "support/catch.hpp"

namespace {

using namespace culprit;
using engine::detail::Instructions;

struct Shape {
  std::string name;
  Index batch, inputs, outputs;
  std::vector<Index> extent, taps, stride, padding, dilation;
  Index groups = 1;
  bool linear = false;  ///< a linear layer over so many places, which is a convolution with one tap
};

const std::vector<Shape> shapes{
    {"depthwise", 2, 41, 41, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 41},
    {"3x3", 3, 5, 7, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"one channel, one filter", 2, 1, 1, {4, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"more channels and filters than lanes", 2, 70, 67, {5, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"1x1, more positions than a block", 2, 33, 34, {25, 40}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"3x3, more rows than a block", 1, 4, 6, {70, 30}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"rows longer than a block", 1, 2, 3, {3, 500}, {1, 3}, {1, 1}, {0, 1}, {1, 1}},
    {"strided, with a rest", 2, 6, 5, {12, 11}, {3, 2}, {2, 3}, {1, 0}, {1, 1}},
    {"strided 1x1", 2, 6, 20, {9, 8}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {"dilated", 2, 3, 4, {12, 13}, {3, 3}, {1, 2}, {2, 3}, {2, 3}},
    {"padded by more than its input", 2, 3, 4, {2, 3}, {3, 3}, {1, 1}, {6, 5}, {1, 1}},
    {"groups", 2, 12, 18, {6, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 3},
    {"groups of more filters than lanes", 2, 4, 70, {6, 7}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, 2},
    {"depthwise, strided", 2, 8, 8, {10, 9}, {5, 3}, {2, 2}, {2, 1}, {1, 1}, 8},
    {"depthwise with two filters for each channel", 2, 9, 18, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 9},
    {"one dimension", 3, 5, 9, {31}, {4}, {3}, {2}, {2}},
    {"linear", 3, 5, 7, {1}, {1}, {1}, {0}, {1}, 1, true},
    {"linear, over a sequence", 2, 70, 67, {31}, {1}, {1}, {0}, {1}, 1, true},
    {"more tiles than are computed together", 2, 9, 200, {400}, {1}, {1}, {0}, {1}, 1, true},
};

/// The layouts that a model may hand over.
enum class Layout { contiguous, channels_last, every_second_column, expanded };

at::Tensor laid_out(const at::Tensor& values, Layout layout) {
  switch (layout) {
    case Layout::contiguous:
      return values;
    case Layout::channels_last:
      return values.transpose(1, -1).contiguous().transpose(1, -1);
    case Layout::every_second_column:
      return at::stack({values, at::zeros_like(values)}, -1).select(-1, 0);
    case Layout::expanded:
      return values.narrow(-1, 0, 1).expand(values.sizes());
  }
  return values;
}

/// @tparam T  of the sums @tparam S  of x and dy, as ConvolutionTiles has them
template <class T, class S = T>
void check(const Shape& shape, Instructions set, Layout layout) {
  CAPTURE(shape.name, static_cast<int>(set), static_cast<int>(layout), sizeof(T), sizeof(S));
  const auto sum_dtype = c10::CppTypeToScalarType<T>::value;
  const auto dtype = std::is_same_v<S, T> ? sum_dtype : at::kBFloat16;
  const auto full = [](std::vector<Index> front, const std::vector<Index>& back) {
    front.insert(front.end(), back.begin(), back.end());
    return front;
  };
  const std::vector<Index> weight_shape = full({shape.outputs, shape.inputs / shape.groups}, shape.taps);
  const at::Tensor weight = at::zeros(weight_shape, at::kDouble);
  const at::Tensor x = laid_out(torch::randn(full({shape.batch, shape.inputs}, shape.extent), dtype), layout);
  const std::vector<Index> none(shape.taps.size(), 0);
  const auto output = at::convolution(x.to(at::kDouble), weight, {}, shape.stride, shape.padding,
                                      shape.dilation, false, none, shape.groups);
  const at::Tensor dy = laid_out(torch::randn(output.sizes(), dtype), layout);

  const auto reference = [&](const at::Tensor& of_dy, const at::Tensor& of_x) {
    std::vector<at::Tensor> each;
    for (Index b = 0; b < shape.batch; ++b) {
      each.push_back(std::get<1>(at::convolution_backward(
          of_dy.narrow(0, b, 1).to(at::kDouble), of_x.narrow(0, b, 1).to(at::kDouble), weight, c10::nullopt,
          shape.stride, shape.padding, shape.dilation, false, none, shape.groups, {false, true, false})));
    }
    return at::stack(each).flatten(1);
  };
  const at::Tensor expected = reference(dy, x);
  // A sum of n products in floating point is off by at most (n + 1) * eps * sum of their absolute values;
  // those of two bfloat16 numbers are exact.
  const auto positions = static_cast<double>(c10::multiply_integers(dy.sizes().slice(2)));
  const double eps = std::numeric_limits<T>::epsilon();
  const at::Tensor allowed = (positions + 1) * eps * reference(dy.abs(), x.abs());

  using Kind = visit::ParameterUse::Kind;
  visit::ParameterUse use{Kind::convolution, 0, x, {}, shape.stride, shape.padding, shape.dilation};
  use.groups = shape.groups;
  if (shape.linear) use = {Kind::linear, 0, x.transpose(1, 2), {}, {}, {}, {}};
  const at::Tensor dy_of_use = shape.linear ? dy.transpose(1, 2) : dy;
  const at::IntArrayRef shape_of_use =
      at::IntArrayRef(weight_shape).slice(0, shape.linear ? 2U : weight_shape.size());
  REQUIRE(engine::detail::has_tiles(use, shape_of_use, use.input, dy_of_use));
  const Index size = weight.numel() / shape.outputs;
  const at::Tensor tiled_x = engine::detail::channels_second(use, use.input);
  const at::Tensor tiled_dy = engine::detail::channels_second(use, dy_of_use);
  const engine::detail::ConvolutionTiles<T, S> tiles(set, use, shape_of_use, tiled_x, tiled_dy);
  at::Tensor gradients = at::full(expected.sizes(), std::numeric_limits<T>::quiet_NaN(), sum_dtype);
  at::Tensor means = at::full({shape.batch, shape.outputs}, std::numeric_limits<T>::quiet_NaN(), sum_dtype);
  T* const all = gradients.mutable_data_ptr<T>();
  tiles([&](Index sample, Index filter, Index filters) {
    return engine::detail::TileWriter<T>{all + (sample * shape.outputs + filter) * size, filters, size,
                                         tiles.lanes()};
  });
  CHECK((gradients.to(at::kDouble) - expected).abs().le(allowed).all().item<bool>());
  const aggregate::MeanAbs mean_abs;
  T* const numbers = means.mutable_data_ptr<T>();
  tiles([&](Index sample, Index filter, Index filters) {
    return engine::detail::TileReducer<aggregate::MeanAbs, T>(
        mean_abs, set, numbers + sample * shape.outputs + filter, filters, size, tiles.lanes());
  });
  const auto by_filter = [&](const at::Tensor& values) {
    return values.reshape({shape.batch, shape.outputs, size}).mean(2);
  };
  const at::Tensor mean = by_filter(expected.abs());
  const at::Tensor off = by_filter(allowed) + static_cast<double>(size + 1) * eps * mean;
  CHECK((means.to(at::kDouble) - mean).abs().le(off).all().item<bool>());
}

void check_all(Instructions set, const std::string& name) {
  if (!engine::detail::runs_here(set)) {
    std::cout << "SKIPPED: needs a processor with " << name << '\n';
    return;
  }
  torch::manual_seed(test::seed());
  for (const Shape& shape : shapes) {
    for (const Layout layout :
         {Layout::contiguous, Layout::channels_last, Layout::every_second_column, Layout::expanded}) {
      check<float>(shape, set, layout);
      check<double>(shape, set, layout);
      check<float, std::uint16_t>(shape, set, layout);
    }
  }
}

}  // namespace

TEST_CASE("tiles of a layer's gradient are autograd's, on every processor", "[engine]") {
  check_all(Instructions::any, "nothing");
}

TEST_CASE("tiles of a layer's gradient are autograd's, with AVX2", "[engine]") {
  check_all(Instructions::avx2, "AVX2");
}

TEST_CASE("tiles of a layer's gradient are autograd's, with AVX-512", "[engine]") {
  check_all(Instructions::avx512, "AVX-512");
}

TEST_CASE("the tiles of a single sample are spread over threads", "[engine]") {
  torch::manual_seed(test::seed());
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  for (const Shape& shape : shapes) {
    Shape one = shape;
    one.batch = 1;
    check<double>(one, engine::detail::best_instructions(), Layout::contiguous);
    one.batch = 7;
    check<double>(one, engine::detail::best_instructions(), Layout::contiguous);
  }
  at::set_num_threads(before);
}
