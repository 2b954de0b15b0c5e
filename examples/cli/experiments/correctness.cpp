// SPDX-License-Identifier: MIT
//
// The paper's Figures 1 and 2: mean profiles, raw and standardized, of samples that the model gets right and
// wrong.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/checkpoints.hpp"
#include "cli/experiments/effect.hpp"
#include "cli/experiments/experiment.hpp"
#include "cli/progress.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/safetensors.hpp"
#include "figures/profile_figure.hpp"

namespace culprit::cli {

namespace {

/// The units of each layer that some sample of the baseline moves.
std::vector<std::vector<Index>> live_units(const Baseline& baseline) {
  const std::vector<Index> dead = baseline.dead();
  std::vector<std::vector<Index>> live;
  for (const Layer& layer : baseline.units().layers()) {
    live.emplace_back();
    for (Index unit = layer.first; unit < layer.end(); ++unit) {
      if (!std::ranges::binary_search(dead, unit)) live.back().push_back(unit);
    }
  }
  return live;
}

/// Profiles of one kind of some samples: their mean, and the mean over each layer's live units of each
/// sample.
struct OutcomeGroup {
  const std::vector<std::vector<Index>>& live;
  Eigen::VectorXd sum;
  std::vector<std::vector<double>> layer_means;  ///< [layers][samples]

  OutcomeGroup(const std::vector<std::vector<Index>>& live_units, Index units)
      : live(live_units), sum(Eigen::VectorXd::Zero(units)), layer_means(live_units.size()) {}

  void add(const Profile& profile) {
    sum += profile.values();
    for (std::size_t i = 0; i < layer_means.size(); ++i) {
      const Eigen::VectorXd values = values_of(profile.values(), live[i]);
      layer_means[i].push_back(values.size() == 0 ? 0.0 : values.mean());
    }
  }

  [[nodiscard]] RowMatrix means() const {
    RowMatrix means(static_cast<Index>(layer_means.size()), static_cast<Index>(samples()));
    for (Index layer = 0; layer < means.rows(); ++layer) {
      for (Index sample = 0; sample < means.cols(); ++sample)
        means(layer, sample) = layer_means[static_cast<std::size_t>(layer)][static_cast<std::size_t>(sample)];
    }
    return means;
  }

  [[nodiscard]] std::size_t samples() const { return layer_means.front().size(); }
  [[nodiscard]] Eigen::VectorXd mean() const { return sum / static_cast<double>(samples()); }
};

constexpr std::array<const char*, 2> group_names{"correct", "wrong"};
constexpr std::array<const char*, 2> kinds{"raw", "z"};

/// Right and wrong samples, raw and standardized.
using Groups = std::array<std::array<OutcomeGroup, 2>, 2>;

/// @param save  takes the tensors of a checkpoint
template <class Save>
void save_groups(const Groups& groups, const Save& save) {
  std::array<RowMatrix, 4> means;
  Checkpoints::Tensors tensors;
  for (std::size_t i = 0; i < means.size(); ++i) {
    const OutcomeGroup& group = groups[i / 2][i % 2];
    means[i] = group.means();
    tensors.emplace_back("sum" + std::to_string(i), io::view_of(group.sum));
    tensors.emplace_back(
        "means" + std::to_string(i),
        io::view_of(std::span<const double>(means[i].data(), static_cast<std::size_t>(means[i].size())),
                    {means[i].rows(), means[i].cols()}));
  }
  save(tensors);
}

/// @throws Error for what save_groups cannot have given
void restore(Groups& groups, const io::Safetensors& checkpoint, std::size_t samples) {
  for (std::size_t i = 0; i < 4; ++i) {
    OutcomeGroup& group = groups[i / 2][i % 2];
    const std::string means_name = "means" + std::to_string(i);
    const Eigen::VectorXd sum = io::read_vector(checkpoint, "sum" + std::to_string(i), "checkpoint");
    const Eigen::VectorXd means = io::read_vector(checkpoint, means_name, "checkpoint");
    const std::vector<std::int64_t>& shape = checkpoint.at(means_name).shape;
    if (sum.size() != group.sum.size() || shape.size() != 2 ||
        shape[0] != static_cast<Index>(group.layer_means.size())) {
      throw Error(ErrorCode::shape, means_name, "a row for each layer", io::text_of(shape));
    }
    group.sum = sum;
    for (std::size_t layer = 0; layer < group.layer_means.size(); ++layer) {
      const Eigen::VectorXd values = means.segment(static_cast<Index>(layer) * shape[1], shape[1]);
      group.layer_means[layer].assign(values.begin(), values.end());
    }
  }
  const auto done = [&groups](std::size_t kind) {
    return groups[kind][0].samples() + groups[kind][1].samples();
  };
  if (done(0) > samples || groups[0][0].samples() != groups[1][0].samples() || done(0) != done(1)) {
    throw Error(ErrorCode::format, "means",
                "at most " + std::to_string(samples) + " samples, the same of each kind",
                std::to_string(done(0)) + " and " + std::to_string(done(1)));
  }
}

/// Both groups of one kind in one figure.
Picture draw(const Study& study, const std::array<OutcomeGroup, 2>& groups, bool standardized) {
  std::vector<figures::LayerSpan> layers;
  for (const Layer& layer : study.baseline().units().layers()) {
    layers.push_back(
        {layer.name, static_cast<std::size_t>(layer.first), static_cast<std::size_t>(layer.count)});
  }
  std::array<Eigen::VectorXd, 2> means;
  std::array<std::vector<double>, 2> low, high;
  std::vector<figures::Series> series;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    means[g] = groups[g].mean();
    for (const auto& values : groups[g].layer_means) {
      const Interval interval = study.interval(values);
      low[g].push_back(interval.low);
      high[g].push_back(interval.high);
    }
    figures::Series one{std::string(group_names[g]) + ", " + std::to_string(groups[g].samples()) + " samples",
                        {means[g].data(), static_cast<std::size_t>(means[g].size())}};
    if (standardized) {
      one.lower = low[g];
      one.upper = high[g];
    }
    series.push_back(std::move(one));
  }
  figures::ProfileOptions options;
  options.title = standardized ? "Mean standardized saliency of samples that are right and wrong"
                               : "Mean saliency of samples that are right and wrong";
  const Options& method = study.options();
  options.value_name = standardized ? "saliency by " + method.standardize
                                    : "saliency: " + method.aggregate + " of the loss's gradient";
  options.log = !standardized && method.aggregate != "mean";  // that one has values below 0
  for (const Index unit : study.baseline().dead()) options.left_out.push_back(static_cast<std::size_t>(unit));
  options.left_out_name = "dead filters, which no sample of the baseline moves, are left out";
  const auto svg = [&](double width) {
    options.width = width;
    return standardized ? figures::layer_profile_svg(layers, series, options)
                        : figures::profile_svg(layers, series, options);
  };
  return {standardized ? "correctness-standardized" : "correctness-raw", options.title, svg(960), svg(380)};
}

}  // namespace

Results correctness_experiment(const Study& study) {
  const Session& session = study.session();
  const Units& units = session.units();
  if (study.mistakes().size() == study.verdicts().size())
    throw Error(ErrorCode::argument, "experiment", "samples that the model gets right", "none");
  const std::vector<std::vector<Index>> live = live_units(study.baseline());
  const OutcomeGroup empty(live, units.size());
  Groups groups{{{empty, empty}, {empty, empty}}};
  const auto done = [&groups] { return groups[0][0].samples() + groups[0][1].samples(); };
  const std::vector<std::size_t>& samples = session.inputs().indices;
  Checkpoints checkpoints(Stage::folder_of(study.options()) / "profiles.safetensors", study.shared_job(),
                          false);
  checkpoints.load([&](const io::Safetensors& checkpoint) { restore(groups, checkpoint, samples.size()); });
  Progress progress("profile", samples.size(), done());
  for (const data::Batch& batch :
       session.loader({samples.begin() + static_cast<std::ptrdiff_t>(done()), samples.end()})) {
    const engine::BatchResult result = session.profile(batch);
    const RowMatrix raw = to_matrix(result.profiles);
    const std::vector<Profile> standardized = study.profiles(result);
    const torch::Tensor right = result.outputs.argmax(1).cpu().eq(batch.labels);
    for (std::size_t i = 0; i < standardized.size(); ++i) {
      const auto row = static_cast<Index>(i);
      const std::size_t group = right[row].item<bool>() ? 0 : 1;
      groups[0][group].add(Profile(session.shared_units(), row_of(raw, row)));
      groups[1][group].add(standardized[i]);
    }
    progress.update(done());
    checkpoints.offer(done(), [&](const auto& save) { save_groups(groups, save); });
  }

  Results results{.name = "correctness", .table = {}, .facts = {}, .pictures = {}};
  results.table.columns = {"group",   "layer",    "filters", "dead",  "samples", "raw",
                           "raw_low", "raw_high", "z",       "z_low", "z_high"};
  for (std::size_t g = 0; g < group_names.size(); ++g) {
    for (std::size_t i = 0; i < units.layers().size(); ++i) {
      const Layer& layer = units.layers()[i];
      const auto alive = static_cast<Index>(live[i].size());
      std::vector<io::Json> row{group_names[g], layer.name, layer.count, layer.count - alive,
                                groups[0][g].samples()};
      for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
        append(row, study.interval(groups[kind][g].layer_means[i]));
      }
      results.table.rows.push_back(std::move(row));
    }
  }
  results.facts = {{"samples", study.verdicts().size()}, {"wrong", groups[0][1].samples()}};
  results.pictures = {draw(study, groups[0], false), draw(study, groups[1], true)};
  return results;
}

}  // namespace culprit::cli
