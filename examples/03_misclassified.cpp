// SPDX-License-Identifier: MIT
//
// Are filters more salient where a network is wrong? The paper's Figure 2: standardized profiles, averaged
// over the misclassified and over the correctly classified samples of a data set.
//
//   example_03_misclassified NAME WEIGHTS.safetensors DATA PRESET OUT
//   example_03_misclassified resnet20 resnet20.safetensors folder:cifar10/test cifar10 results
//
// Writes OUT/misclassified_NAME.csv (a row for each layer) and OUT/misclassified_NAME.svg.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "culprit/culprit.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/csv.hpp"
#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "data/preprocess.hpp"
#include "figures/profile_figure.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"

namespace {

using culprit::Index;

/// Samples of one kind: the mean of their raw profiles, and of each one's mean z in every layer.
struct Group {
  std::string name;
  culprit::Moments raw;
  culprit::Moments layer_z;

  /// Half of the 95 % confidence interval of the mean z of each layer.
  [[nodiscard]] Eigen::VectorXd half_interval() const {
    return 1.96 * layer_z.stddev() / std::sqrt(static_cast<double>(layer_z.count()));
  }
};

/// What the pass over the data set keeps of a batch: 4 bytes for each sample and unit.
struct RawBatch {
  torch::Tensor profiles;  ///< [B, units]
  torch::Tensor wrong;     ///< [B], bool
};

torch::Tensor rows_where(const RawBatch& batch, bool wrong) {
  return batch.profiles.index({wrong ? batch.wrong : batch.wrong.logical_not()});
}

/// Mean of z over the live units of each layer, for each sample: [n, layers]. 0 for a layer without live
/// units.
culprit::RowMatrix mean_z_by_layer(const culprit::RowMatrix& raw, const culprit::Baseline& baseline) {
  const auto& layers = baseline.units().layers();
  const culprit::standardize::ZScore z_score;
  culprit::RowMatrix result = culprit::RowMatrix::Zero(raw.rows(), static_cast<Index>(layers.size()));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Index live = 0;
    for (Index unit = layers[i].first; unit < layers[i].end(); ++unit) {
      const culprit::UnitStatistics usual = baseline.statistics(unit);
      if (usual.stddev <= culprit::dead_stddev) continue;
      ++live;
      for (Index row = 0; row < raw.rows(); ++row) {
        result(row, static_cast<Index>(i)) += z_score(raw(row, unit), usual);
      }
    }
    if (live > 0) result.col(static_cast<Index>(i)) /= static_cast<double>(live);
  }
  return result;
}

void write_table(const std::filesystem::path& path, const culprit::Baseline& baseline, const Group& wrong,
                 const Group& right) {
  culprit::io::write_atomically(path, [&](std::ostream& out) {
    culprit::io::CsvWriter table(out, {"layer", "filters", "dead", "z_misclassified",
                                       "half_interval_misclassified", "z_correct", "half_interval_correct"});
    const std::vector<Index> dead = baseline.dead();
    const auto& layers = baseline.units().layers();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto at = static_cast<Index>(i);
      const auto within = [&](Index unit) { return unit >= layers[i].first && unit < layers[i].end(); };
      table.row(layers[i].name, layers[i].count, std::count_if(dead.begin(), dead.end(), within),
                wrong.layer_z.mean()[at], wrong.half_interval()[at], right.layer_z.mean()[at],
                right.half_interval()[at]);
    }
  });
}

void write_figure(const std::filesystem::path& path, const std::string& title,
                  const culprit::Baseline& baseline, const std::vector<const Group*>& groups) {
  std::vector<culprit::figures::LayerSpan> layers;
  for (const culprit::Layer& layer : baseline.units().layers()) {
    layers.push_back(
        {layer.name, static_cast<std::size_t>(layer.first), static_cast<std::size_t>(layer.count)});
  }
  const culprit::Profiler profiler;
  std::vector<culprit::Profile> profiles;
  std::vector<Eigen::VectorXd> bounds;
  std::vector<culprit::figures::Series> series;
  profiles.reserve(groups.size());
  bounds.reserve(2 * groups.size());
  const auto span = [](const Eigen::VectorXd& values) {
    return std::span<const double>(values.data(), static_cast<std::size_t>(values.size()));
  };
  for (const Group* group : groups) {
    // z is an affine function of the raw profile, so the mean of z is the z of the mean.
    profiles.push_back(
        profiler.standardize(culprit::Profile(baseline.shared_units(), group->raw.mean()), baseline));
    const Eigen::VectorXd& mean = group->layer_z.mean();
    const auto& lower = bounds.emplace_back(mean - group->half_interval());
    const auto& upper = bounds.emplace_back(mean + group->half_interval());
    series.push_back({group->name, span(profiles.back().values()), span(lower), span(upper)});
  }
  culprit::figures::ProfileOptions options;
  options.title = title;
  options.value_name = "Mean of z over the samples; band: 95 % confidence interval of the layer's mean";
  for (const Index unit : baseline.dead()) options.left_out.push_back(static_cast<std::size_t>(unit));
  options.left_out_name = "dead filters left out";
  culprit::io::write_atomically(
      path, [&](std::ostream& out) { out << culprit::figures::layer_profile_svg(layers, series, options); });
}

void run(const std::string& name, const std::string& weights, const std::string& data,
         const std::string& preset, const std::filesystem::path& folder) {
  const auto model = culprit::zoo::make_model(name);
  culprit::zoo::load_weights(*model, weights);
  const auto set = culprit::data::open_dataset(data);
  const auto preprocess = culprit::data::Preprocess::preset(preset);
  culprit::data::Loader loader(*set, preprocess, {.batch = 64});

  const culprit::Profiler profiler;
  const culprit::visit::Plan plan = profiler.plan(*model);
  const Index units = plan.units->size();
  const auto layers = static_cast<Index>(plan.units->layers().size());
  Group wrong{"misclassified", culprit::Moments(units), culprit::Moments(layers)};
  Group right{"correct", culprit::Moments(units), culprit::Moments(layers)};

  const auto start = std::chrono::steady_clock::now();
  std::vector<RawBatch> batches;
  for (const culprit::data::Batch& batch : loader) {
    const auto result = profiler.batch(plan, batch.inputs, batch.labels);
    batches.push_back({result.profiles, result.outputs.argmax(1) != batch.labels});
    for (Group* group : {&wrong, &right}) {
      group->raw.add(culprit::to_matrix(rows_where(batches.back(), group == &wrong)));
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

  culprit::Moments all = wrong.raw;
  all.merge(right.raw);
  const culprit::Baseline baseline(plan.units, std::move(all),
                                   profiler.fingerprint(plan, preprocess.description()));
  for (const RawBatch& batch : batches) {
    for (Group* group : {&wrong, &right}) {
      group->layer_z.add(mean_z_by_layer(culprit::to_matrix(rows_where(batch, group == &wrong)), baseline));
    }
  }

  std::filesystem::create_directories(folder);
  write_table(folder / ("misclassified_" + name + ".csv"), baseline, wrong, right);
  write_figure(folder / ("misclassified_" + name + ".svg"),
               name + ": mean standardized saliency where it is wrong and where it is right", baseline,
               {&wrong, &right});
  std::cout << name << ": " << right.raw.count() << " right, " << wrong.raw.count() << " wrong, "
            << baseline.dead().size() << " dead filters of " << units << ", " << std::lround(seconds.count())
            << " s\n";
}

}  // namespace

int main(int argc, char* argv[]) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 5) {
    std::cerr << "usage: example_03_misclassified NAME WEIGHTS.safetensors DATA PRESET OUT\n";
    return 2;
  }
  try {
    run(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]);
  } catch (const std::exception& error) {
    std::cerr << "example_03_misclassified: " << error.what() << '\n';
    return 1;
  }
}
