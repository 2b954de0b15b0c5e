// SPDX-License-Identifier: MIT
//
// Trains the network of the demo on Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) and writes its weights:
//   train_fashion DATA_DIR OUT.safetensors [--epochs N] [--seed S] [--bfloat16]

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <numbers>
#include <string>

#include <ATen/autocast_mode.h>
#include <CLI/CLI.hpp>
#include <torch/torch.h>

#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "data/preprocess.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"

namespace {

using culprit::zoo::Classifier;

constexpr const char* architecture = "resnet8_fashion";
constexpr std::int64_t batch_size = 128;
constexpr double peak_rate = 0.1;
constexpr double momentum = 0.9;
constexpr double weight_decay = 5e-4;
constexpr double warm_up = 0.15;       // share of all steps
constexpr std::int64_t max_shift = 2;  // pixels, either way

/// All images of a data set, normalised [N, 1, H, W], and their classes [N].
struct Split {
  torch::Tensor inputs;
  torch::Tensor labels;
};

Split read_split(const std::string& spec) {
  const auto dataset = culprit::data::open_dataset(spec);
  culprit::data::Loader loader(*dataset, culprit::data::Preprocess::preset("fashion"),
                               {.batch = dataset->size()});
  const auto batch = loader.begin();
  return {.inputs = batch->inputs, .labels = batch->labels};
}

/// The picked images, each shifted by up to max_shift and mirrored or not, by chance.
/// @param padded  [N, H + 2 * max_shift, W + 2 * max_shift]
/// @return        [B, 1, H, W]
torch::Tensor augment(const torch::Tensor& padded, const torch::Tensor& picks) {
  const auto count = picks.size(0);
  const auto rows = torch::arange(padded.size(1) - 2 * max_shift);
  const auto columns = torch::arange(padded.size(2) - 2 * max_shift);
  const auto shift = torch::randint(2 * max_shift + 1, {2, count, 1}, torch::kInt64);
  const auto mirrored = torch::rand({count, 1}).lt(0.5);
  const auto row = rows + shift[0];
  const auto column = torch::where(mirrored, columns.flip(0), columns) + shift[1];
  return padded.index({picks.view({count, 1, 1}), row.unsqueeze(2), column.unsqueeze(1)}).unsqueeze(1);
}

/// As He et al. 2015 ("Delving Deep into Rectifiers"), equation 10, for every layer with a matrix or filters.
void initialise(Classifier& network) {
  for (auto& parameter : network.named_parameters()) {
    if (parameter.value().dim() > 1) {
      torch::nn::init::kaiming_normal_(parameter.value());
    }
  }
}

/// One cycle: a linear rise to peak_rate, then half a cosine down to 0. progress is in [0, 1).
double learning_rate(double progress) {
  if (progress < warm_up) {
    return peak_rate * progress / warm_up;
  }
  return peak_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * (progress - warm_up) / (1.0 - warm_up)));
}

/// The share of images whose largest logit is that of their label.
double accuracy(Classifier& network, const Split& split) {
  const torch::NoGradGuard no_grad;
  network.eval();
  std::int64_t right = 0;
  for (std::int64_t begin = 0; begin < split.labels.size(0); begin += batch_size) {
    const auto end = std::min(begin + batch_size, split.labels.size(0));
    const auto logits = network.forward(split.inputs.slice(0, begin, end));
    right += logits.argmax(1).eq(split.labels.slice(0, begin, end)).sum().item<std::int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(split.labels.size(0));
}

/// While it lives, convolutions and linear layers compute in bfloat16, if wanted.
class Bfloat16Scope {
 public:
  explicit Bfloat16Scope(bool wanted) : before_(at::autocast::is_autocast_enabled(at::kCPU)) {
    at::autocast::set_autocast_enabled(at::kCPU, wanted);
  }
  Bfloat16Scope(const Bfloat16Scope&) = delete;
  Bfloat16Scope& operator=(const Bfloat16Scope&) = delete;
  ~Bfloat16Scope() {
    at::autocast::clear_cache();  // of the weights' copies, which the next step makes stale
    at::autocast::set_autocast_enabled(at::kCPU, before_);
  }

 private:
  bool before_;
};

/// What a run can be told to do otherwise.
struct Options {
  std::int64_t epochs = 12;
  std::uint64_t seed = 2022;
  bool bfloat16 = false;
};

struct EpochResult {
  double loss;      ///< mean cross entropy over the augmented images, in nats
  double accuracy;  ///< on the same
};

/// One pass over the padded images in a random order, without the last ones that fill no batch.
EpochResult train_epoch(Classifier& network, torch::optim::SGD& optimizer, const torch::Tensor& padded,
                        const torch::Tensor& labels, std::int64_t epoch, const Options& options) {
  network.train();
  const auto order = torch::randperm(padded.size(0), torch::kInt64);
  const auto steps = padded.size(0) / batch_size;
  double loss_sum = 0.0;
  std::int64_t right = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto progress =
        static_cast<double>(epoch * steps + step) / static_cast<double>(options.epochs * steps);
    for (auto& group : optimizer.param_groups()) {
      group.options().set_lr(learning_rate(progress));
    }
    const auto picks = order.slice(0, step * batch_size, (step + 1) * batch_size);
    const auto target = labels.index_select(0, picks);
    optimizer.zero_grad();
    const auto logits = [&] {
      const Bfloat16Scope scope(options.bfloat16);
      return network.forward(augment(padded, picks)).to(torch::kFloat32);
    }();
    const auto loss = torch::nn::functional::cross_entropy(logits, target);
    loss.backward();
    optimizer.step();
    loss_sum += loss.item<double>();
    right += logits.argmax(1).eq(target).sum().item<std::int64_t>();
  }
  return {.loss = loss_sum / static_cast<double>(steps),
          .accuracy = static_cast<double>(right) / static_cast<double>(steps * batch_size)};
}

std::string percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.2f", 100.0 * share);
  return text;
}

/// What was trained so far, and how to get it again.
void save(const Classifier& network, const std::filesystem::path& out, std::int64_t epochs,
          double test_accuracy, const Options& options) {
  const auto seed = std::to_string(options.seed);
  culprit::zoo::save_weights(
      network, out,
      {{"architecture", architecture},
       {"data", "Fashion-MNIST, 60,000 training images"},
       {"test_accuracy_percent", percent(test_accuracy)},
       {"epochs", std::to_string(epochs)},
       {"seed", seed},
       {"command", "train_fashion DATA_DIR OUT --epochs " + std::to_string(options.epochs) + " --seed " +
                       seed + (options.bfloat16 ? " --bfloat16" : "")}});
}

/// The file is written anew after each epoch: a wrong path is noticed early, and a run may be cut short.
void train(const std::string& data, const std::filesystem::path& out, const Options& options) {
  const auto training = read_split("idx:" + data + "#train");
  const auto test = read_split("idx:" + data);
  // What is shifted in is black, the background of every image and the least value there is.
  const auto padded =
      torch::constant_pad_nd(training.inputs.squeeze(1), {max_shift, max_shift, max_shift, max_shift},
                             training.inputs.min().item<float>());

  torch::manual_seed(options.seed);
  const auto network = culprit::zoo::make_model(architecture);
  initialise(*network);
  torch::optim::SGD optimizer(
      network->parameters(),
      torch::optim::SGDOptions(peak_rate).momentum(momentum).nesterov(true).weight_decay(weight_decay));

  double test_accuracy = 0.0;
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const auto epoch_start = std::chrono::steady_clock::now();
    const auto result = train_epoch(*network, optimizer, padded, training.labels, epoch, options);
    test_accuracy = accuracy(*network, test);
    save(*network, out, epoch + 1, test_accuracy, options);
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - epoch_start).count();
    const double left = std::chrono::duration<double>(now - start).count() / static_cast<double>(epoch + 1) *
                        static_cast<double>(options.epochs - epoch - 1);
    std::printf("epoch %2lld of %lld: loss %.4f, training %s %%, test %s %%, %.0f s, %.0f s left\n",
                static_cast<long long>(epoch + 1), static_cast<long long>(options.epochs), result.loss,
                percent(result.accuracy).c_str(), percent(test_accuracy).c_str(), seconds, left);
    std::fflush(stdout);
  }

  std::printf("%s: %s, %s %% of the test images right\n", out.c_str(), architecture,
              percent(test_accuracy).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Trains the demo's network on Fashion-MNIST; repeatable for one seed and number of threads."};
  std::string data;
  std::filesystem::path out;
  Options options;
  app.add_option("DATA_DIR", data, "folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte, .gz or not")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("OUT", out, "the safetensors file to write")->required();
  app.add_option("--epochs", options.epochs, "passes over the training images")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed, "of the first weights, the order and the augmentation")
      ->capture_default_str();
  app.add_flag("--bfloat16", options.bfloat16,
               "compute in bfloat16: faster where the processor can, else slower");
  app.footer("Example: train_fashion /usr/share/datasets/fashion-mnist resnet8_fashion.safetensors");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    train(data, out, options);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "train_fashion: %s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_fashion: %s\n", error.what());
    return 1;
  }
  return 0;
}
