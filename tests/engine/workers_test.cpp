// SPDX-License-Identifier: MIT
// Batches on several threads, each with a part.
#include <atomic>
#include <stdexcept>
#include <string>

#include "engine/nets.hpp"
#include "engine/random_nets.hpp"

using namespace culprit;
using namespace culprit::test;
namespace F = torch::nn::functional;

namespace {

/// A number of LibTorch's threads for a scope.
struct IntraOpThreads {
  explicit IntraOpThreads(int threads) : before(at::get_num_threads()) { at::set_num_threads(threads); }
  IntraOpThreads(const IntraOpThreads&) = delete;
  IntraOpThreads& operator=(const IntraOpThreads&) = delete;
  ~IntraOpThreads() { at::set_num_threads(before); }
  int before;
};

}  // namespace

TEST_CASE("Workers give what one thread and Loop give over 60 random layer configurations", "[engine]") {
  torch::manual_seed(seed());
  Dice dice(seed());
  const Warnings warnings;
  for (int i = 0; i < 60; ++i) {
    const RandomNet net = random_net(dice, /*smooth=*/false);
    INFO("configuration " << i << ", seed " << seed() << ": " << net.inputs.sizes() << "; "
                          << net.description.str());
    const engine::Batched batched{.workers = dice.between(2, 6)};
    const visit::Plan plan =
        visit::make_plan(visit::view(net.model), visit::AllWeights{}, Granularity::filter);
    const auto profiles = [&](const engine::Batched& engine) {
      return engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, net.inputs, net.targets).profiles;
    };
    CHECK(worst(*plan.units, profiles(batched), profiles(engine::Batched{})) <= 1e-10);
    CHECK(vjp_batched_against_loop(net.model, net.inputs, net.targets, visit::AllWeights{},
                                   aggregate::MeanAbs{}, loss::CrossEntropy{}, batched) <= 1e-9);
  }
  CHECK(warnings.messages == std::vector<std::string>{});
}

TEST_CASE("With chunks, one worker or many give the same bits", "[engine]") {
  torch::manual_seed(seed());
  Dice dice(seed());
  const IntraOpThreads two(2);
  for (int i = 0; i < 20; ++i) {
    RandomNet net = random_net(dice, /*smooth=*/false);
    INFO("configuration " << i << ", seed " << seed() << ": " << net.inputs.sizes() << "; "
                          << net.description.str());
    net.model->to(at::kFloat);
    const at::Tensor inputs = net.inputs.to(at::kFloat).repeat_interleave(3, 0);
    const at::Tensor targets = net.targets.repeat_interleave(3, 0);
    const visit::Plan plan =
        visit::make_plan(visit::view(net.model), visit::AllWeights{}, Granularity::filter);
    const auto result = [&](Index workers, const at::Tensor& x, const at::Tensor& t) {
      return engine::Batched{.workers = workers, .chunk = 2}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{},
                                                             x, t);
    };
    const engine::BatchResult one = result(1, inputs, targets);
    for (const Index workers : {2, 4, 8}) {
      const engine::BatchResult many = result(workers, inputs, targets);
      CHECK(many.profiles.equal(one.profiles));
      CHECK(many.outputs.equal(one.outputs));
      CHECK(many.losses.equal(one.losses));
    }
    // A chunk does not know what else is in the batch.
    if (inputs.size(0) > 2) {
      const engine::BatchResult rest =
          result(2, inputs.narrow(0, 2, inputs.size(0) - 2), targets.narrow(0, 2, inputs.size(0) - 2));
      CHECK(rest.profiles.equal(one.profiles.narrow(0, 2, inputs.size(0) - 2)));
    }
  }
}

TEST_CASE("Workers leave the model and LibTorch's threads as they were", "[engine]") {
  torch::manual_seed(seed());
  const IntraOpThreads three(3);
  const at::Tensor w = weight({4, 3, 3, 3}).requires_grad_(true);
  const at::Tensor v = weight({5, 4}).requires_grad_(true);
  std::atomic<int> threads_inside = 0;
  const visit::ModelView model = net({{"w", w}, {"v", v}}, [&](const at::Tensor& x) {
    threads_inside = std::max(threads_inside.load(), at::get_num_threads());
    if (x.gt(1e6).any().item<bool>()) throw std::runtime_error("the model's own error");
    return F::linear(F::conv2d(x, w).relu().mean({2, 3}), v);
  });
  const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
  const at::Tensor inputs = normal({7, 3, 6, 6});
  const at::Tensor targets = classes(7, 5);
  const ModelState before(model);
  const auto run = [&] {
    return engine::Batched{.workers = 3}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets);
  };
  (void)run();  // looks at the model on the caller's threads first
  threads_inside = 0;
  CHECK(run().profiles.size(0) == 7);
  CHECK(threads_inside == 1);
  CHECK(at::get_num_threads() == 3);
  CHECK(ModelState(model) == before);

  inputs[5].fill_(1e7);
  CHECK_THROWS_WITH(run(), "the model's own error");
  CHECK(at::get_num_threads() == 3);
  CHECK(ModelState(model) == before);

  inputs[5].zero_();
  const auto place_of_wrong_label = [&](const auto& engine) {
    at::Tensor wrong = targets.clone();
    wrong[5] = 5;
    const Error error =
        error_of([&] { (void)engine(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, wrong); });
    CHECK(error.code() == ErrorCode::label);
    return error.place();
  };
  CHECK(place_of_wrong_label(engine::Batched{.workers = 3}) ==
        "label of sample 1 of the batch, counted from sample 4");
  CHECK(place_of_wrong_label(engine::Batched{}) == "label of sample 5 of the batch");
  CHECK(place_of_wrong_label(engine::Loop{}) == "label of sample 0 of the batch, counted from sample 5");

  const Error error = error_of([&] {
    (void)engine::Batched{.workers = 3}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs,
                                        targets.narrow(0, 0, 6));
  });
  CHECK(error.code() == ErrorCode::shape);
  CHECK(ModelState(model) == before);
}

TEST_CASE("Workers hand a model without a batched rule to Loop", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({4, 6});
  const visit::ModelView model = net({{"w", w}}, [=](const at::Tensor& x) { return F::linear(x, w * 2.0); });
  const ModelState before(model);
  Warnings warnings;  // swallows the one that names the operator, which another test may have had already
  CHECK(batched_against_loop(model, normal({5, 6}), classes(5, 4), visit::AllWeights{}, aggregate::MeanAbs{},
                             loss::CrossEntropy{}, engine::Batched{.workers = 4}) == 0.0);
  CHECK(ModelState(model) == before);
}

TEST_CASE("Batch norm with running statistics hands on a gradient that others read, too", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor w = weight({6, 3, 3, 3});
  const at::Tensor u = weight({6, 6, 1, 1});
  const at::Tensor v = weight({5, 6});
  const at::Tensor scale = normal({6}), shift = normal({6}), mean = normal({6}), variance = normal({6}).exp();
  const bool affine = GENERATE(true, false);
  const auto format = GENERATE(at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast);
  const auto norm = [=](const at::Tensor& x) {
    return at::batch_norm(x, affine ? scale : at::Tensor(), affine ? shift : at::Tensor(), mean, variance,
                          /*training=*/false, 0.1, 1e-3, false);
  };
  const visit::ModelView model = net({{"w", w}, {"u", u}, {"v", v}}, [=](const at::Tensor& x) {
    const at::Tensor stem = norm(F::conv2d(x, w));
    const at::Tensor branch = norm(F::conv2d(stem, u));
    const at::Tensor sum = stem + branch;  // both are given one and the same gradient
    at::Tensor again = norm(sum + norm(sum));
    again.mul_(again.sigmoid());
    return F::linear(again.mean({2, 3}), v);
  });
  CHECK(batched_against_loop(model, normal({4, 3, 7, 7}).contiguous(format), classes(4, 5)) <= 1e-10);
}

TEST_CASE("Jobs within jobs end, whatever the number of threads", "[core]") {
  const IntraOpThreads many(5);
  std::atomic<Index> sum = 0;
  const auto add = [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) sum += i;
  };
  culprit::detail::on_threads(8, 8, [&](Index part) {
    culprit::detail::in_parallel(100 * part, 100 * (part + 1), 1, [&](Index begin, Index end) {
      culprit::detail::in_parallel(begin, end, 1, add);
    });
  });
  CHECK(sum == 800 * 799 / 2);

  std::atomic<int> done = 0;
  CHECK_THROWS_WITH(culprit::detail::on_threads(6, 3,
                                                [&](Index part) {
                                                  ++done;
                                                  if (part >= 2)
                                                    throw std::runtime_error(std::to_string(part));
                                                }),
                    "2");
  CHECK(done == 6);
}
