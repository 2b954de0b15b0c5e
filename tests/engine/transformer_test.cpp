// SPDX-License-Identifier: MIT
// Models whose samples are not the first dimension of every layer's input, as those with attention.
#include "engine/nets.hpp"

using namespace culprit;
using namespace culprit::test;

namespace {

/// A sequence of 7 places with 6 features of each sample, linear layers on an arrangement of it, and 3
/// classes.
visit::ModelView on_arrangement(const Forward& arrange, const Forward& back) {
  const at::Tensor first = weight({8, 6}), second = weight({4, 8}), last = weight({3, 4});
  return net({{"first", first}, {"second", second}, {"last", last}}, [=](const at::Tensor& x) {
    const at::Tensor rows = at::linear(at::linear(arrange(x), first, normal({8}) * 0.0).tanh(), second);
    return at::linear(back(rows).mean(1), last);
  });
}

/// An aggregation whose number for no gradient is not 0.
struct OneMore : aggregate::MeanAbs {
  static constexpr std::string_view name = "one_more";
  template <class T>
  static constexpr T finish(T sum, Index size) {
    return 1 + MeanAbs::finish(sum, size);
  }
};

/// Batched against Loop, profiles and vector-Jacobian products, without the fallback.
template <class Model>
void check(Model&& model, const at::Tensor& inputs, Index class_count) {
  const at::Tensor targets = classes(inputs.size(0), class_count);
  Warnings warnings;
  for (const Index batch : {inputs.size(0), Index{2}, Index{1}}) {
    INFO("batch " << batch);
    const at::Tensor x = inputs.narrow(0, 0, batch), y = targets.narrow(0, 0, batch);
    CHECK(batched_against_loop(model, x, y, visit::AllWeights{}) <= 1e-10);
    if (x.is_floating_point()) CHECK(vjp_batched_against_loop(model, x, y, visit::AllWeights{}) <= 1e-10);
  }
  CHECK(warnings.messages == std::vector<std::string>{});
}

struct TransformerImpl : torch::nn::Module {
  TransformerImpl() {
    torch::nn::TransformerEncoderLayer layer(
        torch::nn::TransformerEncoderLayerOptions(8, 2).dim_feedforward(12));
    encoder = register_module("encoder", torch::nn::TransformerEncoder(layer, 2));
    head = register_module("head", torch::nn::Linear(8, 4));
  }
  at::Tensor of_features(const at::Tensor& x) {  // the encoder takes [places, samples, features]
    return head(encoder(x.transpose(0, 1)).select(0, 0));
  }
  torch::nn::TransformerEncoder encoder{nullptr};
  torch::nn::Linear head{nullptr};
};

struct VisionTransformerImpl : TransformerImpl {
  VisionTransformerImpl() {
    patches = register_module("patches", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 8, 4).stride(4)));
    token = register_parameter("token", at::randn({1, 1, 8}));
    places = register_parameter("places", at::randn({1, 10, 8}));
  }
  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor all =
        at::cat({token.expand({x.size(0), 1, 8}), patches(x).flatten(2).transpose(1, 2)}, 1);
    return of_features(all + places);
  }
  torch::nn::Conv2d patches{nullptr};
  at::Tensor token, places;
};
TORCH_MODULE(VisionTransformer);

struct TextTransformerImpl : TransformerImpl {
  explicit TextTransformerImpl(bool places_first) : places_first_(places_first) {
    words = register_module("words", torch::nn::Embedding(torch::nn::EmbeddingOptions(11, 8).padding_idx(0)));
  }
  at::Tensor forward(const at::Tensor& x) {
    return of_features(places_first_ ? words(x.t()).transpose(0, 1) : words(x));
  }
  torch::nn::Embedding words{nullptr};

 private:
  bool places_first_;
};
TORCH_MODULE(TextTransformer);

}  // namespace

TEST_CASE("A sample's places are found along any dimension, one after the other or by turns", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor x = normal({5, 7, 6});
  const auto same = [](const at::Tensor& t) { return t; };
  const auto swap = [](const at::Tensor& t) { return t.transpose(0, 1); };
  check(on_arrangement(same, same), x, 3);
  check(on_arrangement(swap, swap), x, 3);
  check(on_arrangement([](const at::Tensor& t) { return t.flatten(0, 1); },
                       [](const at::Tensor& t) {
                         return t.unflatten(0, {-1, 7});
                       }),
        x, 3);
  check(on_arrangement([](const at::Tensor& t) { return t.transpose(0, 1).flatten(0, 1); },
                       [](const at::Tensor& t) {
                         return t.unflatten(0, {7, -1}).transpose(0, 1);
                       }),
        x, 3);
  check(on_arrangement(
            [](const at::Tensor& t) {
              return t.view({-1, 7, 2, 3}).permute({2, 1, 0, 3}).repeat({1, 1, 1, 2});
            },
            [](const at::Tensor& t) { return t.sum(0).transpose(0, 1); }),
        x, 3);
}

TEST_CASE("Samples that cannot be told from their places go through Loop", "[engine]") {
  torch::manual_seed(seed());
  const auto swap = [](const at::Tensor& t) { return t.transpose(0, 1); };
  const auto merged = [](const at::Tensor& t) { return t.transpose(0, 1).flatten(0, 1); };
  const auto split = [](const at::Tensor& t) { return t.unflatten(0, {7, -1}).transpose(0, 1); };
  const at::Tensor alike = normal({5, 1, 6}).expand({5, 7, 6});  // all places of a sample are the same
  CHECK(batched_against_loop(on_arrangement(merged, split), alike, classes(5, 3)) == 0.0);  // Loop's own bits
  CHECK(batched_against_loop(on_arrangement(swap, swap), alike, classes(5, 3)) <= 1e-10);   // by its extents
}

TEST_CASE("An axis of samples brings them to the front, and back", "[engine]") {
  const at::Tensor x = at::arange(2 * 12 * 3).view({2, 12, 3});
  const visit::SampleAxis in_turn{1, 4, false}, by_turns{1, 4, true};
  CHECK(in_turn.samples_first(x).sizes() == at::IntArrayRef{3, 2, 4, 3});
  CHECK(in_turn.samples_first(x)[1][0][2].equal(x[0][6]));
  CHECK(by_turns.samples_first(x)[1][0][2].equal(x[0][7]));
  for (const visit::SampleAxis& axis :
       {in_turn, by_turns, visit::SampleAxis{}, visit::SampleAxis{2, 1, false}}) {
    CHECK(axis.as_it_was(axis.samples_first(x)).equal(x));
    CHECK(axis.samples_first(x).is_alias_of(x));
  }
}

TEST_CASE("Transformers of pictures and of text are computed batched", "[engine]") {
  torch::manual_seed(seed());
  VisionTransformer vision;
  vision->to(at::kDouble);
  vision->eval();
  check(vision, normal({5, 3, 12, 12}), 4);
  for (const bool places_first : {false, true}) {
    TextTransformer text(places_first);
    text->to(at::kDouble);
    text->eval();
    const at::Tensor words = at::randint(11, {5, 9}, at::kLong);
    words.select(1, 0).fill_(0);  // padding, whose row has no gradient
    check(text, words, 4);
    CHECK(batched_against_loop(text, words, classes(5, 4), visit::AllWeights{}, OneMore{}) <= 1e-10);
    const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}};
    const visit::Plan plan = profiler.plan(text);
    const at::Tensor all = profiler.batch(plan, words, classes(5, 4)).profiles;
    for (const Layer& layer : plan.units->layers()) {
      if (layer.name == "words.weight") CHECK(all.narrow(1, layer.first, 1).eq(0.0).all().item<bool>());
    }
  }
}

TEST_CASE("Pruning and steps of many samples at once are right where samples are not first",
          "[engine][intervene]") {
  torch::manual_seed(seed());
  VisionTransformer model;
  model->to(at::kDouble);
  model->eval();
  const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}};
  const at::Tensor x = normal({3, 3, 12, 12});
  const visit::Plan plan = visit::trace(profiler.plan(model), x);
  const std::vector<std::vector<Index>> units{{0, 30}, {9}, {40, 70}};
  const at::Tensor together = intervene::outputs_pruned_each(plan, x, units);
  const std::vector<intervene::Trial> trials{{0, {3, 33}, {0, 1}}, {2, {50}, {2}}};
  const auto stepped =
      intervene::outputs_fine_tuned_each(plan, intervene::FineTune{}, x, at::tensor({0, 1, 2}), trials);
  for (Index i = 0; i < 3; ++i) {
    const intervene::Scope scope(intervene::Prune{}, plan, {x[i], 0, units[static_cast<std::size_t>(i)]});
    CHECK(at::allclose(together[i], scope.outputs(), 1e-10, 1e-12));
  }
  const intervene::Scope scope(intervene::FineTune{}, plan, {x[2], 2, {50}});
  CHECK(at::allclose(stepped[1][0], scope.outputs(), 1e-10, 1e-12));
}

TEST_CASE("A constant that is as long as a batch is not taken for one", "[engine]") {
  torch::manual_seed(seed());
  const at::Tensor queries = normal({2, 6}), flat = weight({8, 6}), deep = weight({8, 6}),
                   last = weight({3, 8});
  const auto model = net({{"flat", flat}, {"deep", deep}, {"last", last}}, [=](const at::Tensor& x) {
    const at::Tensor asked = at::linear(queries, flat).sum(0);                         // [2, 8], of no sample
    const at::Tensor pair = at::linear(queries.unsqueeze(1).expand({2, 3, 6}), deep);  // [2, 3, 8]
    return at::linear((at::linear(x, flat) * asked + pair.sum(0).sum(0)).tanh(), last);
  });
  const at::Tensor x = normal({8, 6}), y = classes(8, 3);
  const Warnings warnings;
  CHECK(batched_against_loop(model, x, y, visit::AllWeights{}, aggregate::MeanAbs{}, loss::CrossEntropy{},
                             engine::Batched{.chunk = 2}) <= 1e-10);
  const Profiler profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::AllWeights{}};
  const visit::Plan plan = profiler.plan(model);
  static_cast<void>(profiler.batch(plan, x, y));  // and not after another batch either
  const at::Tensor pair = profiler.batch(plan, x.narrow(0, 0, 2), y.narrow(0, 0, 2)).profiles;
  CHECK(at::allclose(
      pair,
      engine::Loop{}(plan, aggregate::MeanAbs{}, loss::CrossEntropy{}, x.narrow(0, 0, 2), y.narrow(0, 0, 2))
          .profiles,
      1e-10, 1e-14));
}

TEST_CASE("A head's number is the mean of its rows', and pruned its projections give nothing",
          "[engine][intervene]") {
  torch::manual_seed(seed());
  VisionTransformer model;
  model->to(at::kDouble);
  model->eval();
  const at::Tensor bias = model->named_parameters()["encoder.layers.0.self_attn.in_proj_bias"];
  torch::nn::init::normal_(bias);  // 0 as it is made
  const at::Tensor x = normal({3, 3, 12, 12}), y = classes(3, 4);
  const Profiler heads{aggregate::MeanAbs{}, standardize::Identity{}, visit::AttentionHeads{.heads = 2}};
  const Profiler rows =
      Profiler{aggregate::MeanAbs{}, standardize::Identity{}, visit::LinearNeurons{}}.within(
          {.pattern = "*in_proj_weight"});
  const visit::Plan plan = visit::trace(heads.plan(model), x);
  const at::Tensor of_heads = heads.batch(plan, x, y).profiles;
  CHECK(of_heads.size(1) == 2 * 6);
  CHECK(at::allclose(of_heads, rows.batch(rows.plan(model), x, y).profiles.view({3, 12, 4}).mean(2), 1e-12,
                     1e-15));
  const at::Tensor before = model->forward(x);
  {
    const intervene::Scope scope(intervene::Prune{}, plan, {x[0], 0, {1}});  // the queries of the second head
    for (const at::Tensor& projection : {plan.parameters.front(), bias}) {
      CHECK(projection.narrow(0, 4, 4).abs().max().item<double>() == 0.0);
      CHECK(projection.narrow(0, 0, 4).abs().min().item<double>() > 0.0);
      CHECK(projection.narrow(0, 8, 16).abs().min().item<double>() > 0.0);
    }
    CHECK_FALSE(scope.outputs().equal(before[0]));
  }
  CHECK(model->forward(x).equal(before));
}
