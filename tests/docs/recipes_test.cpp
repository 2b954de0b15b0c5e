// SPDX-License-Identifier: MIT
// The recipes of docs/recipes.md, which tests/docs/snippets.py cuts from here, each run on a small model.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

#include <torch/script.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace cu = culprit;
using namespace culprit::test;

namespace research {

// [view_of]
/// A model that takes a picture and how warm it was, and answers with two heads.
struct TwoHeads {
  at::Tensor filters, shape_head, colour_head;
  double temperature = 1.0;

  std::pair<at::Tensor, at::Tensor> run(const at::Tensor& picture, double warmth) const {
    const at::Tensor features = at::conv2d(picture, filters).relu().mean({2, 3});
    return {at::linear(features, shape_head) / warmth, at::linear(features, colour_head)};
  }
};
// [/view_of]

}  // namespace research

// [view_of]
template <>
struct culprit::visit::ViewOf<research::TwoHeads> {
  static ModelView make(research::TwoHeads& model) {
    return {.parameters = {{"filters", model.filters},
                           {"shape_head", model.shape_head},
                           {"colour_head", model.colour_head}},
            .buffers = {},
            .training = {},
            .forward = [&model](const at::Tensor& x) { return model.run(x, model.temperature).first; }};
  }
};
// [/view_of]

namespace {

// [module]
struct SmallNetImpl : torch::nn::Module {
  torch::nn::Conv2d first = register_module("first", torch::nn::Conv2d(3, 6, 3));
  torch::nn::Conv2d second = register_module("second", torch::nn::Conv2d(6, 8, 3));
  torch::nn::Linear head = register_module("head", torch::nn::Linear(8, 5));

  at::Tensor forward(const at::Tensor& x) {
    return head(second(first(x).relu()).relu().mean({2, 3}));  // [B, 3, H, W] -> [B, 5]
  }
};
TORCH_MODULE(SmallNet);
// [/module]

// [focal]
/// -(1 - p_y)^gamma log p_y: easy samples count less.
struct Focal {
  static constexpr std::string_view name = "focal";
  double gamma = 2.0;

  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {  // [B, C], [B] -> [B]
    const at::Tensor log_p = at::log_softmax(outputs, 1).gather(1, targets.unsqueeze(1)).squeeze(1);
    return -(1.0 - log_p.exp()).pow(gamma) * log_p;
  }
  std::string description() const { return "focal of gamma " + std::to_string(gamma); }
};
static_assert(cu::Loss<Focal>);
// [/focal]

// [detection]
/// A one-stage detector's: for each cell whether there is an object, and where there is one its box.
/// outputs and targets [B, 5, H, W]: channel 0 the object (a logit; 0, 1, or -1 for a cell that does not
/// count), the others the box.
struct Detection {
  static constexpr std::string_view name = "detection";
  double box_weight = 5.0;

  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {  // -> [B]
    const at::Tensor object = targets.select(1, 0);
    const at::Tensor found = at::binary_cross_entropy_with_logits(outputs.select(1, 0), object.clamp_min(0.0),
                                                                  {}, {}, at::Reduction::None);
    const at::Tensor box = at::smooth_l1_loss(outputs.slice(1, 1), targets.slice(1, 1), at::Reduction::None);
    return ((found + box_weight * object * box.sum(1)) * object.ge(0.0)).sum({1, 2});
  }
  std::string description() const { return "detection, boxes times " + std::to_string(box_weight); }
};
static_assert(cu::Loss<Detection>);
// [/detection]

// [squared]
/// The squared distance of outputs [B, K] to targets [B, K] of the outputs' dtype.
struct SquaredError {
  static constexpr std::string_view name = "squared_error";

  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return (outputs - targets).square().sum(1);
  }
};
static_assert(cu::Loss<SquaredError>);
// [/squared]

// [surprise]
/// -log of the largest share of all samples that can be this salient or more (Cantelli's inequality), from
/// the unit's mean and deviation alone; 0 up to the mean.
struct Surprise {
  static constexpr std::string_view name = "surprise";

  double operator()(double s, const cu::UnitStatistics& unit) const {
    const double above = unit.stddev <= cu::dead_stddev ? 0.0 : (s - unit.mean) / unit.stddev;
    return above <= 0.0 ? 0.0 : std::log1p(above * above);
  }
};
static_assert(cu::Standardization<Surprise>);
// [/surprise]

SmallNet small_net() {
  torch::manual_seed(seed());
  SmallNet model;
  model->to(at::kDouble);
  model->eval();
  return model;
}

using Loader = std::vector<std::pair<at::Tensor, at::Tensor>>;

/// Four batches of pictures [8, 3, 9, 9] with labels of five classes.
Loader pictures() {
  Loader loader;
  for (int i = 0; i < 4; ++i) {
    loader.emplace_back(at::randn({8, 3, 9, 9}, at::kDouble), at::randint(5, {8}, at::kLong));
  }
  return loader;
}

/// Whether a profile is the gradients' that autograd finds of that loss: Eq. 1 of the parameter's first unit.
void check_first_unit(const cu::Profile& raw, const at::Tensor& loss, const at::Tensor& weight) {
  const at::Tensor gradient = torch::autograd::grad({loss}, {weight})[0];
  CHECK(raw[0] == Approx(gradient[0].abs().mean().item<double>()));
}

}  // namespace

TEST_CASE("Recipe: a model of your own", "[recipes]") {
  const auto load = [] { return small_net(); };
  const Loader loader = pictures();
  const at::Tensor image = loader[0].first[0];
  const cu::Index label = 1;
  // [own_module]
  SmallNet model = load();  // your weights
  model->eval();
  const cu::Profiler profiler;
  const cu::Baseline baseline = profiler.fit(model, loader);  // pairs of inputs [B, ...] and labels [B]
  const cu::Profile profile = profiler(model, {image, label}, baseline);
  // [/own_module]
  CHECK(profile.size() == 14);
  const at::Tensor log_p = at::log_softmax(model->forward(image.unsqueeze(0)), 1);
  check_first_unit(profiler(model, {image, label}), -log_p[0][label], model->first->weight);
  model->train();
  CHECK(error_of([&] { (void)profiler(model, {image, label}); }).code() == cu::ErrorCode::model);
}

TEST_CASE("Recipe: a TorchScript file", "[recipes]") {
  const TemporaryFolder folder;
  const auto file = (folder / "model.pt").string();
  SmallNet original = small_net();
  torch::jit::Module script("small");
  script.register_parameter("filters", original->first->weight.detach().clone(), /*is_buffer=*/false);
  script.define("def forward(self, x):\n  return torch.conv2d(x, self.filters).relu().mean([2, 3])\n");
  script.save(file);
  const Loader loader = pictures();
  const at::Tensor image = loader[0].first[0];
  // [script]
  torch::jit::Module model = torch::jit::load(file);  // what examples/export.py wrote
  model.eval();
  const cu::Profiler profiler;
  const auto baseline = profiler.fit(model, loader);
  for (const auto& [layer, channel, z, unit] : profiler(model, {image, 1}, baseline).top(3))
    std::cout << layer << ':' << channel << "  z = " << z << '\n';
  // [/script]
  CHECK(baseline.units().layers()[0].name == "filters");
  CHECK(baseline.count() == 32);
}

TEST_CASE("Recipe: a transformer", "[recipes]") {
  torch::manual_seed(seed());
  torch::jit::Module model("transformer");
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    const at::Tensor values = at::randn(shape, at::kDouble) / 2.0;
    model.register_parameter(name, values.detach().requires_grad_(), /*is_buffer=*/false);
  };
  add("patches", {6, 3, 3, 3});
  add("places", {1, 9, 6});
  add("in_proj_weight", {18, 6});
  add("head", {5, 6});
  model.define(
      "def forward(self, x):\n"
      "  x = torch.conv2d(x, self.patches, None, [3, 3]).flatten(2).transpose(1, 2) + self.places\n"
      "  q, k, v = torch.chunk(torch.linear(x, self.in_proj_weight), 3, -1)\n"
      "  x = torch.matmul(torch.softmax(torch.matmul(q, k.transpose(1, 2)), -1), v)\n"
      "  return torch.linear(x.mean([1]), self.head)\n");
  const Loader loader = pictures();
  const at::Tensor image = loader[0].first[0];
  // [transformer]
  const cu::Profiler weights{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::AllWeights{}};
  const cu::Profiler heads{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{},
                           cu::visit::AttentionHeads{.heads = 2}};
  const auto to_blame = heads(model, {image, 1}, heads.fit(model, loader)).top(3);
  // [/transformer]
  CHECK(to_blame.size() == 3);
  CHECK(heads.plan(model).units->size() == 6);
  const cu::Units units = *weights.plan(model).units;
  CHECK(units.size() == 6 + 18 + 5);
  CHECK(units.find("places") == nullptr);
  const at::Tensor log_p = at::log_softmax(model.forward({image.unsqueeze(0)}).toTensor(), 1);
  check_first_unit(weights(model, {image, 1}), -log_p[0][1], model.attr("patches").toTensor());
}

TEST_CASE("Recipe: a type of model of your own", "[recipes]") {
  torch::manual_seed(seed());
  const auto weight = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble) / 3.0; };
  const Loader loader = pictures();
  const at::Tensor image = loader[0].first[0];
  const at::Tensor filters = weight({4, 3, 3, 3});
  // [own_type]
  research::TwoHeads model{filters, weight({5, 4}), weight({2, 4})};
  const cu::Profiler profiler;
  const auto profile = profiler(model, {image, 1}, profiler.fit(model, loader));
  // [/own_type]
  CHECK(profile.size() == 4);
  filters.set_requires_grad(true);
  const at::Tensor log_p = at::log_softmax(model.run(image.unsqueeze(0), 1.0).first, 1);
  check_first_unit(profiler(model, {image, 1}), -log_p[0][1], filters);
}

TEST_CASE("Recipe: a loss of your own", "[recipes]") {
  SmallNet model = small_net();
  const Loader loader = pictures();
  const at::Tensor image = loader[0].first[0];
  // [own_loss]
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              cu::engine::Batched{}, Focal{.gamma = 1.0}};
  const auto baseline = profiler.fit(model, loader);
  const auto profile = profiler(model, {image, 1}, baseline);
  const auto why = cu::InputSaliency{profiler}(model, {image, 1}, baseline);  // pixels, by the same loss
  // [/own_loss]
  const at::Tensor log_p = at::log_softmax(model->forward(image.unsqueeze(0)), 1)[0][1];
  check_first_unit(profiler(model, {image, 1}), -(1.0 - log_p.exp()) * log_p, model->first->weight);
  CHECK(why.gradient.sizes() == image.sizes());
  CHECK(why.gradient.abs().max().item<double>() > 0.0);
  // Neither another loss nor another gamma takes this baseline.
  CHECK(error_of([&] {
          (void)cu::Profiler{}(model, {image, 1}, baseline);
        }).code() == cu::ErrorCode::baseline);
  CHECK(baseline.fingerprint().loss == "focal of gamma 1.000000");
}

TEST_CASE("Recipe: a detector's loss", "[recipes]") {
  torch::manual_seed(seed());
  torch::nn::Sequential model(torch::nn::Conv2d(3, 6, 3), torch::nn::ReLU(), torch::nn::Conv2d(6, 5, 3));
  model->to(at::kDouble);
  model->eval();
  const auto scene = [] {
    const at::Tensor objects = at::randint(2, {8, 1, 5, 5}, at::kDouble);
    return std::pair{at::randn({8, 3, 9, 9}, at::kDouble),
                     at::cat({objects, at::rand({8, 4, 5, 5}, at::kDouble)}, 1)};
  };
  const Loader loader{scene(), scene()};
  const auto& [inputs, targets] = loader[0];
  // [detector]
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              cu::engine::Batched{}, Detection{}};
  const auto baseline = profiler.fit(model, loader);  // inputs [B, 3, H, W], targets [B, 5, h, w]
  const auto plan = profiler.plan(model);
  const auto part = profiler.part(baseline, plan);                  // refuses one of other weights
  const auto raw = profiler.batch(plan, inputs, targets).profiles;  // [B, units]
  const auto profiles = profiler.standardize(raw, part);
  const auto culprits =
      profiles[0].top(3);  // of everything that was missed or misplaced in the first picture
  // [/detector]
  CHECK(culprits.size() == 3);
  at::Tensor weight = model->ptr(0)->parameters()[0];
  const at::Tensor outputs = model->forward(inputs.slice(0, 0, 1));
  check_first_unit(cu::Profile(plan.units, cu::row_of(cu::to_matrix(raw), 0)),
                   Detection{}(outputs, targets.slice(0, 0, 1)).sum(), weight);
  // [one_box]
  at::Tensor only = at::full_like(targets.slice(0, 0, 1), -1.0);  // no cell of the first picture counts,
  only.slice(2, 2, 3).slice(3, 3, 4).copy_(targets.slice(0, 0, 1).slice(2, 2, 3).slice(3, 3, 4));  // but one
  const auto of_one_cell = profiler.batch(plan, inputs.slice(0, 0, 1), only).profiles;  // [1, units]
  // [/one_box]
  const auto cell = [](const at::Tensor& all) { return all.slice(0, 0, 1).slice(2, 2, 3).slice(3, 3, 4); };
  check_first_unit(cu::Profile(plan.units, cu::row_of(cu::to_matrix(of_one_cell), 0)),
                   Detection{}(cell(model->forward(inputs)), cell(targets)).sum(), weight);
}

TEST_CASE("Recipe: regression", "[recipes]") {
  SmallNet model = small_net();
  Loader loader = pictures();
  for (auto& [inputs, targets] : loader) targets = at::randn({8, 5}, at::kDouble);
  const auto& [inputs, targets] = loader[1];
  // [regression]
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, cu::visit::ConvFilters{},
                              cu::engine::Batched{}, SquaredError{}};
  const auto baseline = profiler.fit(model, loader);
  const auto plan = profiler.plan(model);
  const auto part = profiler.part(baseline, plan);                            // refuses one of other weights
  const auto [raw, outputs, losses] = profiler.batch(plan, inputs, targets);  // losses: the errors, [B]
  const auto worst = losses.argmax().item<cu::Index>();
  const auto culprits = profiler.standardize(raw.slice(0, worst, worst + 1), part)[0].top(3);
  const cu::InputSaliency saliency{profiler};
  const auto why = saliency.batch(plan, inputs, targets, part);  // for each sample
  // [/regression]
  CHECK(culprits.size() == 3);
  CHECK(why.size() == 8);
  const at::Tensor error = (model->forward(inputs) - targets).square().sum(1);
  CHECK(at::allclose(losses, error, 1e-12, 0.0));
  check_first_unit(cu::Profile(plan.units, cu::row_of(cu::to_matrix(raw), worst)), error[worst],
                   model->first->weight);
}

TEST_CASE("Recipe: a policy of your own", "[recipes]") {
  SmallNet model = small_net();
  const Loader loader = pictures();
  const at::Tensor image = loader[0].first[0];
  // [own_policy]
  const cu::Profiler profiler{cu::aggregate::MaxAbs{}, Surprise{}};
  const auto baseline = profiler.fit(model, loader);
  const auto surprising = profiler(model, {image, 1}, baseline);
  const auto standing_out = surprising.select(cu::select::Top{.count = 5});  // any selection works on it
  // [/own_policy]
  CHECK(standing_out.size() == 5);
  const auto z = cu::Profiler{cu::aggregate::MaxAbs{}}(model, {image, 1}, baseline);
  for (cu::Index k = 0; k < z.size(); ++k)
    CHECK(surprising[k] == Approx(z[k] > 0.0 ? std::log(1.0 + z[k] * z[k]) : 0.0).margin(1e-12));
}

TEST_CASE("Recipe: a cluster", "[recipes]") {
  SmallNet model = small_net();
  const Loader loader = pictures();
  const std::vector<Loader> shards{{loader[0], loader[1]}, {loader[2], loader[3]}};
  const TemporaryFolder folder;
  const std::vector<std::filesystem::path> files{folder / "part0.safetensors", folder / "part1.safetensors"};
  const cu::Profiler profiler;
  for (std::size_t shard = 0; shard < 2; ++shard) {
    // [shard]
    cu::io::save_baseline(files[shard], profiler.fit(model, shards[shard]));  // one of many jobs, anywhere
    // [/shard]
  }
  // [merge]
  cu::Baseline baseline = cu::io::load_baseline(files[0]);
  for (std::size_t i = 1; i < files.size(); ++i)
    baseline.merge(cu::io::load_baseline(files[i]));  // Error (baseline) for one of another model or method
  // [/merge]
  const cu::Baseline whole = profiler.fit(model, loader);
  CHECK(baseline.count() == 32);
  CHECK((baseline.mean() - whole.mean()).cwiseAbs().maxCoeff() <= 1e-14);
  CHECK((baseline.stddev() - whole.stddev()).cwiseAbs().maxCoeff() <= 1e-14);
}
