// SPDX-License-Identifier: MIT
// Time of one batch of profiles, of all neurons and filters, beside an ordinary training step on the same
// transformer and batch: ViT-B/16 (Dosovitskiy et al. 2021, table 1) and a small one for text.
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"

namespace {

namespace cu = culprit;

struct Extent {
  std::int64_t width, depth, heads, classes;
};

/// Normalization first, four times as wide in between.
struct BlockImpl : torch::nn::Module {
  BlockImpl(std::int64_t width, std::int64_t heads_count) : heads(heads_count) {
    const auto linear = [&](const char* name, std::int64_t from, std::int64_t to) {
      return register_module(name, torch::nn::Linear(from, to));
    };
    before_attention = register_module("before_attention", torch::nn::LayerNorm(norm(width)));
    queries_keys_values = linear("queries_keys_values", width, 3 * width);
    project = linear("project", width, width);
    before_neurons = register_module("before_neurons", torch::nn::LayerNorm(norm(width)));
    widen = linear("widen", width, 4 * width);
    narrow = linear("narrow", 4 * width, width);
  }
  static torch::nn::LayerNormOptions norm(std::int64_t width) { return torch::nn::LayerNormOptions({width}); }

  /// @param x  [samples, places, width]
  torch::Tensor forward(const torch::Tensor& x) {
    const auto parts = queries_keys_values(before_attention(x))
                           .unflatten(2, {3, heads, x.size(2) / heads})
                           .permute({2, 0, 3, 1, 4})
                           .unbind(0);
    const auto heads_of = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
    const auto y = x + project(heads_of.transpose(1, 2).flatten(2));
    return y + narrow(torch::gelu(widen(before_neurons(y))));
  }

  std::int64_t heads;
  torch::nn::LayerNorm before_attention{nullptr}, before_neurons{nullptr};
  torch::nn::Linear queries_keys_values{nullptr}, project{nullptr}, widen{nullptr}, narrow{nullptr};
};
TORCH_MODULE(Block);

/// What is common: from the first embedding, [samples, places, width], to the classes.
struct EncoderImpl : torch::nn::Module {
  EncoderImpl(std::int64_t places_count, const Extent& extent) {
    places = register_parameter("places", 0.02 * torch::randn({1, places_count, extent.width}));
    for (std::int64_t i = 0; i < extent.depth; ++i) blocks->push_back(Block(extent.width, extent.heads));
    register_module("blocks", blocks);
    last_norm = register_module("last_norm", torch::nn::LayerNorm(BlockImpl::norm(extent.width)));
    head = register_module("head", torch::nn::Linear(extent.width, extent.classes));
  }
  torch::Tensor of_first(const torch::Tensor& first) {
    return head(last_norm(blocks->forward(first + places)).select(1, 0));
  }
  torch::Tensor places;
  torch::nn::Sequential blocks;
  torch::nn::LayerNorm last_norm{nullptr};
  torch::nn::Linear head{nullptr};
};

/// ViT-B/16 at 224 x 224: 86.6 million parameters.
struct VisionImpl : EncoderImpl {
  VisionImpl() : EncoderImpl(197, {768, 12, 12, 1000}) {
    patches = register_module("patches", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 768, 16).stride(16)));
    token = register_parameter("token", torch::zeros({1, 1, 768}));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto first = patches(x).flatten(2).transpose(1, 2);
    return of_first(torch::cat({token.expand({x.size(0), 1, 768}), first}, 1));
  }
  static torch::Tensor inputs() { return torch::randn({8, 3, 224, 224}); }
  torch::nn::Conv2d patches{nullptr};
  torch::Tensor token;
};

/// 128 words of 10,000, four blocks of width 512.
struct TextImpl : EncoderImpl {
  TextImpl() : EncoderImpl(128, {512, 4, 8, 20}) {
    words = register_module("words", torch::nn::Embedding(10'000, 512));
  }
  torch::Tensor forward(const torch::Tensor& x) { return of_first(words(x)); }
  static torch::Tensor inputs() { return torch::randint(10'000, {16, 128}, torch::kLong); }
  torch::nn::Embedding words{nullptr};
};

/// Filters, neurons, and rows of embeddings.
struct Weights {
  [[nodiscard]] bool operator()(at::IntArrayRef shape) const {
    return shape.size() == 2 || shape.size() == 4;
  }
};

template <class Network>
struct TransformerJob {
  TransformerJob() {
    torch::manual_seed(1);
    model = std::make_shared<Network>();
    model->eval();
    inputs = Network::inputs();
    labels = torch::randint(20, {inputs.size(0)}, torch::kLong);
  }
  std::shared_ptr<Network> model;
  torch::Tensor inputs, labels;
};

template <class Network>
void training_step(benchmark::State& state) {
  const TransformerJob<Network> job;
  const auto step = [&] {
    job.model->zero_grad();
    torch::nn::functional::cross_entropy(job.model->forward(job.inputs), job.labels).backward();
  };
  step();
  for ([[maybe_unused]] const auto turn : state) step();
  state.SetItemsProcessed(state.iterations() * job.inputs.size(0));
}

template <class Network>
void profiles(benchmark::State& state, const cu::engine::Batched& engine) {
  const TransformerJob<Network> job;
  const cu::Profiler profiler{cu::aggregate::MeanAbs{}, cu::standardize::ZScore{}, Weights{}, engine};
  const auto plan = profiler.plan(job.model);
  const auto batch = [&] { return profiler.batch(plan, job.inputs, job.labels).profiles; };
  batch();  // the first of a plan looks for the samples' dimension, by two more forward passes
  for ([[maybe_unused]] const auto turn : state) benchmark::DoNotOptimize(batch().const_data_ptr());
  state.SetItemsProcessed(state.iterations() * job.inputs.size(0));
}

template <class Network>
void profiles_of_threads(benchmark::State& state) {
  profiles<Network>(state, {});
}

template <class Network>
void profiles_of_workers(benchmark::State& state) {
  profiles<Network>(state, {.workers = at::get_num_threads()});
}

template <class Network>
int register_jobs(const std::string& network) {
  const auto add = [&](const std::string& what, auto function) {
    benchmark::RegisterBenchmark((what + network).c_str(), function)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  add("training_step/", training_step<Network>);
  add("batched/", profiles_of_threads<Network>);
  add("workers/", profiles_of_workers<Network>);
  return 0;
}

[[maybe_unused]] const int vision = register_jobs<VisionImpl>("vit_b_16");
[[maybe_unused]] const int text = register_jobs<TextImpl>("text");

}  // namespace
