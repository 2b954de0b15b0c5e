// SPDX-License-Identifier: MIT
//
// The paper's Figures 7 and 8: what replacing the pixels that drive the filters to blame does to samples that
// the model gets wrong.
#include "culprit/intervene/mask.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "cli/experiments/case_study.hpp"
#include "cli/experiments/effect.hpp"
#include "cli/experiments/experiment.hpp"
#include "cli/experiments/masking.hpp"
#include "cli/experiments/trend_picture.hpp"
#include "figures/axis.hpp"

namespace culprit::cli {

namespace {

using intervene::Pixels;

constexpr std::array masked{"salient", "random"};

/// What one selection of pixels did, at one share of them.
struct Change {
  Effect effect;
  std::vector<double> saliency;  ///< of the filters to blame: mean z after minus before

  explicit Change(std::size_t samples) : effect(samples), saliency(samples) {}

  static constexpr Index numbers = Effect::numbers + 1;

  /// From what rows() gave.
  explicit Change(const torch::Tensor& rows) : effect(rows) {
    for (Index i = 0; i < rows.size(0); ++i) saliency.push_back(rows[i][Effect::numbers].item<double>());
  }

  /// [samples, numbers], float64.
  [[nodiscard]] torch::Tensor rows() const {
    return torch::cat({effect.rows(), torch::tensor(saliency, torch::kFloat64).unsqueeze(1)}, 1);
  }
};

/// The sample that is wrong with the most confidence.
struct Case {
  std::size_t sample = 0;
  double confidence = 0;
};

/// Effects by selection and share.
struct Changes {
  std::vector<std::vector<Change>> all;
  Case surest;
};

Changes measure(const Study& study, const Masking& masking, const std::vector<std::size_t>& mistakes) {
  const Session& session = study.session();
  const std::size_t shares = masking.shares().size();
  Stage stage = study.stage("mask", "mask", mistakes.size());
  for (const data::Batch& batch : session.loader(stage.left_of(mistakes))) {
    const Before before = masking.look_at(batch);
    const auto add = [&](Change& change, std::size_t selection, std::size_t share, std::size_t repeat,
                         double weight) {
      const Pixels pixels = selection == 0 ? Pixels::most_salient : Pixels::random;
      const engine::BatchResult result =
          session.profile(masking.masked(batch, before, share, pixels, repeat));
      change.effect.add(weight, before.outputs, result.outputs.cpu(), batch.labels);
      const std::vector<Profile> z = study.profiles(result);
      for (std::size_t i = 0; i < z.size(); ++i)
        change.saliency[i] += weight * (mean_of(z[i], before.filters[i]) - before.saliency[i]);
    };
    std::vector<torch::Tensor> columns;  // by share and selection, then the confidence before
    for (std::size_t share = 0; share < shares; ++share) {
      Change salient(batch.indices.size()), random(batch.indices.size());
      add(salient, 0, share, 0, 1.0);
      const std::size_t repeats = study.options().repeats;
      for (std::size_t repeat = 0; repeat < repeats; ++repeat)
        add(random, 1, share, repeat, 1.0 / static_cast<double>(repeats));
      columns.push_back(salient.rows());
      columns.push_back(random.rows());
    }
    columns.push_back(confidence(before.outputs, before.outputs.argmax(1)).unsqueeze(1));
    stage.put(torch::cat(columns, 1));
  }
  const torch::Tensor rows = stage.all();
  Changes changes;
  changes.all.resize(masked.size());
  for (std::size_t i = 0; i < shares * masked.size(); ++i) {
    changes.all[i % masked.size()].emplace_back(
        rows.narrow(1, static_cast<Index>(i) * Change::numbers, Change::numbers));
  }
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    const auto value = rows[static_cast<Index>(i)][-1].item<double>();
    if (value > changes.surest.confidence) changes.surest = {mistakes[i], value};
  }
  return changes;
}

void fill_table(Table& table, const Study& study, const std::vector<double>& shares,
                const std::vector<std::vector<Change>>& changes) {
  table.columns = {"selection",     "share",          "samples",         "wrong_change", "wrong_low",
                   "wrong_high",    "true_change",    "true_low",        "true_high",    "corrected",
                   "corrected_low", "corrected_high", "saliency_change", "saliency_low", "saliency_high",
                   "wrong_t",       "wrong_p",        "true_t",          "true_p"};
  for (std::size_t selection = 0; selection < masked.size(); ++selection) {
    for (std::size_t share = 0; share < shares.size(); ++share) {
      const Change& change = changes[selection][share];
      std::vector<io::Json> row{masked[selection], shares[share], change.saliency.size()};
      for (const auto* values : {&change.effect.wrong_change, &change.effect.true_change,
                                 &change.effect.corrected, &change.saliency})
        append(row, study.interval(*values));
      const Effect& salient = changes[0][share].effect;
      const Effect& random = changes[1][share].effect;
      for (const TTest& test : {paired_t_test(salient.wrong_change, random.wrong_change),
                                paired_t_test(salient.true_change, random.true_change)}) {
        row.push_back(std::isfinite(test.t) ? io::Json(test.t) : io::Json("infinite"));
        row.emplace_back(test.p);
      }
      table.rows.push_back(std::move(row));
    }
  }
}

std::vector<Picture> trends(const Table& table) {
  const auto picture = [&](const std::string& value, const std::string& stem, const std::string& title,
                           const std::string& what, bool percent) {
    return trend_picture(table, {"share", value, stem + "_low", stem + "_high"}, "mask-" + stem,
                         {.title = title,
                          .value_name = what,
                          .position_name = "share of all pixels that is replaced",
                          .spacing = figures::Spacing::linear,
                          .percent = percent});
  };
  return {picture("wrong_change", "wrong", "Confidence in the wrong class with pixels replaced",
                  "change of confidence in the class that was predicted", true),
          picture("true_change", "true", "Confidence in the true class with pixels replaced",
                  "change of confidence in the true class", true),
          picture("corrected", "corrected", "Wrong samples corrected by replacing pixels",
                  "share of samples then right", true),
          picture("saliency_change", "saliency", "Saliency of the filters to blame with pixels replaced",
                  "change of their mean z, in standard deviations", false)};
}

}  // namespace

Results mask_experiment(const Study& study) {
  const Options& options = study.options();
  const std::vector<std::size_t> mistakes = study.mistakes();
  if (mistakes.size() < 2)
    throw Error(ErrorCode::argument, "experiment", "two wrong samples or more, to test", "one");
  const Masking masking(study);
  const Changes changes = measure(study, masking, mistakes);

  Results results{.name = "mask", .table = {}, .facts = {}, .pictures = {}};
  fill_table(results.table, study, masking.shares(), changes.all);
  results.pictures = trends(results.table);
  const auto has_box = [&](std::size_t sample) { return study.session().box(sample).has_value(); };
  results.facts = {{"samples", study.verdicts().size()},
                   {"wrong", mistakes.size()},
                   {"with a box", std::ranges::count_if(mistakes, has_box)},
                   {"filters", options.filters},
                   {"boost", options.boost},
                   {"random draws", options.repeats}};
  const CaseStudy one(study, masking, changes.surest.sample);
  one.show_steps(results);
  one.paste(results);
  return results;
}

}  // namespace culprit::cli
