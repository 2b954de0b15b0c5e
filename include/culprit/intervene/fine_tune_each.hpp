// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "culprit/engine/convolve_filters.hpp"
#include "culprit/engine/uses.hpp"
#include "culprit/engine/weight_gradient.hpp"
#include "culprit/intervene/fine_tune.hpp"

namespace culprit::intervene {

/// One step to try, and what to ask the model then. Samples and rows are rows of the same inputs.
struct Trial {
  Index sample = 0;            ///< whose loss the step goes down
  std::vector<Index> units{};  ///< that the step moves
  std::vector<Index> rows{};   ///< what the model says of these after the step is wanted
};

namespace detail {

/// Gradients of the chosen units for each of some samples, in one forward and one backward pass.
class Slopes {
 public:
  explicit Slopes(const visit::Plan& plan) : plan_(plan), layers_(plan.parameters.size()) {}

  void choose(const Trial& trial) {
    const auto place = places_.emplace(trial.sample, static_cast<Index>(samples.size()));
    if (place.second) samples.push_back(trial.sample);
    for (const Index index : trial.units) {
      const Unit unit = plan_.units->unit(index);
      auto& channels = layers_[static_cast<std::size_t>(unit.layer)].chosen[place.first->second];
      if (channels.emplace(unit.channel, 0).second) elements += unit.size;
    }
  }

  /// @param inputs  [samples, ...] @param targets  [samples]
  /// @return why the samples cannot be separated; empty: all is found
  template <Loss L>
  std::string find(const L& loss, const at::Tensor& inputs, const at::Tensor& targets) {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      Index row = 0;
      for (auto& [sample, channels] : layers_[i].chosen) {
        for (auto& [channel, place] : channels) place = row++;
      }
      layers_[i].rows = at::zeros({row, plan_.units->layers()[i].size}, plan_.parameters[i].options());
    }
    const auto taps = std::make_shared<engine::detail::TapInserter>(plan_, inputs);
    taps->sink = [&](const visit::ParameterUse& use, const at::Tensor& dy) { take(use, dy); };
    const at::Tensor outputs =
        visit::OperatorObserver::observe(taps, [&] { return plan_.model.forward(inputs); });
    if (taps->uncovered.empty() && outputs.requires_grad())
      torch::autograd::backward({outputs}, {engine::seed(loss, outputs, targets).second});
    for (Found& layer : layers_) {
      const at::Tensor squares = layer.rows.to(at::kDouble).square().sum(1).cpu();
      layer.squares.assign(squares.const_data_ptr<double>(),
                           squares.const_data_ptr<double>() + squares.numel());
    }
    return taps->uncovered;
  }

  /// Channels of a layer that a trial chose, each once, and the rows of their gradients in of_layer().
  struct Chosen {
    std::vector<Index> channels, rows;
    double squares = 0.0;  ///< of all entries of these gradients
  };

  [[nodiscard]] std::map<std::size_t, Chosen> chosen_by(const Trial& trial) const {
    std::map<std::size_t, Chosen> all;
    for (const Index index : std::set<Index>(trial.units.begin(), trial.units.end())) {
      const Unit unit = plan_.units->unit(index);
      const auto number = static_cast<std::size_t>(unit.layer);
      const Index row = layers_[number].chosen.at(places_.at(trial.sample)).at(unit.channel);
      Chosen& chosen = all[number];
      chosen.channels.push_back(unit.channel);
      chosen.rows.push_back(row);
      chosen.squares += layers_[number].squares[static_cast<std::size_t>(row)];
    }
    return all;
  }

  [[nodiscard]] const at::Tensor& of_layer(std::size_t layer) const { return layers_[layer].rows; }

  std::vector<Index> samples;  ///< each once
  Index elements = 0;          ///< of all gradients

 private:
  struct Found {
    std::map<Index, std::map<Index, Index>> chosen;  // sample, channel, its row below
    at::Tensor rows;                                 // [chosen units of all samples, elements of a unit]
    std::vector<double> squares;
  };

  void take(const visit::ParameterUse& use, const at::Tensor& dy) {
    const Layer& layer = plan_.units->layers()[use.parameter];
    Found& found = layers_[use.parameter];
    for (const auto& [sample, channels] : found.chosen) {
      std::vector<Index> chosen;
      for (const auto& [channel, row] : channels) chosen.push_back(channel);
      const at::Tensor filters = at::tensor(chosen, at::kLong).to(dy.device());
      const at::Tensor x = use.input.narrow(0, sample, 1);
      at::Tensor of_chosen;
      const bool embedding = use.kind == visit::ParameterUse::Kind::embedding;
      if (use.groups == 1 && !use.transposed &&
          !embedding) {  // a filter's gradient needs its own part of dY alone
        std::vector<Index> shape = layer.shape;
        shape.front() = filters.numel();
        const Index axis = use.kind == visit::ParameterUse::Kind::linear ? -1 : 1;
        const at::Tensor own = dy.narrow(0, sample, 1).index_select(axis, filters);
        of_chosen = engine::weight_gradient(use, shape, x, own);
      } else {
        of_chosen = engine::weight_gradient(use, layer.shape, x, dy.narrow(0, sample, 1))
                        .view({layer.count, layer.size})
                        .index_select(0, filters);
      }
      // Several uses of one parameter add up.
      found.rows.narrow(0, channels.begin()->second, filters.numel())
          .add_(of_chosen.view({filters.numel(), layer.size}));
    }
  }

  const visit::Plan& plan_;
  std::vector<Found> layers_;
  std::map<Index, Index> places_;  // of the samples
};

/// Adds to each trial's rows of a layer's output what the trial's step changes there.
class Nudge final : public visit::OperatorObserver {
 public:
  /// @param trials  each with as many rows of the batch, one after the other
  Nudge(const visit::Plan& plan, const Slopes& slopes, double eta, std::span<const Trial* const> trials)
      : OperatorObserver(plan.parameters), plan_(plan), slopes_(slopes), layers_(plan.parameters.size()) {
    for (const Trial* const trial : trials) {
      auto chosen = slopes.chosen_by(*trial);
      double squares = 0.0;
      for (const auto& [layer, part] : chosen) squares += part.squares;
      const auto count = static_cast<Index>(trial->rows.size());
      const double factor = step_factor(eta, squares);
      for (auto& [layer, part] : chosen) layers_[layer].push_back({rows, count, factor, std::move(part)});
      rows += count;
    }
  }

  void on_use(visit::ParameterUse use, at::Tensor& output) override {
    if (use.transposed || use.kind == visit::ParameterUse::Kind::embedding || use.input.dim() == 0 ||
        use.input.size(0) != rows || output.size(0) != rows) {
      uncovered = "an output whose channels are not the units";
      return;
    }
    for (const Step& step : layers_[use.parameter]) {
      const at::Tensor x = use.input.narrow(0, step.first, step.count);
      at::Tensor y = output.narrow(0, step.first, step.count);
      const bool linear = use.kind == visit::ParameterUse::Kind::linear;
      const at::IntArrayRef shape = plan_.units->layers()[use.parameter].shape;
      const Index taps = linear ? 1 : c10::multiply_integers(shape.slice(2));
      const Index planes = std::max<Index>(1, block_elements / (taps * (linear ? 1 : x.numel() / x.size(1))));
      const auto chosen = static_cast<Index>(step.chosen.channels.size());
      const at::Tensor all_channels = at::tensor(step.chosen.channels, at::kLong).to(x.device());
      const at::Tensor all_rows = at::tensor(step.chosen.rows, at::kLong).to(x.device());
      for (Index begin = 0; begin < chosen; begin += planes) {
        const Index count = std::min(planes, chosen - begin);
        const at::Tensor channels = all_channels.narrow(0, begin, count);
        const at::Tensor slopes =
            slopes_.of_layer(use.parameter).index_select(0, all_rows.narrow(0, begin, count));
        const at::Tensor weights = (slopes.to(at::kDouble) * -step.factor).to(x.scalar_type());
        const at::Tensor change =
            linear ? at::matmul(x, weights.t())
                   : engine::convolve_filters(use, x, weights, channels, shape, y.sizes().slice(2));
        y.index_add_(linear ? -1 : 1, channels, change);
      }
    }
  }

  void on_batch_norm(const visit::BatchNormUse& use, at::Tensor& /*output*/) override {
    if (use.batch_statistics) uncovered = "batch norm over the batch";
  }

  void on_unknown(std::size_t /*parameter*/, const std::string& op) override { uncovered = op; }

  Index rows = 0;         ///< of the batch
  std::string uncovered;  ///< why rows cannot have weights of their own; empty: they can

 private:
  struct Step {
    Index first, count;  // rows
    double factor;
    Slopes::Chosen chosen;
  };

  static constexpr Index block_elements = Index{2} << 20U;  // of the products of one trial and layer

  const visit::Plan& plan_;
  const Slopes& slopes_;
  std::vector<std::vector<Step>> layers_;
};

/// @throws Error (shape, argument) for what outputs_fine_tuned_each says.
inline void check_trials(const visit::Plan& plan, const at::Tensor& inputs, const at::Tensor& targets,
                         std::span<const Trial> trials) {
  if (inputs.dim() == 0 || targets.sizes() != inputs.sizes().slice(0, 1)) {
    throw Error(ErrorCode::shape, "targets", "one for each of the inputs " + c10::str(inputs.sizes()),
                c10::str(targets.sizes()));
  }
  const auto check = [&](const char* place, Index row) {
    if (row >= 0 && row < inputs.size(0)) return;
    throw Error(ErrorCode::argument, place, "a row of the " + std::to_string(inputs.size(0)) + " inputs",
                std::to_string(row));
  };
  for (const Trial& trial : trials) {
    check("sample of a trial", trial.sample);
    for (const Index row : trial.rows) check("row of a trial", row);
    for (const Index unit : trial.units) std::ignore = plan.units->unit(unit);
    if (trial.rows.empty()) throw Error(ErrorCode::argument, "rows of a trial", "one or more", "none");
  }
}

/// Some trials that share forward and backward passes, or run one after the other.
template <Loss L>
class FineTuning {
 public:
  FineTuning(const visit::Plan& plan, const FineTune<L>& tune, const at::Tensor& inputs,
             const at::Tensor& targets, Index batch)
      : plan_(plan), tune_(tune), inputs_(inputs), targets_(targets), batch_(batch) {}

  /// Whether a unit is what makes a channel, and a row of the batch is a row throughout.
  [[nodiscard]] bool can_share() const {
    const auto by_channel = [](const Layer& layer) { return layer.count == layer.shape.front(); };
    if (!std::ranges::all_of(plan_.units->layers(), by_channel)) return false;
    const engine::GradientScope scope(plan_.model);
    return engine::detail::samples_are_first(plan_, rows({0, 0}));
  }

  /// @return outputs of each trial; none: these cannot share a pass
  [[nodiscard]] std::optional<std::vector<at::Tensor>> together(std::span<const Trial* const> trials,
                                                                Slopes& slopes) const {
    {
      const engine::GradientScope scope(plan_.model);
      const at::Tensor inputs = rows(slopes.samples);
      const at::Tensor targets = taken(targets_, slopes.samples).to(at::kCPU, at::kLong);
      if (!slopes.find(tune_.loss, inputs, targets).empty()) return std::nullopt;
    }
    std::vector<at::Tensor> all;
    while (all.size() < trials.size()) {
      const auto left = trials.subspan(all.size());
      std::vector<Index> wanted;
      std::size_t count = 0;
      for (; count < left.size(); ++count) {
        const std::vector<Index>& more = left[count]->rows;
        if (count > 0 && static_cast<Index>(wanted.size() + more.size()) > batch_) break;
        wanted.insert(wanted.end(), more.begin(), more.end());
      }
      const auto nudge = std::make_shared<Nudge>(plan_, slopes, tune_.eta, left.first(count));
      const at::Tensor outputs =
          visit::OperatorObserver::observe(nudge, [&] { return plan_.model.forward(rows(wanted)); });
      if (!nudge->uncovered.empty() || outputs.dim() == 0 || outputs.size(0) != nudge->rows)
        return std::nullopt;
      Index first = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const auto extent = static_cast<Index>(left[i]->rows.size());
        all.push_back(outputs.narrow(0, first, extent));
        first += extent;
      }
    }
    return all;
  }

  [[nodiscard]] std::vector<at::Tensor> one_by_one(std::span<const Trial* const> trials) const {
    std::vector<at::Tensor> all;
    std::vector<at::Tensor> slopes;
    for (std::size_t i = 0; i < trials.size(); ++i) {
      const Trial& trial = *trials[i];
      if (i == 0 || trial.sample != trials[i - 1]->sample) {
        slopes = gradients(plan_, tune_.loss, rows({trial.sample})[0], targets_[trial.sample].item<Index>());
      }
      Undo undo;
      tune_.step(plan_, slopes, trial.units, undo);
      all.push_back(plan_.model.forward(rows(trial.rows)));
    }
    return all;
  }

 private:
  [[nodiscard]] static at::Tensor taken(const at::Tensor& all, const std::vector<Index>& rows) {
    return all.index_select(0, at::tensor(rows, at::kLong).to(all.device()));
  }

  /// A copy of these inputs, where the model is, with their order of dimensions in memory.
  [[nodiscard]] at::Tensor rows(const std::vector<Index>& wanted) const {
    const at::Tensor copy = plan_.brought(taken(inputs_.detach(), wanted));
    return copy.contiguous(inputs_.suggest_memory_format());
  }

  const visit::Plan& plan_;
  const FineTune<L>& tune_;
  const at::Tensor& inputs_;
  const at::Tensor& targets_;
  Index batch_;
};

}  // namespace detail

/// What the model says of some rows after each of many steps of FineTune, without editing the weights: many
/// trials share one forward and one backward pass for their gradients, and one forward pass for their rows.
/// Equal to FineTune with a forward pass of the trial's rows, up to rounding.
///
/// With W_S <- W_S - eta * g_S / |g_S|_2 (section 3.2 of the paper) the chosen filters' outputs change by
/// conv(x, -eta * g_S / |g_S|_2), which is added to the trial's own rows of the batch. Trials on one sample
/// share its gradient where they come one after the other. A trial of more than an eighth of all units is
/// cheaper with the weights edited and restored, and is run so; so is every trial of a model whose samples
/// cannot be separated, or whose units are not channels.
/// @param plan     whose units they are, traced or not
/// @param inputs   [N, ...], of the model's dtype, on any device @param targets  [N] int64, classes
/// @param trials   with samples and rows below N
/// @param batch    samples of one gradient pass, and rows of one forward pass: at least those of one trial
/// @return [rows, classes] for each trial, without gradients
/// @throws Error (shape) when there is not one target for each input, Error (argument) for a sample, a row or
/// a unit that is not there, a trial without rows, and a batch below 1, Error (numeric) for a gradient that
/// is not finite.
template <Loss L>
[[nodiscard]] std::vector<at::Tensor> outputs_fine_tuned_each(
    const visit::Plan& plan, const FineTune<L>& tune, const at::Tensor& inputs, const at::Tensor& targets,
    std::span<const Trial> trials, Index batch = 32) {
  detail::check_trials(plan, inputs, targets, trials);
  if (batch < 1) throw Error(ErrorCode::argument, "batch", "1 or more", std::to_string(batch));
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  const detail::FineTuning<L> tuning(plan, tune, inputs, targets, batch);
  std::vector<at::Tensor> results(trials.size());
  const auto put = [&](std::span<const Trial* const> which, const std::vector<at::Tensor>& outputs) {
    for (std::size_t i = 0; i < which.size(); ++i)
      results[static_cast<std::size_t>(which[i] - trials.data())] = outputs[i];
  };
  constexpr Index most_elements = Index{1} << 24U;  // of the gradients that are kept at a time
  const Index few = trials.empty() || !tuning.can_share() ? -1 : plan.units->size() / 8;
  std::vector<const Trial*> large;
  for (auto trial = trials.begin(); trial != trials.end();) {
    detail::Slopes slopes(plan);
    std::vector<const Trial*> small;
    for (; trial != trials.end() && slopes.elements < most_elements &&
           static_cast<Index>(slopes.samples.size()) < batch;
         ++trial) {
      const bool shares = static_cast<Index>(trial->units.size()) <= few;
      (shares ? small : large).push_back(&*trial);
      if (shares) slopes.choose(*trial);
    }
    if (small.empty()) continue;
    const auto outputs = tuning.together(small, slopes);
    put(small, outputs ? *outputs : tuning.one_by_one(small));
  }
  put(large, tuning.one_by_one(large));
  return results;
}

}  // namespace culprit::intervene
