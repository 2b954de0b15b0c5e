// SPDX-License-Identifier: MIT
// What holds for every loss.
#include "engine/nets.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

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
  CHECK(expected.abs().max().template item<double>() > 0.0);
  if constexpr (requires { loss.gradient(outputs, targets); }) {
    CHECK(at::allclose(loss.gradient(outputs, targets), expected, 1e-12, 1e-15));
  }
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
