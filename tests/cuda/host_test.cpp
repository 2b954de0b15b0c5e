// SPDX-License-Identifier: MIT
// The fused kernel's work, block by block on the host, against the gradients that LibTorch forms in float64.
#include <tuple>

#include "cuda/host_block.hpp"
#include "culprit/cuda/problem_of.cuh"
#include "engine/nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

/// Of a use, everything the kernel takes. Linear layers have one row of positions.
struct Case {
  visit::ParameterUse use;
  Layer layer;
  at::Tensor x, dy;
};

/// A user's aggregation. That zeros have a number of their own shows what is added beyond a row's end.
struct Raised {
  template <class T>
  static constexpr T map(T g) {
    return aggregate::MeanAbs::map(g) + 1;
  }
  template <class T>
  static constexpr T combine(T a, T b) {
    return a + b;
  }
  template <class T>
  static constexpr T finish(T sum, Index size) {
    return sum / static_cast<T>(size) - 1;
  }
};

class Dice {
 public:
  explicit Dice(std::uint32_t seed) : numbers_(seed) {}
  Index operator()(Index low, Index high) {
    return low + static_cast<Index>(numbers_() % static_cast<std::uint32_t>(high - low + 1));
  }

 private:
  std::mt19937 numbers_;
};

/// float32 numbers in any order of memory.
at::Tensor numbers(Dice& dice, const std::vector<Index>& sizes) {
  const at::Tensor some = at::randn(sizes);
  switch (dice(0, 7)) {
    case 0:
    case 1:
      return sizes.size() == 4 ? some.contiguous(at::MemoryFormat::ChannelsLast) : some;
    case 2:  // the same for all channels, as the gradient of a sum is
      return some.narrow(1, 0, 1).expand(sizes);
    case 3:  // behind one number of something else
      return at::cat({at::randn({1}), some.flatten()}).narrow(0, 1, some.numel()).view(sizes);
    default:
      return some;
  }
}

Case linear_layer(Dice& dice) {
  Case made;
  const Index batch = dice(1, 3), rows = dice(1, 3) == 1 ? 1 : dice(2, 40), in = dice(1, 300),
              out = dice(1, 140);
  made.use.kind = visit::ParameterUse::Kind::linear;
  made.layer.shape = {out, in};
  made.x = rows == 1 ? at::randn({batch, in}) : at::randn({batch, rows, in});
  made.dy = rows == 1 ? at::randn({batch, out}) : at::randn({batch, rows, out});
  return made;
}

Case convolution(Dice& dice) {
  Case made;
  visit::ParameterUse& use = made.use;
  use.kind = visit::ParameterUse::Kind::convolution;
  use.transposed = dice(0, 3) == 0;
  use.groups = dice(0, 2) == 0 ? dice(2, 3) : 1;
  const Index batch = dice(1, 2), first = use.groups * dice(1, dice(0, 1) == 0 ? 20 : 70),
              others = dice(1, 24), dimensions = dice(1, 4) == 1 ? 1 : 2;
  const bool plain = dice(0, 3) == 0;  // one tap at every position
  const bool wide = dice(0, 4) == 0;
  std::vector<Index> taps, small, large;
  for (Index i = 0; i < dimensions; ++i) {
    taps.push_back(plain ? 1 : dice(1, wide ? 8 : 3));
    use.stride.push_back(plain ? 1 : dice(1, wide ? 5 : 2));
    use.padding.push_back(plain ? 0 : dice(0, wide ? 5 : 1));
    use.dilation.push_back(dice(1, 2));
    small.push_back(dice(1, 2) == 1 ? dice(2, 4) * 4 : dice(1, 13));
    // The least that the taps need, and sometimes a row that they leave out.
    large.push_back(
        std::max<Index>(1, (small.back() - 1) * use.stride.back() + (taps.back() - 1) * use.dilation.back() +
                               1 - 2 * use.padding.back() + (use.stride.back() > 1 ? dice(0, 1) : 0)));
  }
  std::vector<Index> shape{first, others}, of_rows{batch, first}, of_columns{batch, others * use.groups};
  shape.insert(shape.end(), taps.begin(), taps.end());
  of_rows.insert(of_rows.end(), small.begin(), small.end());
  of_columns.insert(of_columns.end(), large.begin(), large.end());
  made.layer.shape = shape;
  made.x = numbers(dice, use.transposed ? of_rows : of_columns);
  made.dy = numbers(dice, use.transposed ? of_columns : of_rows);
  return made;
}

template <class Multiply>
struct Rounding;  // of a factor: the dtype it is kept in, and how far it is from what it was
template <>
struct Rounding<cuda::Float32> {
  static constexpr double unit = 0.0;
  static at::Tensor of(const at::Tensor& x) { return x; }
};
template <>
struct Rounding<cuda::Tf32> {
  static constexpr double unit = 0x1p-11;
  static at::Tensor of(const at::Tensor& x) {
    at::Tensor rounded = x.clone();
    float* const all = rounded.mutable_data_ptr<float>();
    for (Index i = 0; i < x.numel(); ++i) all[i] = cuda::test::rounded_to_tf32(all[i]);
    return rounded;
  }
};
template <>
struct Rounding<cuda::Bfloat16> {
  static constexpr double unit = 0x1p-8;
  static at::Tensor of(const at::Tensor& x) { return x.to(at::kBFloat16); }
};
template <>
struct Rounding<cuda::Float16> {
  static constexpr double unit = 0x1p-11;
  static at::Tensor of(const at::Tensor& x) { return x.to(at::kHalf); }
};

/// The kernel's numbers, [B, units].
template <class Multiply, class A>
at::Tensor on_host(const Case& of, const A& policy, Dice& dice) {
  // TF32 is rounded to by the kernel itself.
  const auto kept = [](const at::Tensor& x) {
    return sizeof(typename Multiply::Element) == 4 ? x : Rounding<Multiply>::of(x);
  };
  const auto found =
      cuda::detail::problem_of<typename Multiply::Element>(of.use, of.layer, kept(of.x), kept(of.dy));
  REQUIRE(found.has_value());
  const auto& problem = found->numbers;
  at::Tensor result = at::empty({of.x.size(0), of.layer.count});
  cuda::with_tile<Multiply>(problem, [&]<class Tile>() {
    using Total = decltype(policy.map(0.0F));
    const auto task = cuda::task_for<Tile>(problem, static_cast<int>(dice(1, 12)));
    const int count = problem.samples * problem.groups * problem.row_count;
    std::vector<Total> totals(static_cast<std::size_t>(count * task.parts),
                              std::numeric_limits<Total>::quiet_NaN());
    const int blocks = problem.samples * problem.groups * task.row_tiles * task.parts;
    for (int i = 0; i < blocks; ++i) {
      cuda::test::HostBlock<Tile, Total> block(static_cast<std::uint32_t>(i));
      cuda::detail::BlockReducer<Tile, A, cuda::test::HostBlock<Tile, Total>> reducer(block, task, policy, i);
      reducer(totals.data());
      block.sync();
    }
    float* const numbers = result.mutable_data_ptr<float>();
    for (int i = 0; i < count; ++i) {
      numbers[i] = cuda::detail::finished(policy, totals.data() + static_cast<std::ptrdiff_t>(i) * task.parts,
                                          task.parts, problem.size());
    }
  });
  return result.to(at::kDouble);
}

/// The mean over each unit of |gradient|, in float64.
at::Tensor reference(const Case& of, const at::Tensor& x, const at::Tensor& dy) {
  const at::Tensor gradient =
      engine::weight_gradient(of.use, of.layer.shape, x.to(at::kDouble), dy.to(at::kDouble));
  return gradient.abs().view({x.size(0), of.layer.count, -1}).mean(2);
}

/// Compares what the kernel gives with LibTorch's gradients, reduced.
template <class Multiply, class A>
void check(Case of, const A& policy, Dice& dice) {
  of.layer.count = of.layer.shape[0];
  of.layer.size = c10::multiply_integers(of.layer.shape) / of.layer.count;
  INFO("weight " << c10::str(of.layer.shape) << " x " << c10::str(of.x.sizes()) << " dy "
                 << c10::str(of.dy.sizes()) << " groups " << of.use.groups << " transposed "
                 << of.use.transposed << " stride " << c10::str(of.use.stride) << " padding "
                 << c10::str(of.use.padding) << " dilation " << c10::str(of.use.dilation));
  const at::Tensor found = on_host<Multiply>(of, policy, dice);
  // A product of two rounded factors is off by 2 u + u^2 of its magnitude, and each addition of float32 by
  // 2^-24 of the magnitudes that it adds up.
  const at::Tensor magnitudes = reference(of, of.x.abs(), of.dy.abs());
  const double terms = static_cast<double>(of.layer.size + of.dy.numel());
  constexpr double unit = Rounding<Multiply>::unit;
  const at::Tensor sums = (magnitudes + 1) * (terms * 0x1p-24);
  const at::Tensor exact = reference(of, of.x, of.dy);
  const at::Tensor rounded = reference(of, Rounding<Multiply>::of(of.x), Rounding<Multiply>::of(of.dy));
  CHECK((found - rounded).abs().le(sums).all().template item<bool>());
  CHECK((found - exact).abs().le(sums + magnitudes * (2 * unit + unit * unit)).all().template item<bool>());
  CHECK((found - rounded).abs().max().template item<double>() <=
        1e-5 * rounded.max().template item<double>());
}

/// A convolution, and how it is to be cut up.
struct Way {
  Index filters, channels, taps_y, taps_x, height, width, stride, padding, dilation;
  bool channels_last;
  int vector, lines, run, outer;
};

}  // namespace

using Multiplications = std::tuple<cuda::Float32, cuda::Tf32, cuda::Bfloat16, cuda::Float16>;

TEMPLATE_LIST_TEST_CASE("The kernel's blocks give LibTorch's gradients, reduced, for any layer", "[cuda]",
                        Multiplications) {
  Dice dice(20221126);
  for (std::uint32_t i = 0; i < 200; ++i) {
    torch::manual_seed(i);
    const Case of = dice(0, 3) == 0 ? linear_layer(dice) : convolution(dice);
    INFO(i);
    if (i % 2 == 0) {
      check<TestType>(of, aggregate::MeanAbs{}, dice);
    } else {
      check<TestType>(of, Raised{}, dice);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("Each way in which the kernel cuts up a convolution gives LibTorch's gradients",
                        "[cuda]", Multiplications) {
  Dice dice(20261201);
  torch::manual_seed(20261201);
  for (const Way& way :
       {Way{70, 20, 3, 3, 28, 28, 1, 1, 1, false, 4, 1, 28, 1},      // a row of positions in a stage
        Way{20, 12, 3, 3, 3, 56, 1, 1, 1, false, 4, 1, 28, 1},       // half of one
        Way{40, 9, 3, 3, 14, 14, 1, 1, 1, false, 2, 2, 14, 1},       // two
        Way{130, 17, 3, 3, 7, 7, 1, 1, 1, false, 1, 4, 7, 1},        // four, of seven
        Way{20, 24, 3, 3, 16, 16, 2, 1, 1, false, 4, 4, 8, 1},       // not side by side
        Way{20, 3, 7, 7, 60, 60, 2, 3, 1, false, 4, 1, 30, 1},       // fewer than eight channels
        Way{20, 3, 11, 11, 63, 63, 4, 2, 1, false, 1, 1, 7, 1},      // stages that are cut until they fit
        Way{20, 40, 3, 3, 20, 20, 1, 12, 12, false, 1, 1, 20, 9},    // taps too far apart to share
        Way{70, 10, 3, 3, 10, 10, 1, 1, 1, true, 1, 3, 10, 1},       // channels side by side in memory
        Way{20, 16, 1, 7, 17, 17, 1, 3, 1, false, 1, 1, 17, 1},      // taps along one axis
        Way{20, 16, 7, 1, 12, 12, 1, 3, 1, false, 4, 2, 12, 1},      // or the other
        Way{20, 200, 1, 1, 28, 28, 2, 0, 1, false, 1, 2, 14, 1},     // one tap at every other position
        Way{20, 150, 1, 1, 12, 12, 1, 0, 1, false, 4, 1, 32, 1}}) {  // at every one: rows do not matter
    Case of;
    of.use.kind = visit::ParameterUse::Kind::convolution;
    of.use.stride = {way.stride, way.stride};
    of.use.padding = {way.taps_y > 1 ? way.padding : 0, way.taps_x > 1 ? way.padding : 0};
    of.use.dilation = {way.dilation, way.dilation};
    of.layer.shape = {way.filters, way.channels, way.taps_y, way.taps_x};
    of.x = at::randn({2, way.channels, way.height, way.width});
    of.dy = at::conv2d(of.x, at::randn(of.layer.shape), {}, of.use.stride, of.use.padding, of.use.dilation);
    if (way.channels_last) of.x = of.x.contiguous(at::MemoryFormat::ChannelsLast);
    of.layer.count = way.filters;
    {
      const auto found = cuda::detail::problem_of<float>(of.use, of.layer, of.x, of.dy);
      const auto task = cuda::task_for<cuda::LargeTile<cuda::Tf32>>(found->numbers, 1);
      CAPTURE(way.channels, way.taps_y, way.taps_x, way.width);
      CHECK(task.columns.vector == way.vector);
      CHECK(task.lines == way.lines);
      CHECK(task.run == way.run);
      CHECK(task.outer == way.outer);
      CHECK(task.columns.planes_side_by_side == way.channels_last);
    }
    check<TestType>(of, Raised{}, dice);
  }
}

TEMPLATE_LIST_TEST_CASE("A gradient that is not a number reaches those units that it is of", "[cuda]",
                        Multiplications) {
  Dice dice(7);
  torch::manual_seed(7);
  Case of;
  of.use.kind = visit::ParameterUse::Kind::convolution;
  of.use.stride = of.use.padding = of.use.dilation = {1, 1};
  of.layer.shape = {70, 20, 3, 3};
  of.layer.count = 70;
  of.layer.size = 180;
  of.x = at::randn({2, 20, 7, 7});
  of.dy = at::randn({2, 70, 7, 7});
  const auto not_numbers = [&] { return on_host<TestType>(of, aggregate::MaxAbs{}, dice).isnan(); };
  CHECK_FALSE(not_numbers().any().template item<bool>());
  of.dy[0][69][6][6] = std::nan("");
  at::Tensor expected = at::zeros({2, 70}, at::kBool);
  expected[0][69] = true;
  CHECK(not_numbers().equal(expected));
  of.x[1][19][6][6] = std::nan("");
  expected[1].fill_(true);
  CHECK(not_numbers().equal(expected));
}

TEMPLATE_LIST_TEST_CASE("A number that no position of a layer sees does not matter", "[cuda]",
                        Multiplications) {
  Dice dice(8);
  torch::manual_seed(8);
  Case of;
  of.use.kind = visit::ParameterUse::Kind::convolution;
  of.use.stride = {2, 2};
  of.use.padding = {0, 0};
  of.use.dilation = {1, 1};
  of.layer.shape = {16, 8, 3, 3};
  of.x = at::randn({1, 8, 8, 26});
  of.dy = at::randn({1, 16, 3, 12});
  of.x.slice(2, 7).fill_(std::nan(""));
  of.x.slice(3, 25).fill_(std::nan(""));
  check<TestType>(of, aggregate::MeanAbs{}, dice);
}

TEST_CASE("The kernel has no rule for a stride that its positions cannot count", "[cuda]") {
  Case of;
  of.use.kind = visit::ParameterUse::Kind::convolution;
  of.use.padding = {0};
  of.use.dilation = {1};
  of.layer.shape = {4, 1, 4096};
  for (const Index stride : {1024, 1025}) {
    of.use.stride = {stride};
    of.x = at::randn({1, 1, 19 * stride + 4096});
    of.dy = at::randn({1, 4, 20});
    CHECK(cuda::detail::problem_of<float>(of.use, of.layer, of.x, of.dy).has_value() == (stride == 1024));
  }
  of.use.stride = {1024};
  of.x = at::randn({1, 1, 19 * 1024 + 4096});
  Dice dice(9);
  check<cuda::Float32>(of, aggregate::MeanAbs{}, dice);
}
