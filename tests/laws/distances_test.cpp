// SPDX-License-Identifier: MIT
// What holds for every distance.
#include <random>

#include "engine/nets.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

using Eigen::VectorXd;

VectorXd random_vector(Index size, std::mt19937& engine) {
  std::normal_distribution<double> draw;
  VectorXd values(size);
  for (double& value : values) value = draw(engine);
  return values;
}

VectorXd vector(std::initializer_list<double> values) {
  return Eigen::Map<const VectorXd>(values.begin(), static_cast<Index>(values.size()));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("A distance is 0 from a profile to itself, symmetric, and blind to the units' order",
                        "[laws]", Distances) {
  const TestType distance{};
  std::mt19937 engine(seed());
  for (const Index size : {1, 2, 3, 17, 500}) {
    const VectorXd a = random_vector(size, engine);
    const VectorXd b = random_vector(size, engine);
    CHECK(distance(a, a) == 0.0);
    CHECK(distance(VectorXd::Zero(size), VectorXd::Zero(size)) == 0.0);
    CHECK(distance(a, b) >= 0.0);
    CHECK(distance(a, b) == distance(b, a));
    std::vector<Index> order = first_indices(size);
    std::shuffle(order.begin(), order.end(), engine);
    CHECK(distance(VectorXd(a(order)), VectorXd(b(order))) == Approx(distance(a, b)).epsilon(1e-13));
    if (size > 2) CHECK(distance(a, b) > 0.0);
  }
}

TEMPLATE_LIST_TEST_CASE("A distance changes with its profiles as it says", "[laws]", Distances) {
  const TestType distance{};
  std::mt19937 engine(seed());
  const VectorXd a = random_vector(50, engine);
  const VectorXd b = random_vector(50, engine);
  const double before = distance(a, b);
  const VectorXd shift = VectorXd::Constant(50, 3.0);
  if constexpr (std::is_same_v<TestType, distance::Euclidean>) {
    CHECK(distance(4.0 * a, 4.0 * b) == 4.0 * before);
    CHECK(distance(a + shift, b + shift) == Approx(before).epsilon(1e-14));
    CHECK(distance(VectorXd(1e200 * a), VectorXd(1e200 * b)) == Approx(1e200 * before));
  } else if constexpr (std::is_same_v<TestType, distance::Cosine> ||
                       std::is_same_v<TestType, distance::Spearman>) {
    CHECK(distance(4.0 * a, 0.5 * b) == Approx(before).epsilon(1e-14));
    CHECK(distance(VectorXd(1e200 * a), VectorXd(1e-200 * b)) == Approx(before).epsilon(1e-13));
    CHECK(distance(a, -a) == Approx(2.0).epsilon(1e-14));
    CHECK(distance(a, VectorXd::Zero(50)) == 1.0);
    CHECK(distance(VectorXd::Zero(50), a) == 1.0);
  }
  if constexpr (std::is_same_v<TestType, distance::Spearman>) {
    CHECK(distance(a.array().exp().matrix(), (b.array().cube() + 7.0).matrix()) == before);
  }
}

TEMPLATE_LIST_TEST_CASE("The gradient of a distance is that of its differences", "[laws]", Distances) {
  if constexpr (DifferentiableDistance<TestType>) {
    const TestType distance{};
    std::mt19937 engine(seed());
    for (const Index size : {2, 5, 30}) {
      const VectorXd a = random_vector(size, engine);
      const VectorXd b = random_vector(size, engine);
      const VectorXd gradient = distance.gradient(a, b);
      REQUIRE(gradient.size() == size);
      constexpr double step = 1e-6;
      for (Index k = 0; k < size; ++k) {
        const VectorXd moved = step * VectorXd::Unit(size, k);
        const double quotient = (distance(a + moved, b) - distance(a - moved, b)) / (2 * step);
        CHECK(gradient[k] == Approx(quotient).epsilon(1e-6).margin(1e-8));
      }
      CHECK(distance.gradient(a, a).norm() <= 1e-15);
      CHECK(distance.gradient(VectorXd::Zero(size), VectorXd::Zero(size)).norm() == 0.0);
    }
  } else {
    SUCCEED("a distance without gradient: input saliency refuses it when it is compiled");
  }
}

TEST_CASE("Each distance is its formula", "[laws]") {
  const VectorXd a = vector({3, 4});
  const VectorXd b = vector({4, -3});
  CHECK(distance::Cosine{}(a, b) == Approx(1.0).epsilon(1e-15));
  CHECK(distance::Cosine{}(a, vector({0, 2})) == Approx(0.2).epsilon(1e-14));
  // A small distance keeps its digits: 1 - cos t = 2 sin^2(t / 2).
  const double t = 1e-6;
  CHECK(distance::Cosine{}(vector({1, 0}), vector({std::cos(t), std::sin(t)})) ==
        Approx(2 * std::pow(std::sin(t / 2), 2)).epsilon(1e-9));
  CHECK(distance::Euclidean{}(a, b) == Approx(std::sqrt(50.0)).epsilon(1e-15));
  // Ranks (1, 2.5, 2.5, 4) and (4, 1, 2.5, 2.5): correlation -2.25 / 4.5.
  CHECK(distance::Spearman{}(vector({1, 2, 2, 3}), vector({4, 1, 2, 2})) == Approx(1.5).epsilon(1e-14));
  CHECK(distance::Spearman{}(vector({1, 2, 3}), vector({5, 50, 500})) == 0.0);
  CHECK(distance::Spearman{}(vector({1, 1, 1}), vector({1, 2, 3})) == 1.0);
  CHECK(distance::Spearman{}(vector({1, 1, 1}), vector({2, 2, 2})) == 0.0);
  CHECK(error_of([&] {
          (void)distance::Spearman{}(vector({1, std::nan("")}), b);
        }).code() == ErrorCode::numeric);
}
