// SPDX-License-Identifier: MIT
//
// Section 3.3 of the paper, over a data set: do wrong samples with the same culprits share their confusion?
#include "culprit/neighbors.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "cli/experiments/effect.hpp"
#include "cli/experiments/experiment.hpp"
#include "cli/experiments/mistakes.hpp"
#include "cli/experiments/trend_picture.hpp"

namespace culprit::cli {

Results neighbors_experiment(const Study& study) {
  const Mistakes mistakes(study);
  const auto count = static_cast<Index>(mistakes.verdicts.size());
  if (count < 2) throw Error(ErrorCode::argument, "experiment", "at least two wrong samples", "one");
  const auto layers = static_cast<Index>(study.session().units().layers().size());
  std::vector<Index> sizes{1, 2, 5, 10, 20, 50};
  std::erase_if(sizes, [&](Index k) { return k >= count; });

  std::vector<Index> own(mistakes.verdicts.size());
  for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<Index>(i);
  const auto same = [](const Verdict& a, const Verdict& b) {
    return a.label == b.label && a.predicted == b.predicted;
  };
  const auto reversed = [](const Verdict& a, const Verdict& b) {
    return a.label == b.predicted && a.predicted == b.label;
  };

  std::vector<double> chance_same, chance_reversed;
  for (const Verdict& a : mistakes.verdicts) {
    const auto share = [&](const auto& related, Index itself) {
      const auto found =
          std::ranges::count_if(mistakes.verdicts, [&](const Verdict& b) { return related(a, b); });
      return static_cast<double>(found - itself) / static_cast<double>(count - 1);
    };
    chance_same.push_back(share(same, 1));
    chance_reversed.push_back(share(reversed, 0));
  }

  Results results{.name = "neighbors", .table = {}, .facts = {}, .pictures = {}};
  results.table.columns = {"layers",        "k",         "samples",    "same",
                           "same_low",      "same_high", "reversed",   "reversed_low",
                           "reversed_high", "either",    "either_low", "either_high"};
  const auto add_row = [&](const std::string& name, Index k, const std::vector<double>& of_same,
                           const std::vector<double>& of_reversed) {
    std::vector<io::Json> row{name, k, count};
    std::vector<double> either;
    for (std::size_t i = 0; i < of_same.size(); ++i) either.push_back(of_same[i] + of_reversed[i]);
    for (const std::vector<double>* values : {&of_same, &of_reversed, &std::as_const(either)}) {
      append(row, study.interval(*values));
    }
    results.table.rows.push_back(std::move(row));
  };
  const std::vector<std::pair<std::string, select::LayerRange>> ranges{
      {"all", {}}, {"shallow", {.end = (layers + 1) / 2}}, {"deep", {.first = (layers + 1) / 2}}};
  for (const auto& [name, range] : ranges) {
    if (layers < 2 && name != "all") continue;
    const auto found = Neighbors(distance::Cosine{}, range)(
        mistakes.rows(), mistakes.rows(), {.k = sizes.back(), .among = {}, .leave_out = own});
    for (const Index k : sizes) {
      std::vector<double> of_same, of_reversed;
      for (std::size_t i = 0; i < found.size(); ++i) {
        double as = 0.0;
        double back = 0.0;
        for (Index n = 0; n < k; ++n) {
          const Verdict& other =
              mistakes.verdicts[static_cast<std::size_t>(found[i][static_cast<std::size_t>(n)].index)];
          as += same(mistakes.verdicts[i], other) ? 1.0 : 0.0;
          back += reversed(mistakes.verdicts[i], other) ? 1.0 : 0.0;
        }
        of_same.push_back(as / static_cast<double>(k));
        of_reversed.push_back(back / static_cast<double>(k));
      }
      add_row(name, k, of_same, of_reversed);
    }
  }
  for (const Index k : sizes) add_row("chance", k, chance_same, chance_reversed);
  const std::string& middle =
      study.session().units().layers()[static_cast<std::size_t>((layers - 1) / 2)].name;
  results.facts = {{"samples", study.verdicts().size()}, {"wrong", count}, {"shallow", "up to " + middle}};
  results.pictures = {trend_picture(
      results.table, {"k", "either", "either_low", "either_high"}, "neighbors-pairs",
      {.title = "Nearest neighbours with the same or the reversed pair of true and predicted class",
       .value_name = "share of the k nearest wrong samples",
       .position_name = "k nearest neighbours",
       .percent = true})};
  return results;
}

}  // namespace culprit::cli
