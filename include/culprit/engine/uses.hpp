// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ops/_unsafe_view.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "culprit/engine/engine.hpp"
#include "culprit/engine/nodes.hpp"
#include "culprit/visit/operator_observer.hpp"
#include "culprit/visit/twice_differentiable.hpp"

// How engine::Batched sees the uses of parameters in a forward pass, and gets at the gradients of their
// outputs.
namespace culprit::engine::detail {

/// Sees the uses of a forward pass whose samples can be separated, and why they cannot.
class UseObserver : public visit::OperatorObserver {
 public:
  UseObserver(const visit::Plan& plan, Index batch)
      : OperatorObserver(plan.parameters), uses(plan.parameters.size(), 0), batch_(batch) {}

  static constexpr const char* not_found = "an input in which the samples were not found";

  /// Where the samples of this use are; nothing where that is not known.
  virtual std::optional<visit::SampleAxis> axis_of(const visit::ParameterUse& use) = 0;

  /// A use in a graph that autograd keeps.
  virtual void on_separable_use(visit::ParameterUse&& /*use*/, const visit::SampleAxis& /*axis*/,
                                at::Tensor& /*output*/) {}

  void on_use(visit::ParameterUse use, at::Tensor& output) final {
    ++uses[use.parameter];
    const std::optional<visit::SampleAxis> axis = axis_of(use);
    if (!axis || !axis->fits(use.input, batch_) || !axis->fits(output, batch_)) {
      uncovered = not_found;
      return;
    }
    // A part that is frozen, or inside a custom function, whose backward pass is its own.
    if (!at::GradMode::is_enabled()) {
      uncovered = "a parameter used where the model switches autograd off";
      return;
    }
    // A later in-place operation on a view would rewrite the graph behind it.
    if (output.is_view()) output = at::_unsafe_view(output, output.sizes());
    on_separable_use(std::move(use), *axis, output);
  }

  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& output) final {
    if (use.batch_statistics && batch_ > 1) uncovered = "batch norm over the batch";
    const auto constant = [](const at::Tensor& tensor) {
      return !tensor.defined() || !tensor.requires_grad();
    };
    if (use.batch_statistics || !output.requires_grad() || !constant(use.scale) || !constant(use.shift) ||
        !constant(use.running_variance) || !constant(use.running_mean)) {
      return;
    }
    const at::Tensor inverse = use.running_variance.add(use.epsilon).rsqrt();
    ScaleByChannel::attach(output, use.input, use.scale.defined() ? inverse.mul(use.scale) : inverse);
  }

  void on_unknown(std::size_t /*parameter*/, const std::string& op) final { uncovered = op; }

  std::vector<Index> uses;  ///< of each parameter in this forward pass
  std::string uncovered;    ///< why the samples cannot be separated; empty when they can

 protected:
  [[nodiscard]] Index batch() const { return batch_; }

 private:
  Index batch_;
};

/// Whether all that the use's operator does it does to each place of its input's dimensions alone.
inline bool has_rows(const visit::ParameterUse& use) {
  return use.kind == visit::ParameterUse::Kind::embedding
             ? use.input.dim() > 0
             : use.kind == visit::ParameterUse::Kind::linear && use.input.dim() > 1;
}

/// Sees the uses of a forward pass for inputs of a shape that was probed, or of one sample.
class ProbedUses : public UseObserver {
 public:
  ProbedUses(const visit::Plan& plan, const at::Tensor& inputs) : UseObserver(plan, inputs.size(0)) {
    const auto found = plan.probed->find(inputs.sizes().slice(1).vec());
    if (found != plan.probed->end()) places_ = found->second;
  }

  std::optional<visit::SampleAxis> axis_of(const visit::ParameterUse& use) final {
    if (!places_) {
      const Index rows = has_rows(use) ? use.input.size(0) : 1;
      return rows > 0 ? std::optional(visit::SampleAxis{.rows = rows}) : std::nullopt;
    }
    const std::size_t number = number_++;
    if (number >= places_->size() || (*places_)[number].parameter != use.parameter) return std::nullopt;
    return (*places_)[number].axis;
  }

 private:
  std::optional<std::vector<visit::UsePlace>> places_;
  std::size_t number_ = 0;
};

/// Puts a Tap at the output of every use, which also begins the graph there: nothing above the shallowest
/// unit is differentiated, and no parameter needs to require a gradient.
class TapInserter final : public ProbedUses {
 public:
  TapInserter(const visit::Plan& plan, const at::Tensor& inputs)
      : ProbedUses(plan, inputs), units_(plan.units) {}

  void on_separable_use(visit::ParameterUse&& use, const visit::SampleAxis& axis,
                        at::Tensor& output) override {
    const std::string& layer = units_->layers()[use.parameter].name;
    const NodePointer tap = make_node<Tap>(std::move(use), axis, layer, sink);
    const auto edge = torch::autograd::impl::gradient_edge(output);
    if (output.requires_grad()) tap->set_next_edges({edge});
    torch::autograd::set_history(output, tap);
  }

  GradientSink sink;  ///< where gradients go in the backward pass

 private:
  std::shared_ptr<const Units> units_;
};

/// Keeps every use with the history of its input and output, to differentiate by both afterwards.
class HistoryKeeper final : public ProbedUses {
 public:
  HistoryKeeper(const visit::Plan& plan, const at::Tensor& inputs)
      : ProbedUses(plan, inputs), parameters_(plan.parameters) {}

  struct Kept {
    visit::ParameterUse use;  ///< its input without history, samples first
    visit::SampleAxis axis;
    at::Tensor input;
    std::int64_t version;  ///< of the input
    at::Tensor output;     ///< stays at this place of the graph, whatever is done in place to the model's own
  };

  void on_separable_use(visit::ParameterUse&& use, const visit::SampleAxis& axis,
                        at::Tensor& output) override {
    const bool constant_bias = !use.bias.defined() || !use.bias.requires_grad();
    if (use.kind == visit::ParameterUse::Kind::convolution && output.requires_grad() && constant_bias)
      ConstantConvolution::attach(output, use, parameters_[use.parameter]);
    at::Tensor place = output.detach();
    if (output.requires_grad()) {
      torch::autograd::impl::set_gradient_edge(place, torch::autograd::impl::gradient_edge(output));
    } else {  // what does not depend on the inputs has a gradient all the same
      place.requires_grad_(true);
      output = at::_unsafe_view(place, place.sizes());
    }
    const at::Tensor input = std::exchange(use.input, axis.samples_first(use.input.detach()));
    kept.push_back({std::move(use), axis, input, input._version(), std::move(place)});
  }

  std::optional<at::Tensor> instead_of(std::string_view op, c10::ArrayRef<c10::IValue> arguments) override {
    return visit::twice_differentiable(op, arguments);
  }

  std::vector<Kept> kept;

 private:
  const std::vector<at::Tensor>& parameters_;
};

/// Where X may have its samples when all of them are the same: along each dimension whose places repeat with
/// them.
inline std::vector<visit::SampleAxis> axes_of_equal_samples(const at::Tensor& x, Index batch) {
  std::vector<visit::SampleAxis> axes;
  if (x.numel() == 0) return axes;
  const auto largest = [](const at::Tensor& tensor) { return tensor.abs().flatten(0, -2).amax(0); };
  const int digits = x.element_size() == 8 ? 52 : x.element_size() == 4 ? 23 : 8;
  const double tolerance =
      x.is_floating_point() ? std::ldexp(1.0, -digits / 2) : 0.0;  // of each feature's largest
  const at::Tensor bound = largest(x).to(at::kFloat).mul(tolerance);
  for (Index dimension = 0; dimension < x.dim() - 1; ++dimension) {
    if (x.size(dimension) % batch != 0) continue;
    const Index rows = x.size(dimension) / batch;
    for (const bool by_turns : {false, true}) {
      if (by_turns && rows == 1) continue;
      const visit::SampleAxis axis{dimension, rows, by_turns};
      const at::Tensor samples = axis.samples_first(x);
      const at::Tensor apart = largest(samples.sub(samples.narrow(0, 0, 1))).to(at::kFloat);
      if (apart.le(bound).all().item<bool>()) axes.push_back(axis);
    }
  }
  return axes;
}

/// Sees a forward pass of a batch of equal samples, and finds where each use may have them.
class SampleFinder final : public UseObserver {
 public:
  using UseObserver::UseObserver;

  struct Found {
    std::size_t parameter;
    std::vector<visit::SampleAxis> axes;
  };

  std::optional<visit::SampleAxis> axis_of(const visit::ParameterUse& use) override {
    Found& last = found.emplace_back(Found{use.parameter, {}});
    const bool first = visit::SampleAxis{}.fits(use.input, batch());
    if (has_rows(use) && !(first && use.input.dim() <= 2)) {
      const bool linear = use.kind == visit::ParameterUse::Kind::linear;
      const at::Tensor x = use.input.detach();
      last.axes = axes_of_equal_samples(linear ? x : x.unsqueeze(-1), batch());
    } else if (first) {
      last.axes.emplace_back();
    }
    if (last.axes.empty()) return std::nullopt;
    return last.axes.front();
  }

  std::vector<Found> found;  ///< of each use
};

/// Why the samples of a batch cannot be separated; empty when they can.
///
/// Each new shape of a sample is probed with two small batches of different extents: a dimension, or an order
/// in it, that has the samples by chance has them in one of the two, and what is left must be the only one.
inline std::string probe(const visit::Plan& plan, const at::Tensor& inputs) {
  const std::vector<Index> shape = inputs.sizes().slice(1).vec();
  if (inputs.size(0) == 1 || plan.probed->contains(shape)) return {};
  std::array<std::vector<SampleFinder::Found>, 2> found;
  for (const Index extent : {2, 3}) {
    std::vector<Index> extents = inputs.sizes().vec();
    extents.front() = extent;
    const auto finder = std::make_shared<SampleFinder>(plan, extent);
    visit::OperatorObserver::observe(
        finder, [&] { return plan.model.forward(private_copy(inputs.narrow(0, 0, 1).expand(extents))); });
    if (!finder->uncovered.empty()) return finder->uncovered;
    found[static_cast<std::size_t>(extent - 2)] = std::move(finder->found);
  }
  std::vector<visit::UsePlace> places;
  for (std::size_t i = 0; i < found[0].size(); ++i) {
    std::vector<visit::SampleAxis> both;
    if (i < found[1].size() && found[0][i].parameter == found[1][i].parameter) {
      for (const visit::SampleAxis& axis : found[0][i].axes) {
        if (std::ranges::find(found[1][i].axes, axis) != found[1][i].axes.end()) both.push_back(axis);
      }
    }
    if (both.size() != 1) return UseObserver::not_found;
    places.push_back({found[0][i].parameter, both.front()});
  }
  plan.probed->emplace(shape, std::move(places));
  return {};
}

/// Whether each use has the samples as the first dimension, and they can be separated.
inline bool samples_are_first(const visit::Plan& plan, const at::Tensor& inputs) {
  if (!probe(plan, inputs).empty()) return false;
  const auto found = plan.probed->find(inputs.sizes().slice(1).vec());
  return found == plan.probed->end() ||
         std::all_of(found->second.begin(), found->second.end(),
                     [](const visit::UsePlace& place) { return place.axis.is_first(); });
}

}  // namespace culprit::engine::detail
