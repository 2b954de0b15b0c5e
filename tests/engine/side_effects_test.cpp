// SPDX-License-Identifier: MIT
// What engines do beside their numbers: to the model, to memory, to other threads and copies of the library.
#include <thread>

#include <dlfcn.h>

#include "engine/nets.hpp"

namespace F = torch::nn::functional;
using namespace culprit;
using namespace culprit::test;

namespace {

constexpr double restored_tolerance = 1e-10;

/// A network whose parameters are partly frozen and whose forward pass, or its output, can be made to fail.
struct FragileImpl : torch::nn::Module {
  FragileImpl() {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3)));
    norm = register_module("norm", torch::nn::BatchNorm2d(4));
    head = register_module("head", torch::nn::Linear(4, 5));
    to(at::kDouble);
    eval();
    conv->weight.set_requires_grad(false);
    head->bias.set_requires_grad(false);
  }

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor features = norm(conv(x)).relu_().mean({2, 3});
    if (fails) throw std::runtime_error("the model's own error");
    return with_index ? head(features + 0.0 * conv->weight.select(0, 0).sum()) : head(features);
  }

  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  torch::nn::Linear head{nullptr};
  bool fails = false;
  bool with_index = false;
};
TORCH_MODULE(Fragile);

struct ThrowingLoss {
  static constexpr std::string_view name = "throwing";
  at::Tensor operator()(const at::Tensor& /*outputs*/, const at::Tensor& /*targets*/) const {
    throw std::runtime_error("the loss's own error");
  }
};

/// Throws inside of the backward pass.
struct ThrowingAggregation : aggregate::MeanAbs {
  static constexpr std::string_view name = "throwing";
  static double map(double /*gradient*/) { throw std::runtime_error("the aggregation's own error"); }
  static double combine(double a, double b) { return a + b; }
  static double finish(double sum, Index /*size*/) { return sum; }
};

/// An engine's vector-Jacobian product, called like the engine.
template <class E>
struct VjpOf {
  template <class A, class L>
  auto operator()(const visit::Plan& plan, const A& aggregation, const L& loss, const at::Tensor& inputs,
                  const at::Tensor& targets) const {
    return E{}.vjp(plan, aggregation, loss, inputs, targets,
                   random_cotangent(inputs.size(0), plan.units->size()));
  }
};

}  // namespace

TEMPLATE_TEST_CASE("A model comes back as it was, whatever happens", "[engine]", engine::Batched,
                   engine::Loop, VjpOf<engine::Batched>, VjpOf<engine::Loop>) {
  torch::manual_seed(seed());
  Fragile model;
  const at::Tensor inputs = normal({4, 3, 6, 6}).requires_grad_(true);
  const at::Tensor targets = classes(4, 5);
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
  const ModelState before(plan.model);
  const auto input_version = inputs._version();
  const TestType run{};
  const auto unchanged = [&] {
    return ModelState(plan.model) == before && !inputs.grad().defined() && inputs.requires_grad() &&
           inputs._version() == input_version && at::GradMode::is_enabled() &&
           !c10::InferenceMode::is_enabled();
  };

  (void)run(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets);
  CHECK(unchanged());
  model->with_index = true;  // needs the fallback
  (void)run(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets);
  CHECK(unchanged());
  model->with_index = false;

  model->fails = true;
  CHECK_THROWS_WITH(run(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets),
                    "the model's own error");
  CHECK(unchanged());
  model->fails = false;
  CHECK_THROWS_WITH(run(plan, aggregate::MeanAbs{}, ThrowingLoss{}, inputs, targets), "the loss's own error");
  CHECK(unchanged());
  CHECK_THROWS_WITH(run(plan, ThrowingAggregation{}, loss::CrossEntropy{}, inputs, targets),
                    "the aggregation's own error");
  CHECK(unchanged());
  for (const Index label : {-1, 5}) {
    const Error error = error_of([&] {
      (void)run(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, at::full({4}, label, at::kLong));
    });
    CHECK(error.code() == ErrorCode::label);
    CHECK(unchanged());
  }
  // Gradients of an earlier training step stay, too.
  model->head->weight.mutable_grad() = at::ones_like(model->head->weight);
  (void)run(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets);
  CHECK(at::equal(model->head->weight.grad(), at::ones_like(model->head->weight)));
}

TEST_CASE("A parameter that is the result of an operation is refused by name", "[engine]") {
  const at::Tensor w = weight({4, 6}).requires_grad_(true) * 2.0;
  const auto model = net({{"head", w}}, [=](const at::Tensor& x) { return F::linear(x, w); });
  const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
  const Error error = error_of([&] {
    (void)engine::Batched{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, normal({2, 6}), classes(2, 4));
  });
  CHECK(error.code() == ErrorCode::model);
  CHECK(error.place() == "head");
}

TEST_CASE("An in-place operation on the input of a layer is an error that names the layer", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor a = weight({6, 6});
  const at::Tensor b = weight({6, 6});
  const auto model = net({{"a", a}, {"b", b}}, [=](const at::Tensor& x) {
    at::Tensor y = F::linear(x, a);
    const at::Tensor z = F::linear(y, b);
    y.add_(z);
    return y;
  });
  const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
  const ModelState before(model);
  const auto check = [&](const auto& run) {
    const Error error = error_of([&] {
      (void)run(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, normal({2, 6}), classes(2, 4));
    });
    CHECK(error.code() == ErrorCode::model);
    CHECK(error.place() == "input of b");
    CHECK(ModelState(model) == before);
  };
  check(engine::Batched{});
  check(VjpOf<engine::Batched>{});
}

TEST_CASE("Two threads with a model each get what one gets", "[engine]") {
  torch::manual_seed(seed());
  constexpr int threads = 2;
  constexpr int rounds = 10;
  std::vector<torch::nn::Sequential> models;
  std::vector<at::Tensor> inputs, targets, expected;
  const auto run = [&](int thread) {
    const visit::Plan plan = visit::make_plan(visit::view(models[static_cast<std::size_t>(thread)]),
                                              visit::AllWeights{}, Granularity::filter);
    const auto i = static_cast<std::size_t>(thread);
    return engine::Batched{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs[i], targets[i])
        .profiles;
  };
  for (int thread = 0; thread < threads; ++thread) {
    torch::nn::Sequential model(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4 + thread, 3)),
                                torch::nn::ReLU(), torch::nn::Flatten(),
                                torch::nn::Linear(16 * (4 + thread), 5));
    model->to(at::kDouble);
    model->eval();
    models.push_back(model);
    inputs.push_back(normal({4, 3, 6, 6}));
    targets.push_back(classes(4, 5));
    expected.push_back(run(thread));
  }
  std::vector<int> equal(threads, 0);
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      const auto i = static_cast<std::size_t>(thread);
      for (int round = 0; round < rounds; ++round) equal[i] += at::equal(run(thread), expected[i]) ? 1 : 0;
    });
  }
  for (std::thread& worker : workers) worker.join();
  CHECK(equal == std::vector<int>(threads, rounds));
}

namespace {

/// The most bytes that LibTorch's allocator held at a time, above those at the start, for tensors made while
/// it lives.
class PeakMemory final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*pointer*/, std::int64_t bytes, std::size_t /*allocated*/,
                         std::size_t /*reserved*/, c10::Device /*device*/) override {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }
  [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }
  [[nodiscard]] std::int64_t bytes() const { return peak_; }

  template <class Call>
  static std::int64_t of(Call&& call) {
    const auto peak = std::make_shared<PeakMemory>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, peak);
    call();
    return peak->bytes();
  }

 private:
  std::int64_t now_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace

TEST_CASE("Batched needs the memory of a training step and one block, whatever the number of parameters",
          "[engine]") {
  torch::manual_seed(seed());
  constexpr Index batch = 32;
  torch::nn::Sequential model(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 32, 3).padding(1)), torch::nn::BatchNorm2d(32),
      torch::nn::ReLU(), torch::nn::Conv2d(torch::nn::Conv2dOptions(32, 128, 3).stride(4)),
      torch::nn::BatchNorm2d(128), torch::nn::ReLU(),
      torch::nn::Conv2d(torch::nn::Conv2dOptions(128, 128, 3)), torch::nn::ReLU(), torch::nn::Flatten(),
      torch::nn::Linear(512, 256), torch::nn::ReLU(), torch::nn::Linear(256, 10));
  model->eval();
  const at::Tensor inputs = normal({batch, 3, 18, 18}, at::kFloat);
  const at::Tensor targets = classes(batch, 10);
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::AllWeights{}, Granularity::filter);
  const std::int64_t training_step = PeakMemory::of([&] {
    F::cross_entropy(model->forward(inputs), targets).backward();
    model->zero_grad(/*set_to_none=*/true);
  });
  std::int64_t parameter_bytes = 0;
  for (const at::Tensor& parameter : plan.parameters)
    parameter_bytes += static_cast<std::int64_t>(parameter.nbytes());
  const auto batched = [&](Index block_bytes) {
    return PeakMemory::of([&] {
      (void)engine::Batched{block_bytes}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets);
    });
  };
  (void)batched(1);  // the first call of a plan also looks at a second batch extent
  constexpr Index block_bytes = Index{2} << 20U;
  const auto bound = static_cast<std::int64_t>(1.15 * static_cast<double>(training_step)) + block_bytes;
  CAPTURE(training_step, parameter_bytes, bound);
  REQUIRE(batch * parameter_bytes > 2 * bound);  // so that per-sample gradients of the whole model would show
  CHECK(batched(block_bytes) <= bound);
}

namespace {

/// A shared object that holds its own copy of the library.
class Copy {
 public:
  explicit Copy(const char* path) : handle_(::dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw std::runtime_error(::dlerror());
  }

  [[nodiscard]] at::Tensor profile(const visit::ModelView& model, const at::Tensor& inputs,
                                   const at::Tensor& targets) const {
    at::Tensor profiles;
    find<void(const visit::ModelView*, const at::Tensor*, const at::Tensor*, at::Tensor*)>(
        "culprit_copy_profile")(&model, &inputs, &targets, &profiles);
    return profiles;
  }
  [[nodiscard]] const void* address() const { return find<const void*()>("culprit_copy_address")(); }

 private:
  template <class Function>
  [[nodiscard]] Function* find(const char* name) const {
    return reinterpret_cast<Function*>(::dlsym(handle_, name));
  }

  void* handle_;  // stays loaded: the dispatcher may hold a function of it
};

}  // namespace

TEST_CASE("Several copies of the library work in one process", "[engine]") {
  torch::manual_seed(seed());
  const Copy one(CULPRIT_COPY_ONE);
  const Copy two(CULPRIT_COPY_TWO);
  const auto own = reinterpret_cast<const void*>(&engine::detail::warn_fallback);
  REQUIRE(one.address() != two.address());
  REQUIRE(one.address() != own);
  REQUIRE(two.address() != own);

  const at::Tensor w = weight({4, 3, 3, 3});
  const at::Tensor v = weight({5, 4});
  const auto model = net({{"w", w}, {"v", v}}, [=](const at::Tensor& x) {
    return F::linear(F::conv2d(x, w).relu().mean({2, 3}), v);
  });
  const at::Tensor inputs = normal({4, 3, 6, 6});
  const at::Tensor targets = classes(4, 5);
  const visit::Plan plan = visit::make_plan(model, visit::AllWeights{}, Granularity::filter);
  const at::Tensor expected =
      engine::Loop{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets).profiles;
  const Warnings warnings;
  const at::Tensor first = one.profile(model, inputs, targets);
  CHECK(worst(*plan.units, first, expected) <= restored_tolerance);
  CHECK(at::equal(two.profile(model, inputs, targets), first));
  CHECK(at::equal(
      engine::Batched{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, inputs, targets).profiles, first));
  std::thread other([&] { CHECK(at::equal(two.profile(model, inputs, targets), first)); });
  other.join();
  CHECK(at::equal(one.profile(model, inputs, targets), first));
  CHECK(warnings.messages == std::vector<std::string>{});  // none of them fell back to Loop
}
