// SPDX-License-Identifier: MIT
// What holds for every aggregation.
#include <random>

#include "engine/nets.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

/// What becomes of the number when the loss is multiplied by c: |c| times it, or c times.
template <class A>
double factor(double c) {
  return std::is_same_v<A, aggregate::Mean> ? c : std::abs(c);
}

/// The numbers of units with the gradients [samples, units, size].
template <class A>
at::Tensor reduced(const at::Tensor& gradients) {
  Layer layer;
  layer.count = gradients.size(1);
  layer.size = gradients.size(2);
  at::Tensor numbers = at::full({gradients.size(0), layer.count}, -7.0, gradients.options());
  engine::reduce_layer(A{}, gradients.reshape({gradients.size(0), -1}), layer, numbers, 0);
  return numbers;
}

template <class A, class T>
double number(const std::vector<T>& gradient) {
  const auto size = static_cast<Index>(gradient.size());
  return reduced<A>(at::tensor(gradient).view({1, 1, size})).template item<double>();
}

/// The formula one gradient after another in long double, or on a tensor of this unit alone in float64.
template <class A, class T>
long double reference(const std::vector<T>& gradient) {
  const A policy{};
  if constexpr (!ScalarAggregation<A>) {
    const std::vector<double> wide(gradient.begin(), gradient.end());
    return policy(at::tensor(wide, at::kDouble).view({1, 1, -1})).template item<double>();
  } else {
    auto total = policy.map(static_cast<long double>(gradient[0]));
    for (std::size_t i = 1; i < gradient.size(); ++i) {
      total = policy.combine(total, policy.map(static_cast<long double>(gradient[i])));
    }
    return policy.finish(total, static_cast<Index>(gradient.size()));
  }
}

template <class A, class T>
void check_reduction(Index size) {
  std::mt19937 engine(seed() + static_cast<std::uint32_t>(size));
  std::normal_distribution<double> noise;
  std::vector<T> gradient(static_cast<std::size_t>(size));
  for (T& value : gradient) value = static_cast<T>(noise(engine));
  const auto expected = reference<A>(gradient);
  const auto came = static_cast<long double>(number<A>(gradient));
  // A sum of n terms is within (n + 2) units of rounding of the sum of absolute terms, here of the mean of
  // |g|, which is below 1, or of the norm, which is below sqrt(n) + 3.
  const auto unit = static_cast<long double>(std::numeric_limits<T>::epsilon());
  const auto n = static_cast<long double>(size);
  const long double bound = (n + 2.0L) * unit * std::max<long double>(2.0L, std::abs(expected));
  INFO("size " << size);
  CHECK(std::abs(came - expected) <= bound);
  if constexpr (TensorAggregation<A>) {  // what serves the other devices
    const auto on_tensors = A{}(at::tensor(gradient).view({1, 1, size})).template item<double>();
    CHECK(std::abs(static_cast<long double>(on_tensors) - expected) <= bound);
  }
}

/// The loss multiplied by a constant.
struct Scaled {
  static constexpr std::string_view name = "scaled";
  double factor = 1.0;
  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return factor * loss::CrossEntropy{}(outputs, targets);
  }
  at::Tensor gradient(const at::Tensor& outputs, const at::Tensor& targets) const {
    return factor * loss::CrossEntropy{}.gradient(outputs, targets);
  }
};

}  // namespace

TEMPLATE_LIST_TEST_CASE("An aggregation is its formula, for units of any size", "[laws]", Aggregations) {
  for (Index size = 1; size <= 100; ++size) {
    check_reduction<TestType, double>(size);
    check_reduction<TestType, float>(size);
  }
  check_reduction<TestType, double>(4608);
  check_reduction<TestType, float>(4608);
}

TEMPLATE_LIST_TEST_CASE("A NaN anywhere in a unit makes its number NaN", "[laws]", Aggregations) {
  for (const Index size : {1, 2, 5, 31, 32, 33, 50, 64, 67}) {
    for (Index place = 0; place < size; ++place) {
      std::vector<double> gradient(static_cast<std::size_t>(size), 0.5);
      gradient[static_cast<std::size_t>(place)] = std::numeric_limits<double>::quiet_NaN();
      CHECK(std::isnan(number<TestType>(gradient)));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("Zero gradients give 0, and equal gradients what one of them gives or its norm",
                        "[laws]", Aggregations) {
  for (const Index size : {1, 7, 32, 100}) {
    CHECK(number<TestType>(std::vector<double>(static_cast<std::size_t>(size), 0.0)) == 0.0);
    const double one = number<TestType>(std::vector<double>{-0.25});
    CHECK(std::abs(one) == 0.25);
    CHECK((one < 0.0) == (factor<TestType>(-1.0) < 0.0));
    const double growth =
        std::is_same_v<TestType, aggregate::L2Norm> ? std::sqrt(static_cast<double>(size)) : 1.0;
    CHECK(number<TestType>(std::vector<double>(static_cast<std::size_t>(size), -0.25)) ==
          Approx(growth * one).epsilon(1e-14));
  }
}

TEMPLATE_LIST_TEST_CASE("Permuting the output channels of a layer permutes its numbers", "[laws]",
                        Aggregations) {
  torch::manual_seed(seed());
  const at::Tensor gradients = normal({5, 6, 18});
  const at::Tensor alone = reduced<TestType>(gradients);
  const at::Tensor order = at::randperm(6, at::kLong);
  CHECK(at::equal(reduced<TestType>(gradients.index_select(1, order)), alone.index_select(1, order)));
  const at::Tensor samples = at::randperm(5, at::kLong);
  CHECK(at::equal(reduced<TestType>(gradients.index_select(0, samples)), alone.index_select(0, samples)));
  // Written where the layer is, and nowhere else.
  Layer layer;
  layer.count = 6;
  layer.size = 18;
  layer.first = 2;
  at::Tensor wide = at::full({8, 10}, -7.0, at::kDouble);
  engine::reduce_layer(TestType{}, gradients.reshape({5, -1}), layer, wide, 3);
  CHECK(at::equal(wide.narrow(0, 3, 5).narrow(1, 2, 6), alone));
  CHECK(wide.eq(-7.0).sum().template item<Index>() == 80 - 30);
}

TEMPLATE_LIST_TEST_CASE("Multiplying the loss multiplies the profile as the aggregation says", "[laws]",
                        Aggregations) {
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 3, 3)), torch::nn::Tanh(),
                              torch::nn::Flatten(), torch::nn::Linear(12, 4));
  model->to(at::kDouble);
  model->eval();
  const visit::Plan plan =
      visit::make_plan(visit::view(model), visit::AllWeights{}, granularity_of<TestType>());
  const at::Tensor inputs = normal({3, 2, 4, 4});
  const at::Tensor targets = classes(3, 4);
  const auto run = [&](double c) {
    return engine::Batched{}(plan, TestType{}, Scaled{c}, inputs, targets).profiles;
  };
  const at::Tensor expected = run(1.0);
  CHECK(expected.abs().max().template item<double>() > 0.0);
  for (const double c : {-1.0, 4.0, -0.5, 0.0}) {  // powers of two: exact
    CHECK(at::equal(run(c), factor<TestType>(c) * expected));
  }
}

TEMPLATE_LIST_TEST_CASE("The derivative of an aggregation is that of its differences", "[laws]",
                        Aggregations) {
  torch::manual_seed(seed());
  constexpr double step = 1e-6;
  for (const Index size : {1, 2, 9, 40}) {
    const at::Tensor gradients = normal({2, 3, size});
    const at::Tensor cotangent = normal({2, 3});
    Layer layer;
    layer.count = 3;
    layer.size = size;
    const at::Tensor slopes = engine::reduce_layer_vjp(TestType{}, gradients.reshape({2, -1}), layer,
                                                       reduced<TestType>(gradients), cotangent)
                                  .view_as(gradients);
    for (Index i = 0; i < size; ++i) {
      at::Tensor moved = at::zeros_like(gradients);
      moved.select(2, i).fill_(step);
      const at::Tensor quotient =
          (reduced<TestType>(gradients + moved) - reduced<TestType>(gradients - moved)) / (2 * step);
      CHECK(at::allclose(slopes.select(2, i), cotangent * quotient, 1e-6, 1e-9));
    }
  }
  // Where the gradient is 0, and with it every one of these functions, is the middle of their kink.
  Layer layer;
  layer.count = 2;
  layer.size = 4;
  const at::Tensor zeros = at::zeros({1, 8}, at::kDouble);
  const at::Tensor slopes = engine::reduce_layer_vjp(TestType{}, zeros, layer, at::zeros({1, 2}, at::kDouble),
                                                     at::ones({1, 2}, at::kDouble));
  CHECK(slopes.eq(factor<TestType>(-1.0) < 0.0 ? 0.25 : 0.0).all().template item<bool>());
}

namespace {

struct Rows {
  static constexpr std::string_view name = "rows";
  at::Tensor operator()(const at::Tensor& gradients) const { return gradients.sum(0); }
};
static_assert(TensorAggregation<Rows>);

}  // namespace

TEST_CASE("The median is that of the sorted sizes", "[laws]") {
  CHECK(number<aggregate::MedianAbs>(std::vector<double>{-3.0}) == 3.0);
  CHECK(number<aggregate::MedianAbs>(std::vector<double>{5.0, -1.0, 2.0}) == 2.0);
  CHECK(number<aggregate::MedianAbs>(std::vector<double>{5.0, -1.0, 2.0, -100.0}) == 3.5);
}

TEST_CASE("An aggregation on tensors that gives anything but one number for each unit is refused", "[laws]") {
  const Error error = error_of([] { (void)reduced<Rows>(at::ones({2, 3, 4}, at::kDouble)); });
  CHECK(error.code() == ErrorCode::shape);
  CHECK(error.place() == "aggregation rows");
}
