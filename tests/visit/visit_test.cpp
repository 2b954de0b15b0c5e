// SPDX-License-Identifier: MIT
#include "engine/nets.hpp"

using namespace culprit;
using namespace culprit::test;
using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;
using torch::nn::Conv2dOptions;

namespace {

Conv2d conv3x3(Index in, Index out, Index groups = 1) {
  return Conv2d(Conv2dOptions(in, out, 3).padding(1).groups(groups).bias(false));
}

/// One residual block, with a shortcut of its own and a head.
struct ResidualImpl : torch::nn::Module {
  ResidualImpl() {
    // Registered in another order than used: the order of units is that of registration.
    fc = register_module("fc", torch::nn::Linear(8, 5));
    conv2 = register_module("conv2", conv3x3(8, 8));
    bn2 = register_module("bn2", BatchNorm2d(8));
    conv1 = register_module("conv1", conv3x3(3, 8));
    bn1 = register_module("bn1", BatchNorm2d(8));
    shortcut =
        register_module("shortcut", torch::nn::Sequential(Conv2d(Conv2dOptions(3, 8, 1)), BatchNorm2d(8)));
    eval();
  }

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor y = bn2(conv2(bn1(conv1(x)).relu_()));
    return fc((y + shortcut->forward(x)).relu_().mean({2, 3}));
  }

  Conv2d conv1{nullptr}, conv2{nullptr};
  BatchNorm2d bn1{nullptr}, bn2{nullptr};
  torch::nn::Sequential shortcut{nullptr};
  torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(Residual);

std::vector<std::string> names(const visit::ModelView& view) {
  std::vector<std::string> all;
  for (const auto& parameter : view.parameters) all.push_back(parameter.name);
  return all;
}

/// What trace finds for the 4-D parameters of a model: "name uses batch_norm", one for each layer.
template <class M>
std::vector<std::string> flow(M&& model, const at::Tensor& sample) {
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::ConvFilters{}, Granularity::filter);
  std::vector<std::string> found;
  const Units units = *visit::trace(plan, sample).units;
  CHECK(units.difference(*plan.units).empty());
  for (const Layer& layer : units.layers()) {
    found.push_back(layer.name + " " + std::to_string(layer.uses) + " " + layer.batch_norm);
  }
  return found;
}

using Found = std::vector<std::string>;

}  // namespace

TEST_CASE("Every kind of model is seen with its own tensors, in named_parameters order", "[visit]") {
  torch::manual_seed(seed());
  Residual holder;
  const at::Tensor x = normal({2, 3, 6, 6}, at::kFloat);
  const at::Tensor expected = holder->forward(x);
  const std::vector<std::string> order{"fc.weight",       "fc.bias",           "conv2.weight",
                                       "bn2.weight",      "bn2.bias",          "conv1.weight",
                                       "bn1.weight",      "bn1.bias",          "shortcut.0.weight",
                                       "shortcut.0.bias", "shortcut.1.weight", "shortcut.1.bias"};
  const auto check = [&](const visit::ModelView& view) {
    CHECK(names(view) == order);
    CHECK(view.parameters[2].tensor.is_same(holder->conv2->weight));
    CHECK(view.buffers.size() == 9);
    CHECK(view.training.empty());
    CHECK(at::equal(view.forward(x), expected));
  };
  check(visit::view(holder));
  check(visit::view(*holder));
  const std::shared_ptr<ResidualImpl> shared = holder.ptr();
  check(visit::view(shared));
  check(visit::view(visit::view(holder)));
  static_assert(Model<Residual> && Model<ResidualImpl> && Model<std::shared_ptr<ResidualImpl>> &&
                Model<torch::jit::Module> && Model<visit::ModelView> && Model<torch::nn::Sequential>);
  static_assert(!Model<int> && !Model<torch::nn::Module> && !Model<at::Tensor>);
}

TEST_CASE("A script module is seen like any other model", "[visit]") {
  torch::manual_seed(seed());
  torch::jit::Module part("part");
  part.register_parameter("weight", normal({4, 3}), /*is_buffer=*/false);
  part.register_attribute("training", c10::BoolType::get(), true);
  torch::jit::Module module("whole");
  const at::Tensor w = normal({3, 2, 1, 1});
  module.register_parameter("w", w, /*is_buffer=*/false);
  module.register_parameter("again", w, /*is_buffer=*/false);
  module.register_buffer("table", normal({2}));
  module.register_attribute("training", c10::BoolType::get(), false);
  module.register_module("part", part);
  module.define("def forward(self, x):\n    return torch.conv2d(x, self.w).mean([2, 3])\n");
  const visit::ModelView view = visit::view(module);
  CHECK(names(view) == std::vector<std::string>{"w", "part.weight"});
  CHECK(view.parameters.front().tensor.is_same(w));
  CHECK(view.buffers.size() == 1);
  CHECK(view.training == std::vector<std::string>{"part"});
  const at::Tensor x = normal({2, 2, 3, 3});
  CHECK(at::equal(view.forward(x), at::conv2d(x, w).mean({2, 3})));
}

TEST_CASE("A parameter that several modules share is one layer, under its first name", "[visit]") {
  torch::nn::Sequential model;
  const Conv2d conv = conv3x3(4, 4);
  model->push_back("first", conv);
  model->push_back("relu", torch::nn::ReLU());
  model->push_back("second", conv);
  model->eval();
  CHECK(names(visit::view(model)) == std::vector<std::string>{"first.weight"});
  const visit::Plan plan = visit::make_plan(visit::view(model), visit::ConvFilters{}, Granularity::filter);
  CHECK(plan.units->size() == 4);
}

TEST_CASE("A model in training mode is refused, naming the module", "[visit]") {
  Residual model;
  const Profiler profiler;
  CHECK_NOTHROW(profiler.plan(model));
  model->train();
  CHECK(error_of([&] { (void)profiler.plan(model); }).place() == "model");
  model->eval();
  model->shortcut[1]->train();
  const Error error = error_of([&] { (void)profiler.plan(model); });
  CHECK(error.code() == ErrorCode::model);
  CHECK(error.place() == "module shortcut.1");
}

TEST_CASE("Which parameters hold units is up to the visitor, and how many to the granularity", "[visit]") {
  const Residual model;
  const auto units = [&](auto visitor, Granularity granularity) {
    return *visit::make_plan(visit::view(model), visitor, granularity).units;
  };
  const Units filters = units(visit::ConvFilters{}, Granularity::filter);
  REQUIRE(filters.layers().size() == 3);
  CHECK(filters.size() == 24);
  CHECK(filters.layers()[1].name == "conv1.weight");
  CHECK(filters.layers()[1].shape == std::vector<Index>{8, 3, 3, 3});
  CHECK(filters.layers()[1].size == 27);
  CHECK(filters.layers()[1].uses == -1);
  CHECK(units(visit::LinearNeurons{}, Granularity::filter).size() == 5);
  CHECK(units(visit::AllWeights{}, Granularity::filter).size() == 29);
  CHECK(units(visit::ConvFilters{}, Granularity::tensor).size() == 3);
  CHECK(units(visit::ConvFilters{}, Granularity::tensor).layers()[1].size == 8 * 27);
  CHECK(units(visit::ConvFilters{}, Granularity::parameter).size() == 8 * (72 + 27 + 3));
  CHECK(units(Everything{}, Granularity::filter).size() == 29 + 5 + 8 * 7);

  const auto vision = net({{"token", normal({1, 1, 6})},
                           {"places", normal({1, 10, 6})},
                           {"scale", normal({6, 1, 1})},
                           {"words", normal({4, 3, 2})},
                           {"letters", normal({4, 1, 2})},
                           {"volumes", normal({1, 2, 3, 3, 3})},
                           {"single", normal({1, 6})}},
                          [](const at::Tensor& x) { return x; });
  const visit::Plan weights = visit::make_plan(vision, visit::AllWeights{}, Granularity::filter);
  std::vector<std::string> holders;
  for (const Layer& layer : weights.units->layers()) holders.push_back(layer.name);
  CHECK(holders == std::vector<std::string>{"words", "letters", "volumes", "single"});

  const auto attention = net({{"in_proj", normal({18, 6})}, {"out_proj", normal({6, 6})}},
                             [](const at::Tensor& x) { return x; });
  const visit::Plan heads =
      visit::make_plan(attention, visit::AttentionHeads{.heads = 2}, Granularity::filter);
  REQUIRE(heads.units->size() == 6);
  CHECK(heads.units->layers().front().size == 18);
  CHECK(visit::weights_of(heads, heads.units->unit(4)).equal(heads.parameters.front().narrow(0, 12, 3)));
  for (const Index none : {0, -2, 4}) {
    INFO(none << " heads");
    CHECK(error_of([&] {
            (void)visit::make_plan(attention, visit::AttentionHeads{.heads = none}, Granularity::filter);
          }).code() == ErrorCode::model);
  }
  const auto uneven = [](at::IntArrayRef /*shape*/) -> Index { return 4; };
  CHECK(
      std::string(error_of([&] { (void)visit::make_plan(attention, uneven, Granularity::filter); }).what()) ==
      "visitor, for in_proj: expected a number of units that divides its 18 slices, came 4");

  torch::nn::Sequential linear(torch::nn::Linear(3, 2));
  linear->eval();
  const Error error = error_of([&] { (void)Profiler{}.plan(linear); });
  CHECK(error.code() == ErrorCode::model);
  CHECK(std::string(error.what()).find("4-D") != std::string::npos);
  CHECK(std::string(error.what()).find("2 parameters") != std::string::npos);
  // Without elements, or without gradients, a parameter holds no units.
  const auto odd = net({{"empty", normal({0, 3, 1, 1})},
                        {"index", at::zeros({2, 3, 1, 1}, at::kLong)},
                        {"w", normal({2, 3, 1, 1})}},
                       [](const at::Tensor& x) { return x; });
  CHECK(visit::make_plan(odd, visit::ConvFilters{}, Granularity::filter).units->layers().front().name == "w");
  CHECK(visit::make_plan(odd, visit::ConvFilters{}, Granularity::filter).units->size() == 2);
}

TEST_CASE("The batch norm that reads a layer's output directly is found from the data flow", "[visit]") {
  torch::manual_seed(seed());
  const at::Tensor x = normal({1, 3, 6, 6}, at::kFloat);
  CHECK(flow(Residual(), x) ==
        Found{"conv2.weight 1 bn2", "conv1.weight 1 bn1", "shortcut.0.weight 1 shortcut.1"});

  torch::nn::Sequential vgg(conv3x3(3, 4), BatchNorm2d(4), torch::nn::ReLU(torch::nn::ReLUOptions(true)),
                            conv3x3(4, 4), torch::nn::ReLU(torch::nn::ReLUOptions(true)),
                            torch::nn::MaxPool2d(2));
  vgg->eval();
  CHECK(flow(vgg, x) == Found{"0.weight 1 1", "3.weight 1 "});

  torch::nn::Sequential depthwise(conv3x3(3, 3, 3), BatchNorm2d(3), torch::nn::ReLU(),
                                  Conv2d(Conv2dOptions(3, 8, 1)), BatchNorm2d(8));
  depthwise->eval();
  CHECK(flow(depthwise, x) == Found{"0.weight 1 1", "3.weight 1 4"});

  // In front of the next convolution, as in DenseNet: no batch norm reads an output alone.
  torch::nn::Sequential before(BatchNorm2d(3), torch::nn::ReLU(), conv3x3(3, 4), torch::nn::ReLU(),
                               BatchNorm2d(4), conv3x3(4, 4));
  before->eval();
  CHECK(flow(before, x) == Found{"2.weight 1 ", "5.weight 1 "});

  torch::nn::Sequential in_place(conv3x3(3, 4), torch::nn::ReLU(torch::nn::ReLUOptions(true)),
                                 BatchNorm2d(4));
  in_place->eval();
  CHECK(flow(in_place, x) == Found{"0.weight 1 "});

  torch::nn::Sequential plain(conv3x3(3, 4), BatchNorm2d(torch::nn::BatchNormOptions(4).affine(false)));
  plain->eval();
  CHECK(flow(plain, x) == Found{"0.weight 1 1"});
}

TEST_CASE("A batch norm is named only where it alone decides a layer's feature maps", "[visit]") {
  torch::manual_seed(seed());
  const at::Tensor x = normal({1, 3, 6, 6}, at::kFloat);
  const at::Tensor w = normal({4, 3, 3, 3}, at::kFloat);
  const at::Tensor v = normal({3, 3, 3, 3}, at::kFloat);
  const at::Tensor t = normal({3, 4, 3, 3}, at::kFloat);
  const auto norm = [](const at::Tensor& y, const at::Tensor& scale) {
    return at::batch_norm(y, scale, at::zeros_like(scale), at::zeros_like(scale), at::ones_like(scale), false,
                          0.1, 1e-5, false);
  };
  const at::Tensor a = normal({4}, at::kFloat);
  const at::Tensor b = normal({4}, at::kFloat);
  const at::Tensor c = normal({3}, at::kFloat);
  const std::vector<visit::NamedTensor> parameters{{"w", w},        {"v", v},        {"t", t},
                                                   {"a.weight", a}, {"b.weight", b}, {"c.weight", c}};
  const auto trace = [&](Forward forward) { return flow(net(parameters, std::move(forward)), x); };

  // Two readers besides each other, of which one is a batch norm: it is named, the other reader sees the
  // filter's 0.
  CHECK(trace([=](const at::Tensor& z) {
          const at::Tensor y = at::conv2d(z, w);
          return norm(y, a) + y;
        }) == Found{"w 1 a", "v 0 ", "t 0 "});
  CHECK(trace([=](const at::Tensor& z) {
          const at::Tensor y = at::conv2d(z, w);
          return norm(y, a) + norm(y, b);
        }) == Found{"w 1 ", "v 0 ", "t 0 "});
  CHECK(trace([=](const at::Tensor& z) { return norm(at::conv2d(z, v) + at::conv2d(z, v), c); }) ==
        Found{"w 0 ", "v 2 ", "t 0 "});
  CHECK(trace([=](const at::Tensor& z) { return norm(at::conv2d(norm(at::conv2d(z, v), c), v), c); }) ==
        Found{"w 0 ", "v 2 ", "t 0 "});
  // A unit of a transposed convolution is an input channel: no channel of a batch norm belongs to it.
  CHECK(trace([=](const at::Tensor& z) { return norm(at::conv_transpose2d(z, t), a); }) ==
        Found{"w 0 ", "v 0 ", "t 1 "});
  // An operator without a rule is a use as well.
  CHECK(trace([=](const at::Tensor& z) { return norm(at::conv2d(z, w * 2.0), a); }) ==
        Found{"w 1 ", "v 0 ", "t 0 "});
}

TEST_CASE("Units are masks of the parameters that hold them", "[visit]") {
  Residual model;
  const std::vector<Index> none;
  const auto masked = [&](const auto& visitor, Granularity granularity, const std::vector<Index>& units) {
    const visit::Plan plan = visit::make_plan(visit::view(model), visitor, granularity);
    const std::vector<visit::NamedTensor> masks = visit::filter_masks(plan, units);
    REQUIRE(masks.size() == plan.parameters.size());
    for (std::size_t i = 0; i < masks.size(); ++i) {
      CHECK(masks[i].name == plan.units->layers()[i].name);
      CHECK(masks[i].tensor.scalar_type() == at::kBool);
      CHECK(masks[i].tensor.sizes() == plan.parameters[i].sizes());
    }
    // What the masks leave is what is left of the weights of these units.
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> expected;
    for (const at::Tensor& parameter : plan.parameters) expected.push_back(at::zeros_like(parameter));
    visit::Plan marked = plan;
    marked.parameters = expected;
    for (const Index unit : units) visit::weights_of(marked, plan.units->unit(unit)).fill_(1.0);
    Index weights = 0;
    for (std::size_t i = 0; i < masks.size(); ++i) {
      CHECK(masks[i].tensor.equal(expected[i].to(at::kBool)));
      weights += masks[i].tensor.sum().template item<Index>();
    }
    return weights;
  };
  const Index filter = 8 * 9;  // weights of a filter of conv2, the first layer with filters
  CHECK(masked(visit::ConvFilters{}, Granularity::filter, none) == 0);
  CHECK(masked(visit::ConvFilters{}, Granularity::filter, {0, 7, 7}) == 2 * filter);
  CHECK(masked(visit::ConvFilters{}, Granularity::filter, {3, 8}) == filter + 27);
  CHECK(masked(visit::ConvFilters{}, Granularity::tensor, {0}) == 8 * filter);
  CHECK(masked(visit::ConvFilters{}, Granularity::parameter, {0, 100, 575}) == 3);
  const auto pairs = [](at::IntArrayRef shape) -> Index { return shape.size() == 4 ? shape[0] / 2 : 0; };
  CHECK(masked(pairs, Granularity::filter, {1, 4}) == 2 * filter + 2 * 27);

  const visit::Plan plan = visit::make_plan(visit::view(model), visit::ConvFilters{}, Granularity::filter);
  CHECK(visit::filter_masks(plan, std::vector<Index>{2})[0].tensor[2].all().item<bool>());
  CHECK(error_of([&] { (void)visit::filter_masks(plan, std::vector<Index>{24}); }).code() ==
        ErrorCode::argument);
}

TEST_CASE("The mask of an attention's head is its rows", "[visit]") {
  torch::nn::MultiheadAttention attention(torch::nn::MultiheadAttentionOptions(6, 2));
  attention->eval();
  const visit::ModelView view{
      {{"in_proj_weight", attention->in_proj_weight}}, {}, {}, [](const at::Tensor& x) { return x; }};
  const visit::Plan plan = visit::make_plan(view, visit::AttentionHeads{.heads = 2}, Granularity::filter);
  const at::Tensor mask = visit::filter_masks(plan, std::vector<Index>{3}).front().tensor;  // keys of head 1
  CHECK(mask.sizes() == at::IntArrayRef{18, 6});
  CHECK(mask.narrow(0, 9, 3).all().item<bool>());
  CHECK(mask.sum().item<Index>() == 18);
}
