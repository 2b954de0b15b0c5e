// SPDX-License-Identifier: MIT
//
// The paper's Figure 3: what switching filters off does to samples that the model gets wrong.
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "cli/experiments/effect.hpp"
#include "cli/experiments/experiment.hpp"
#include "cli/experiments/trend_picture.hpp"
#include "culprit/core/order.hpp"

namespace culprit::cli {

Results prune_experiment(const Study& study) {
  const Options& options = study.options();
  const Session& session = study.session();
  const Index all = session.units().size();
  const std::vector<std::size_t> mistakes = study.mistakes();
  const std::vector<Index> candidates = first_indices(all);
  const std::vector<Index> sizes = study.sizes({1, 2, 5, 10, 20, 30, 40, 50, 75, 100});

  constexpr std::array<const char*, 3> selections{"most", "random", "least"};
  Stage stage = study.stage("prune", "prune", mistakes.size());
  for (const data::Batch& batch : session.loader(stage.left_of(mistakes))) {
    const engine::BatchResult result = session.profile(batch);
    const torch::Tensor before = result.outputs.cpu();
    std::vector<std::vector<Index>> ranking;
    for (const Profile& z : study.profiles(result))
      ranking.push_back(z.ranked(candidates, all, Order::largest_first));
    std::vector<torch::Tensor> effects;  // by size and selection
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      const auto take = [&](std::size_t selection, std::size_t repeat) {
        std::vector<std::vector<Index>> units;
        for (std::size_t i = 0; i < ranking.size(); ++i) {
          const std::vector<Index>& order = ranking[i];
          if (selection == 0) units.emplace_back(order.begin(), order.begin() + sizes[k]);
          if (selection == 1) {
            units.push_back(
                drawn(candidates, sizes[k], study.seed_of(batch.indices[i], repeat * sizes.size() + k)));
          }
          if (selection == 2) units.emplace_back(order.end() - sizes[k], order.end());
        }
        return session.outputs_pruned_each(batch, units).cpu();
      };
      for (std::size_t selection = 0; selection < selections.size(); ++selection) {
        const std::size_t repeats = selection == 1 ? options.repeats : 1;
        Effect effect(batch.indices.size());
        for (std::size_t repeat = 0; repeat < repeats; ++repeat)
          effect.add(1.0 / static_cast<double>(repeats), before, take(selection, repeat), batch.labels);
        effects.push_back(effect.rows());
      }
    }
    stage.put(torch::stack(effects, 1));
  }
  const torch::Tensor effects = stage.all();

  Results results{.name = "prune", .table = {}, .facts = {}, .pictures = {}};
  results.table.columns = {"selection", "k",          "samples",       "wrong_change",
                           "wrong_low", "wrong_high", "true_change",   "true_low",
                           "true_high", "corrected",  "corrected_low", "corrected_high"};
  for (std::size_t selection = 0; selection < selections.size(); ++selection) {
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      std::vector<io::Json> row{selections[selection], sizes[k], mistakes.size()};
      const Effect effect(effects.select(1, static_cast<Index>(k * selections.size() + selection)));
      for (const auto* values : {&effect.wrong_change, &effect.true_change, &effect.corrected})
        append(row, study.interval(*values));
      results.table.rows.push_back(std::move(row));
    }
  }
  results.facts = {{"samples", study.verdicts().size()},
                   {"wrong", mistakes.size()},
                   {"filters", all},
                   {"random draws", options.repeats}};
  const auto picture = [&](const std::string& value, const std::string& stem, const std::string& title,
                           const std::string& what) {
    return trend_picture(
        results.table, {"k", value, stem + "_low", stem + "_high"}, "prune-" + stem,
        {.title = title, .value_name = what, .position_name = "filters switched off", .percent = true});
  };
  results.pictures = {
      picture("wrong_change", "wrong", "Confidence in the wrong class after pruning",
              "change of confidence in the class that was predicted"),
      picture("true_change", "true", "Confidence in the true class after pruning",
              "change of confidence in the true class"),
      picture("corrected", "corrected", "Wrong samples corrected by pruning", "share of samples then right")};
  return results;
}

}  // namespace culprit::cli
