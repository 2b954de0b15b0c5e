// SPDX-License-Identifier: MIT
// What holds for every intervention.
#include <stdexcept>

#include "intervene/check.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

TEMPLATE_LIST_TEST_CASE("An intervention's scope leaves model and sample as they were",
                        "[laws][intervention]", Interventions) {
  torch::manual_seed(21);
  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor bias = normal({4});
  const auto model = net({{"w", w}, {"bias", bias}}, [=](const at::Tensor& x) {
    x.mul_(2.0);  // as preprocessing in place does
    return at::conv2d(x, w, bias).relu().mean({2, 3});
  });
  const visit::Plan plan = visit::trace(Profiler{}.plan(model), normal({1, 3, 6, 6}));
  const at::Tensor input = normal({3, 6, 6});
  const at::Tensor input_before = input.clone();
  const intervene::Subject subject{input, 1, {0, 2, 2}, at::rand({6, 6})};
  const ModelState before = state_of(model);
  const TestType policy{};

  at::Tensor outputs;
  {
    const intervene::Scope scope(policy, plan, subject);
    CHECK(scope.input().sizes() == input.sizes());
    outputs = scope.outputs();
    CHECK(scope.outputs().equal(outputs));
    const bool changes_sample = !scope.input().equal(input);
    const bool changes_model = !(state_of(model) == before);
    CHECK((changes_sample || changes_model));
  }
  CHECK(state_of(model) == before);
  CHECK(input.equal(input_before));

  // The same again: nothing is kept from scope to scope, and scopes nest.
  {
    const intervene::Scope outer(policy, plan, subject);
    CHECK(outer.outputs().equal(outputs));
    {
      const intervene::Scope inner(policy, plan, subject);
      static_cast<void>(inner.outputs());
    }
    CHECK(outer.outputs().equal(outputs));
  }
  CHECK(state_of(model) == before);

  CHECK_THROWS_AS(
      [&] {
        const intervene::Scope scope(policy, plan, subject);
        throw std::runtime_error("inside the scope");
      }(),
      std::runtime_error);
  CHECK(state_of(model) == before);

  // One that fails half-way has undone what it did.
  intervene::Subject wrong = subject;
  wrong.units = {0, 99};
  wrong.saliency = at::rand({1, 1});
  CHECK_THROWS_AS(intervene::Scope(policy, plan, wrong), Error);
  CHECK(state_of(model) == before);
}
