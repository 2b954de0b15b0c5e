// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engine/nets.hpp"

namespace culprit::test {

class Dice {
 public:
  explicit Dice(std::uint32_t seed) : engine_(seed) {}
  Index between(Index low, Index high) {
    return low + static_cast<Index>(engine_() % static_cast<std::uint32_t>(high - low + 1));
  }
  bool chance(Index one_in) { return between(1, one_in) == 1; }

 private:
  std::mt19937 engine_;
};

template <std::size_t D>
struct Modules;
template <>
struct Modules<1> {
  using Conv = torch::nn::Conv1d;
  using Transposed = torch::nn::ConvTranspose1d;
  using Norm = torch::nn::BatchNorm1d;
};
template <>
struct Modules<2> {
  using Conv = torch::nn::Conv2d;
  using Transposed = torch::nn::ConvTranspose2d;
  using Norm = torch::nn::BatchNorm2d;
};
template <>
struct Modules<3> {
  using Conv = torch::nn::Conv3d;
  using Transposed = torch::nn::ConvTranspose3d;
  using Norm = torch::nn::BatchNorm3d;
};

/// A random network and an input for it, in float64.
struct RandomNet {
  torch::nn::Sequential model;
  at::Tensor inputs, targets;
  std::ostringstream description;
  /// Additions on the way from an input or an output gradient to a weight's gradient, over all layers.
  Index additions = 0;
};

template <std::size_t D>
class Builder {
 public:
  Builder(Dice& dice, bool smooth) : dice_(dice), smooth_(smooth) {}

  RandomNet build() {
    const std::array<Index, 3> batches{1, 3, 5};
    const Index batch = batches[static_cast<std::size_t>(dice_.between(0, 2))];
    std::vector<Index> shape{batch, dice_.between(1, 4)};
    for (std::size_t d = 0; d < D; ++d) shape.push_back(D == 3 ? dice_.between(3, 5) : dice_.between(4, 8));
    net_.inputs = normal(shape);
    now_ = net_.inputs;
    for (Index blocks = dice_.between(1, 3); blocks > 0; --blocks) {
      dice_.chance(4) ? add_transposed() : add_convolution();
      if (dice_.chance(3)) add_norm();
      add_nonlinearity();
    }
    if (dice_.chance(3)) add_mask();
    add_head();
    net_.model->to(at::kDouble);
    net_.model->eval();
    net_.targets = classes(batch, 4);
    return std::move(net_);
  }

 private:
  template <class Holder>
  void add(Holder module, const std::string& what) {
    module->to(at::kDouble);
    module->eval();
    const at::NoGradGuard no_grad;
    now_ = module->forward(now_);
    net_.description << what << ' ' << now_.sizes() << "; ";
    net_.model->push_back(module);
  }

  void add(const std::string& what, std::function<at::Tensor(at::Tensor)> function) {
    now_ = function(now_);
    net_.description << what << ' ' << now_.sizes() << "; ";
    net_.model->push_back(torch::nn::Functional(std::move(function)));
  }

  void count(const at::Tensor& weight, Index positions) {
    net_.additions += weight.numel() / weight.size(0) + weight.numel() / weight.size(1) + positions;
  }

  [[nodiscard]] Index divisor(Index of) {
    Index result = dice_.between(1, of);
    while (of % result != 0) --result;
    return dice_.chance(2) ? result : 1;
  }

  void add_convolution() {
    const Index in = now_.size(1);
    const Index groups = dice_.chance(4) ? in : divisor(in);
    const Index out = dice_.chance(3) ? in : groups * dice_.between(1, 3);
    const bool same = dice_.chance(4);
    torch::ExpandingArray<D> kernel(1), stride(1), padding(0), dilation(1);
    const auto mode = dice_.between(0, 5);  // 0 reflect, 1 circular, else zeros
    // The C++ modules pad "same" with the dimensions in reverse order where the mode is not zeros.
    const Index smallest = std::ranges::min(now_.sizes().slice(2));
    for (std::size_t d = 0; d < D; ++d) {
      const Index extent = now_.size(static_cast<Index>(d) + 2);
      (*kernel)[d] = dice_.between(1, 3);
      (*dilation)[d] = dice_.between(1, 2);
      (*stride)[d] = same ? 1 : dice_.between(1, 3);
      (*padding)[d] = std::min(dice_.between(0, 2), extent - 1);
      if (extent + 2 * (*padding)[d] < (*dilation)[d] * ((*kernel)[d] - 1) + 1) (*kernel)[d] = 1;
      if (same && (*dilation)[d] * ((*kernel)[d] - 1) >= smallest) (*kernel)[d] = 1;
    }
    torch::nn::ConvOptions<D> options(in, out, kernel);
    options.stride(stride).dilation(dilation).groups(groups).bias(dice_.chance(2));
    if (same) {
      options.padding(torch::kSame);
    } else {
      options.padding(padding);
    }
    if (mode == 0) options.padding_mode(torch::kReflect);
    if (mode == 1) options.padding_mode(torch::kCircular);
    typename Modules<D>::Conv conv(options);
    std::ostringstream what;
    what << "conv" << D << " kernel " << kernel << " stride " << stride << " padding " << (same ? "same" : "")
         << padding << " dilation " << dilation << " groups " << groups << " mode " << mode;
    const auto before = now_.sizes().vec();
    add(conv, what.str());
    count(conv->weight, now_[0][0].numel());
    if (now_.sizes() == at::IntArrayRef(before) && dice_.chance(2)) add(conv, "the same module again");
  }

  void add_transposed() {
    const Index in = now_.size(1);
    const Index groups = divisor(in);
    torch::ExpandingArray<D> kernel(1), stride(1), padding(0), dilation(1), output_padding(0);
    for (std::size_t d = 0; d < D; ++d) {
      const Index extent = now_.size(static_cast<Index>(d) + 2);
      (*kernel)[d] = dice_.between(1, 3);
      (*dilation)[d] = dice_.between(1, 2);
      (*stride)[d] = dice_.between(1, extent > 8 ? 1 : 2);
      const Index reach = (*dilation)[d] * ((*kernel)[d] - 1);
      (*padding)[d] = std::min<Index>(dice_.between(0, 1), ((extent - 1) * (*stride)[d] + reach) / 2);
      (*output_padding)[d] = dice_.between(0, std::max((*stride)[d], (*dilation)[d]) - 1);
    }
    torch::nn::ConvTransposeOptions<D> options(in, groups * dice_.between(1, 3), kernel);
    options.stride(stride).dilation(dilation).groups(groups).bias(dice_.chance(2));
    options.padding(padding).output_padding(output_padding);
    typename Modules<D>::Transposed conv(options);
    std::ostringstream what;
    what << "transposed" << D << " kernel " << kernel << " stride " << stride << " padding " << padding
         << " dilation " << dilation << " output padding " << output_padding << " groups " << groups;
    const Index positions = now_[0][0].numel();
    add(conv, what.str());
    count(conv->weight, positions);
  }

  void add_norm() {
    typename Modules<D>::Norm norm(now_.size(1));
    norm->to(at::kDouble);
    const at::NoGradGuard no_grad;
    norm->running_mean.copy_(0.3 * normal(norm->running_mean.sizes()));
    norm->running_var.copy_(0.5 + normal(norm->running_var.sizes()).abs());
    norm->weight.copy_(normal(norm->weight.sizes()));
    add(norm, "batch norm");
  }

  void add_nonlinearity() {
    switch (smooth_ ? dice_.between(0, 3) : dice_.between(0, 7)) {
      case 0:
        return;  // the next convolution reads this one's output directly
      case 1:
        return add(torch::nn::GELU(), "gelu");
      case 2:
        return add(torch::nn::Sigmoid(), "sigmoid");
      case 3:
        return add(torch::nn::Tanh(), "tanh");
      case 4:
        return add(torch::nn::ReLU(), "relu");
      case 5:
        return add(torch::nn::LeakyReLU(torch::nn::LeakyReLUOptions().negative_slope(0.1).inplace(true)),
                   "leaky relu in place");
      default:
        return add(torch::nn::ReLU(torch::nn::ReLUOptions(true)), "relu in place");
    }
  }

  void add_mask() {
    // Which samples the loss reaches depends on the data.
    add("mask of some samples", [](const at::Tensor& x) {
      std::vector<Index> sizes(static_cast<std::size_t>(x.dim()), 1);
      sizes.front() = x.size(0);
      return x * (x.detach().flatten(1).sum(1) * 100.0).sin().gt(0.0).view(sizes);
    });
  }

  void add_head() {
    if (dice_.chance(3)) {
      add("mean", [](const at::Tensor& x) { return x.flatten(2).mean(2); });
    } else if (dice_.chance(2)) {
      add("flatten", [](const at::Tensor& x) { return x.flatten(1); });
    } else {
      add("positions",
          [](const at::Tensor& x) { return x.movedim(1, -1); });  // leading dimensions of any number
    }
    const Index width = now_.size(-1);
    if (width <= 64 && dice_.chance(2)) {
      torch::nn::Linear tied(torch::nn::LinearOptions(width, width).bias(dice_.chance(2)));
      add(tied, "linear");
      add(torch::nn::Tanh(), "tanh");
      add(tied, "the same linear again");
      count(tied->weight, 2 * now_[0].numel() / width);
    }
    torch::nn::Linear head(torch::nn::LinearOptions(width, 4).bias(dice_.chance(2)));
    add(head, "linear");
    count(head->weight, now_[0].numel() / 4);
    if (now_.dim() > 2) {
      add("mean of positions", [](const at::Tensor& x) { return x.flatten(1, -2).mean(1); });
    }
  }

  Dice& dice_;
  bool smooth_;
  RandomNet net_;
  at::Tensor now_;
};

inline RandomNet random_net(Dice& dice, bool smooth) {
  switch (dice.between(1, 4)) {
    case 1:
      return Builder<1>(dice, smooth).build();
    case 2:
      return Builder<3>(dice, smooth).build();
    default:
      return Builder<2>(dice, smooth).build();
  }
}

}  // namespace culprit::test
