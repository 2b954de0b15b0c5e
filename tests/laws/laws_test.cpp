// SPDX-License-Identifier: MIT
// What holds for every policy of a role. A new policy enters by one line in its role's list.
#include <random>

#include "engine/nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

enum class Scaling { linear, absolute };

/// @tparam scaling  what becomes of the number when the loss is multiplied by c: c times it, or |c| times
template <Aggregation A, Scaling scaling>
struct AggregationLaw {
  using Policy = A;
  static double factor(double c) { return scaling == Scaling::linear ? c : std::abs(c); }
};

using Aggregations = std::tuple<AggregationLaw<aggregate::MeanAbs, Scaling::absolute>,  //
                                AggregationLaw<aggregate::Mean, Scaling::linear>,       //
                                AggregationLaw<aggregate::L2Norm, Scaling::absolute>,   //
                                AggregationLaw<aggregate::MaxAbs, Scaling::absolute>,   //
                                AggregationLaw<aggregate::ParameterWise, Scaling::absolute>>;

using Standardizations = std::tuple<standardize::ZScore, standardize::MeanRatio, standardize::Identity>;

using Losses =
    std::tuple<loss::CrossEntropy, loss::AtTarget<loss::PredictedClass>, loss::AtTarget<loss::GivenClass>>;

/// finish(combine of map) one after another, in long double.
template <class A, class T>
long double reference(const A& policy, const std::vector<T>& gradient) {
  auto total = policy.map(static_cast<long double>(gradient[0]));
  for (std::size_t i = 1; i < gradient.size(); ++i) {
    total = policy.combine(total, policy.map(static_cast<long double>(gradient[i])));
  }
  return policy.finish(total, static_cast<Index>(gradient.size()));
}

template <class A, class T>
void check_reduction(Index size) {
  const A policy{};
  std::mt19937 engine(seed() + static_cast<std::uint32_t>(size));
  std::normal_distribution<double> noise;
  std::vector<T> gradient(static_cast<std::size_t>(size));
  for (T& value : gradient) value = static_cast<T>(noise(engine));
  const auto expected = reference(policy, gradient);
  const auto came = engine::reduce_unit(policy, gradient.data(), size);
  static_assert(std::is_same_v<decltype(came), const T>);
  // A sum of n terms is within (n + 2) units of rounding of the sum of absolute terms, here of the mean of
  // |g|, which is below 1, or of the norm, which is below sqrt(n) + 3.
  const auto unit = static_cast<long double>(std::numeric_limits<T>::epsilon());
  const auto n = static_cast<long double>(size);
  INFO("size " << size);
  CHECK(std::abs(came - expected) <= (n + 2.0L) * unit * std::max<long double>(2.0L, std::abs(expected)));
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
  using Policy = typename TestType::Policy;
  for (Index size = 1; size <= 100; ++size) {
    check_reduction<Policy, double>(size);
    check_reduction<Policy, float>(size);
  }
  check_reduction<Policy, double>(4608);
  check_reduction<Policy, float>(4608);
}

TEMPLATE_LIST_TEST_CASE("A NaN anywhere in a unit makes its number NaN", "[laws]", Aggregations) {
  const typename TestType::Policy policy{};
  for (const Index size : {1, 2, 5, 31, 32, 33, 50, 64, 67}) {
    for (Index place = 0; place < size; ++place) {
      std::vector<double> gradient(static_cast<std::size_t>(size), 0.5);
      gradient[static_cast<std::size_t>(place)] = std::numeric_limits<double>::quiet_NaN();
      CHECK(std::isnan(engine::reduce_unit(policy, gradient.data(), size)));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("Zero gradients give 0, and equal gradients what one of them gives or its norm",
                        "[laws]", Aggregations) {
  using Policy = typename TestType::Policy;
  const Policy policy{};
  for (const Index size : {1, 7, 32, 100}) {
    const std::vector<double> zeros(static_cast<std::size_t>(size), 0.0);
    CHECK(engine::reduce_unit(policy, zeros.data(), size) == 0.0);
    const std::vector<double> equal(static_cast<std::size_t>(size), -0.25);
    const double one = engine::reduce_unit(policy, equal.data(), 1);
    CHECK(std::abs(one) == 0.25);
    CHECK((one < 0.0) == (TestType::factor(-1.0) < 0.0));
    const double growth =
        std::is_same_v<Policy, aggregate::L2Norm> ? std::sqrt(static_cast<double>(size)) : 1.0;
    CHECK(engine::reduce_unit(policy, equal.data(), size) == Approx(growth * one).epsilon(1e-14));
  }
}

TEMPLATE_LIST_TEST_CASE("Permuting the output channels of a layer permutes its numbers", "[laws]",
                        Aggregations) {
  using Policy = typename TestType::Policy;
  torch::manual_seed(seed());
  Layer layer;
  layer.count = 6;
  layer.size = 18;
  const at::Tensor gradients = normal({5, layer.count, layer.size});
  const auto reduce = [&](const at::Tensor& block) {
    at::Tensor profiles = at::full({5, layer.count}, -7.0, at::kDouble);
    engine::reduce_layer(Policy{}, block.reshape({5, -1}), layer, profiles, 0);
    return profiles;
  };
  const at::Tensor order = at::randperm(layer.count, at::kLong);
  CHECK(at::equal(reduce(gradients.index_select(1, order)), reduce(gradients).index_select(1, order)));
  const at::Tensor samples = at::randperm(5, at::kLong);
  CHECK(at::equal(reduce(gradients.index_select(0, samples)), reduce(gradients).index_select(0, samples)));
  // Written where the layer is, and nowhere else.
  const at::Tensor alone = reduce(gradients);
  layer.first = 2;
  at::Tensor wide = at::full({8, 10}, -7.0, at::kDouble);
  engine::reduce_layer(Policy{}, gradients.reshape({5, -1}), layer, wide, 3);
  CHECK(at::equal(wide.narrow(0, 3, 5).narrow(1, 2, 6), alone));
  CHECK(wide.eq(-7.0).sum().template item<Index>() == 80 - 30);
}

TEMPLATE_LIST_TEST_CASE("Multiplying the loss multiplies the profile as the aggregation says", "[laws]",
                        Aggregations) {
  using Policy = typename TestType::Policy;
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 3, 3)), torch::nn::Tanh(),
                              torch::nn::Flatten(), torch::nn::Linear(12, 4));
  model->to(at::kDouble);
  model->eval();
  const visit::Plan plan =
      visit::make_plan(visit::view(model), visit::AllWeights{}, granularity_of<Policy>());
  const at::Tensor inputs = normal({3, 2, 4, 4});
  const at::Tensor targets = classes(3, 4);
  const auto run = [&](double factor) {
    return engine::Batched{}(plan, Policy{}, Scaled{factor}, inputs, targets).profiles;
  };
  const at::Tensor expected = run(1.0);
  CHECK(expected.abs().max().template item<double>() > 0.0);
  for (const double factor : {-1.0, 4.0, -0.5, 0.0}) {  // powers of two: exact
    CHECK(at::equal(run(factor), TestType::factor(factor) * expected));
  }
}

TEMPLATE_LIST_TEST_CASE("A standardization keeps the order of a unit's values and gives 0 for a dead unit",
                        "[laws]", Standardizations) {
  const TestType policy{};
  const UnitStatistics unit{0.75, 0.125};
  double before = policy(-2.0, unit);
  for (double raw = -1.75; raw < 3.0; raw += 0.25) {
    const double now = policy(raw, unit);
    CHECK(now > before);
    before = now;
  }
  for (const double deviation : {0.0, 1e-15, dead_stddev}) {
    const double raw = 0.75;
    CHECK(policy(raw, {0.5, deviation}) == (std::is_same_v<TestType, standardize::Identity> ? raw : 0.0));
  }
  CHECK(std::isfinite(policy(1.0, {0.0, 1.0})));
  CHECK(std::isnan(policy(std::numeric_limits<double>::quiet_NaN(), unit)));
}

TEST_CASE("Each standardization is its formula", "[laws]") {
  CHECK(standardize::ZScore{}(0.75, {0.5, 0.125}) == 2.0);
  CHECK(standardize::ZScore{}(0.5, {0.5, 0.125}) == 0.0);
  CHECK(standardize::ZScore{}(1.0, {0.0, 2e-14}) == 5e13);
  CHECK(standardize::MeanRatio{}(0.5, {0.5, 0.125}) == 1.0);
  CHECK(standardize::MeanRatio{}(1.5, {0.5, 0.125}) == 3.0);
  CHECK(standardize::MeanRatio{}(1.5, {0.0, 0.125}) == 0.0);
  CHECK(standardize::Identity{}(1.5, {0.5, 0.0}) == 1.5);
}

TEMPLATE_LIST_TEST_CASE("A loss gives one number for each sample, and its gradient is that of autograd",
                        "[laws]", Losses) {
  torch::manual_seed(seed());
  const TestType loss{};
  const at::Tensor outputs = 3.0 * normal({7, 5});
  const at::Tensor targets = classes(7, 5);
  const at::Tensor losses = loss(outputs, targets);
  CHECK(losses.sizes() == at::IntArrayRef{7});
  for (Index i = 0; i < 7; ++i) {
    CHECK(at::equal(loss(outputs.narrow(0, i, 1), targets.narrow(0, i, 1)), losses.narrow(0, i, 1)));
  }
  const at::Tensor variable = outputs.clone().requires_grad_(true);
  const at::Tensor expected = torch::autograd::grad({loss(variable, targets).sum()}, {variable})[0];
  CHECK(at::allclose(loss.gradient(outputs, targets), expected, 1e-12, 1e-15));
}

namespace {

struct Exact {
  long double loss;
  std::vector<long double> gradient;
};

/// L = log(1 + sum over j != y of exp(o_j - o_y)) and p_j, in long double, where 1 - p_y is never formed.
Exact exact_cross_entropy(const std::vector<double>& outputs, std::size_t label) {
  const long double largest = *std::ranges::max_element(outputs);
  long double others = 0.0L;
  long double all = 0.0L;
  for (std::size_t j = 0; j < outputs.size(); ++j) {
    all += std::exp(outputs[j] - largest);
    if (j != label) others += std::exp(outputs[j] - static_cast<long double>(outputs[label]));
  }
  Exact exact{std::log1p(others), {}};
  long double wrong = 0.0L;
  for (std::size_t j = 0; j < outputs.size(); ++j) {
    const long double p = std::exp(outputs[j] - largest) / all;
    exact.gradient.push_back(p);
    if (j != label) wrong += p;
  }
  exact.gradient[label] = -wrong;
  return exact;
}

}  // namespace

TEST_CASE("Cross entropy keeps all digits at every margin", "[laws]") {
  // Differences of these outputs are exact in float64, so that only the functions round.
  for (const double margin :
       {0.0, 0.25, 1.5, 10.0, 36.0, 80.0, 300.0, 700.0, -0.25, -1.5, -10.0, -36.0, -80.0, -700.0}) {
    for (const std::vector<double>& rest : {std::vector<double>{}, {0.0}, {-3.0, 0.0, -50.0}}) {
      std::vector<double> outputs{margin, 0.0};
      outputs.insert(outputs.end(), rest.begin(), rest.end());
      INFO("margin " << margin << ", " << outputs.size() << " classes");
      const Exact exact = exact_cross_entropy(outputs, 0);
      const at::Tensor tensor = at::tensor(outputs, at::kDouble).unsqueeze(0);
      const at::Tensor target = at::zeros({1}, at::kLong);
      constexpr double digits = 16.0 * 0x1p-53;
      const double loss = loss::CrossEntropy{}(tensor, target).item<double>();
      CHECK(std::abs(static_cast<double>((loss - exact.loss) / exact.loss)) <= digits);
      const at::Tensor gradient = loss::CrossEntropy{}.gradient(tensor, target)[0];
      for (std::size_t j = 0; j < outputs.size(); ++j) {
        const double came = gradient[static_cast<Index>(j)].item<double>();
        CHECK(std::abs(static_cast<double>(came - exact.gradient[j])) <=
              digits * std::abs(static_cast<double>(exact.gradient[j])) +
                  std::numeric_limits<double>::denorm_min());
      }
      CHECK(std::abs(gradient.sum().item<double>()) <= digits * gradient.abs().max().item<double>());
    }
  }
}

TEST_CASE("Cross entropy is LibTorch's where that has digits, and refuses what is no label", "[laws]") {
  torch::manual_seed(seed());
  const at::Tensor outputs = 3.0 * normal({50, 10});
  const at::Tensor targets = classes(50, 10);
  const at::Tensor expected = at::log_softmax(outputs, 1).gather(1, targets.unsqueeze(1)).squeeze(1).neg();
  const loss::CrossEntropy loss;
  CHECK(at::allclose(loss(outputs, targets), expected, 1e-12, 1e-15));
  CHECK(at::allclose(loss.gradient(outputs, targets), at::softmax(outputs, 1) - at::one_hot(targets, 10),
                     1e-12, 1e-15));
  const at::Tensor one_class = normal({2, 1});
  CHECK(at::equal(loss(one_class, at::zeros({2}, at::kLong)), at::zeros({2}, at::kDouble)));
  CHECK(at::equal(loss.gradient(one_class, at::zeros({2}, at::kLong)), at::zeros({2, 1}, at::kDouble)));

  const auto refused = [&](const at::Tensor& o, const at::Tensor& t) {
    const Error error = error_of([&] { (void)loss(o, t); });
    CHECK(error_of([&] { (void)loss.gradient(o, t); }).code() == error.code());
    return error;
  };
  at::Tensor wrong = targets.clone();
  wrong[7] = 10;
  CHECK(refused(outputs, wrong).code() == ErrorCode::label);
  CHECK(refused(outputs, wrong).place() == "label of sample 7 of the batch");
  CHECK(refused(outputs, wrong).expected() == "0 to 9");
  wrong[7] = -1;
  CHECK(refused(outputs, wrong).came() == "-1");
  CHECK(refused(outputs, targets.to(at::kDouble)).code() == ErrorCode::dtype);
  CHECK(refused(outputs, targets.narrow(0, 0, 3)).code() == ErrorCode::shape);
  CHECK(refused(outputs, targets.unsqueeze(1)).code() == ErrorCode::shape);
  CHECK(refused(outputs[0], targets).code() == ErrorCode::shape);
  CHECK(refused(outputs.unsqueeze(2), targets).code() == ErrorCode::shape);
  // Labels that are every second number of a tensor.
  const at::Tensor strided = at::stack({targets, wrong}, 1).select(1, 0);
  CHECK(at::equal(loss(outputs, strided), loss(outputs, targets)));
}
