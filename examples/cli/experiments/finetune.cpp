// SPDX-License-Identifier: MIT
//
// The paper's Figure 6: one step on the filters to blame for a wrong sample, and what it does to other wrong
// samples with the same culprits.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include "cli/experiments/effect.hpp"
#include "cli/experiments/experiment.hpp"
#include "cli/experiments/mistakes.hpp"
#include "cli/experiments/trend_picture.hpp"
#include "culprit/core/order.hpp"
#include "culprit/intervene/fine_tune.hpp"
#include "culprit/neighbors.hpp"

namespace culprit::cli {

namespace {

constexpr Index nearest = 10;

/// What steps with one choice of filters did to a trial's sample and to its neighbours: the share corrected,
/// and of the neighbours the share corrected and the change of the true class's confidence.
using StepEffect = std::array<double, 3>;

/// Trials on some of the wrong samples, with neighbours among the others.
class Trials {
 public:
  explicit Trials(const Study& study)
      : session_(study.session()), mistakes_(study), inputs_(mistakes_.inputs(study)) {
    const auto count = static_cast<Index>(mistakes_.verdicts.size());
    const std::vector<Index> everything = first_indices(count);
    own_ = drawn(everything, count / 2, study.seed());
    std::vector<Index> others;
    std::ranges::set_difference(everything, own_, std::back_inserter(others));
    if (count < 2 * nearest) {
      throw Error(ErrorCode::argument, "experiment", std::to_string(2 * nearest) + " wrong samples or more",
                  std::to_string(count));
    }
    const auto found = Neighbors{}(mistakes_.rows().subset(own_), mistakes_.rows(),
                                   {.k = nearest, .among = others, .leave_out = {}});
    for (std::size_t i = 0; i < own_.size(); ++i) {
      std::vector<Index> rows{own_[i]};
      for (const Neighbor& neighbor : found[i]) rows.push_back(neighbor.index);
      rows_.push_back(torch::tensor(rows, torch::kLong));
    }
  }

  [[nodiscard]] std::size_t size() const { return own_.size(); }
  [[nodiscard]] std::size_t others() const { return mistakes_.verdicts.size() - own_.size(); }
  [[nodiscard]] std::size_t sample(std::size_t trial) const { return verdict(trial).sample; }

  [[nodiscard]] std::vector<Index> ranking(std::size_t trial) const {
    const Profile& z = mistakes_.profiles[static_cast<std::size_t>(own_[trial])];
    return z.ranked(first_indices(z.size()), z.size(), Order::largest_first);
  }

  [[nodiscard]] std::vector<torch::Tensor> gradients(std::size_t trial) const {
    return intervene::gradients(session_.plan(), loss::CrossEntropy{}, session_.on_device(input(trial)),
                                verdict(trial).label);
  }

  /// One step with these gradients on these filters; the effect is added with that weight.
  void step(std::size_t trial, const std::vector<torch::Tensor>& gradients, const std::vector<Index>& units,
            double eta, double weight, StepEffect& effect) const {
    torch::Tensor after;
    {
      intervene::Undo undo;
      const intervene::FineTune<> tune{.eta = eta, .loss = {}};
      tune.step(session_.plan(), gradients, units, undo);
      const torch::NoGradGuard no_grad;
      after = session_.plan().model.forward(session_.on_device(inputs_.index_select(0, rows_[trial]))).cpu();
    }
    const torch::Tensor before = mistakes_.outputs.index_select(0, rows_[trial]);
    const torch::Tensor labels = this->labels(trial);
    const torch::Tensor right = after.argmax(1).eq(labels).to(torch::kFloat64);
    effect[0] += weight * right[0].item<double>();
    effect[1] += weight * right.slice(0, 1).mean().item<double>();
    effect[2] +=
        weight * (confidence(after, labels) - confidence(before, labels)).slice(0, 1).mean().item<double>();
  }

 private:
  [[nodiscard]] const Verdict& verdict(std::size_t trial) const {
    return mistakes_.verdicts[static_cast<std::size_t>(own_[trial])];
  }
  [[nodiscard]] torch::Tensor input(std::size_t trial) const { return inputs_[own_[trial]]; }
  [[nodiscard]] torch::Tensor labels(std::size_t trial) const {
    std::vector<Index> labels;
    for (Index i = 0; i < rows_[trial].numel(); ++i) {
      labels.push_back(mistakes_.verdicts[static_cast<std::size_t>(rows_[trial][i].item<Index>())].label);
    }
    return torch::tensor(labels, torch::kLong);
  }

  const Session& session_;
  Mistakes mistakes_;
  torch::Tensor inputs_;             // of them
  std::vector<Index> own_;           // places among the mistakes
  std::vector<torch::Tensor> rows_;  // of each trial: its own place, then its neighbours'
};

/// The smallest of 0.001, 0.002, 0.004, ... whose step on all filters corrects at least half of some trials.
/// @throws Error (argument) when none below 10 does
double chosen_eta(const Trials& trials, const std::vector<Index>& everything, std::size_t pilots) {
  for (double eta = 1e-3; eta < 10.0; eta *= 2.0) {
    StepEffect effect{};
    for (std::size_t trial = 0; trial < pilots; ++trial)
      trials.step(trial, trials.gradients(trial), everything, eta, 1.0, effect);
    if (effect[0] >= 0.5 * static_cast<double>(pilots)) return eta;
  }
  throw Error(ErrorCode::argument, "--eta",
              "a length, for no step below 10 on all filters corrects half of the first " +
                  std::to_string(pilots) + " trials",
              "none");
}

}  // namespace

Results finetune_experiment(const Study& study) {
  const Options& options = study.options();
  const Index all = study.session().units().size();
  const std::vector<Index> everything = first_indices(all);
  std::vector<Index> shares;
  for (const double share : {0.0, 0.005, 0.01, 0.02, 0.05, 0.1})
    shares.push_back(std::llround(share * static_cast<double>(all)));
  const std::vector<Index> sizes = study.sizes(shares);

  const Trials trials(study);
  const std::size_t pilots = std::min<std::size_t>(trials.size(), 50);
  Stage choice = study.stage("eta", "length of the step", 1);
  if (choice.done() == 0)
    choice.put(torch::full({1}, options.eta > 0.0 ? options.eta : chosen_eta(trials, everything, pilots),
                           torch::kFloat64));
  const auto eta = choice.all().item<double>();

  constexpr std::array<const char*, 3> selections{"most", "random", "least"};
  Stage stage = study.stage("trials", "finetune", trials.size());
  for (std::size_t trial = stage.done(); trial < trials.size(); ++trial) {
    std::vector<StepEffect> effects(selections.size() * sizes.size() + 1);  // the last: of all filters
    const auto effect_of = [&](std::size_t selection, std::size_t k) -> StepEffect& {
      return effects[selection * sizes.size() + k];
    };
    const std::vector<torch::Tensor> gradients = trials.gradients(trial);
    const std::vector<Index> order = trials.ranking(trial);
    const auto step = [&](const std::vector<Index>& units, double weight, StepEffect& effect) {
      trials.step(trial, gradients, units, eta, weight, effect);
    };
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      step({order.begin(), order.begin() + sizes[k]}, 1.0, effect_of(0, k));
      for (std::size_t repeat = 0; repeat < options.repeats; ++repeat) {
        const std::uint64_t seed = study.seed_of(trials.sample(trial), repeat * sizes.size() + k);
        step(drawn(everything, sizes[k], seed), 1.0 / static_cast<double>(options.repeats), effect_of(1, k));
      }
      step({order.end() - sizes[k], order.end()}, 1.0, effect_of(2, k));
    }
    step(everything, 1.0, effects.back());
    stage.put(torch::from_blob(effects.data(), {1, static_cast<Index>(effects.size()), 3}, torch::kFloat64)
                  .clone());
  }
  const torch::Tensor effects = stage.all();

  Results results{.name = "finetune", .table = {}, .facts = {}, .pictures = {}};
  results.table.columns = {"selection",
                           "k",
                           "samples",
                           "corrected",
                           "corrected_low",
                           "corrected_high",
                           "neighbors_corrected",
                           "neighbors_corrected_low",
                           "neighbors_corrected_high",
                           "neighbors_true_change",
                           "neighbors_true_low",
                           "neighbors_true_high"};
  const auto add_row = [&](const char* selection, Index k, std::size_t effect) {
    std::vector<io::Json> row{selection, k, trials.size()};
    for (Index number = 0; number < 3; ++number) {
      const torch::Tensor values =
          effects.select(1, static_cast<Index>(effect)).select(1, number).contiguous();
      const auto* const first = values.const_data_ptr<double>();
      append(row, study.interval({first, first + values.numel()}));
    }
    results.table.rows.push_back(std::move(row));
  };
  for (std::size_t selection = 0; selection < selections.size(); ++selection) {
    for (std::size_t k = 0; k < sizes.size(); ++k)
      add_row(selections[selection], sizes[k], selection * sizes.size() + k);
  }
  add_row("all", all, selections.size() * sizes.size());
  results.facts = {
      {"samples", study.verdicts().size()},
      {"wrong", trials.size() + trials.others()},
      {"trials", trials.size()},
      {"neighbours",
       std::to_string(nearest) + " nearest of the " + std::to_string(trials.others()) + " others"},
      {"filters", all},
      {"eta", eta},
      {"eta by", options.eta > 0.0 ? std::string("--eta")
                                   : "the smallest of 0.001, 0.002, 0.004, ... whose step on all filters "
                                     "corrects half of the first " +
                                         std::to_string(pilots) + " trials"},
      {"random draws", options.repeats}};
  const auto picture = [&](const std::string& value, const std::string& stem, const std::string& file,
                           const std::string& title, const std::string& what) {
    return trend_picture(
        results.table, {"k", value, stem + "_low", stem + "_high"}, file,
        {.title = title, .value_name = what, .position_name = "filters changed", .percent = true}, {"all"});
  };
  results.pictures = {
      picture("corrected", "corrected", "finetune-corrected", "Wrong samples corrected by one step",
              "share of samples then right"),
      picture("neighbors_corrected", "neighbors_corrected", "finetune-neighbors",
              "Nearest neighbours corrected by the same step", "share of the 10 nearest then right"),
      picture("neighbors_true_change", "neighbors_true", "finetune-true-class",
              "Nearest neighbours' confidence in their true class after the step", "change of confidence")};
  return results;
}

}  // namespace culprit::cli
