// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/explained.hpp"
#include "cli/options.hpp"
#include "cli/outputs.hpp"
#include "cli/text.hpp"
#include "cli/trials.hpp"
#include "culprit/core/baseline.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/heat_map.hpp"
#include "culprit/input_saliency.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/csv.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/npy.hpp"
#include "data/classes.hpp"
#include "data/image.hpp"
#include "figures/colour_map.hpp"
#include "figures/enlarge.hpp"
#include "figures/heat_map_figure.hpp"
#include "figures/profile_figure.hpp"
#include "figures/report_page.hpp"

namespace culprit::cli {

/// How many units are called to blame.
inline constexpr Index blamed = 10;

/// One explained sample.
struct Explanation {
  std::string path;
  Index label = 0;
  Index prediction = 0;
  double loss = 0;
  std::vector<double> confidences;  ///< [classes], shares of 1
  data::Image picture;              ///< as the model saw it, before normalisation
  Profile raw;                      ///< Eq. 1
  InputGradient saliency;           ///< Eq. 2 to 4
  std::vector<Trial> trials;        ///< what changing its filters does
};

/// What the explanations of a run have in common.
struct ExplanationContext {
  const Options& options;
  const Baseline& baseline;
  const data::Classes& names;
  std::string preprocessing;
  std::optional<double> accuracy;  ///< over the baseline's samples, a share of 1, where its file has it
  std::size_t searched = 0;        ///< samples that these are the surest mistakes of; 0: they were named
  std::size_t mistakes = 0;        ///< of those
  HeatMap heat_map{};
};

namespace detail {

inline double confidence(const Explanation& sample, Index label) {
  return sample.confidences[static_cast<std::size_t>(label)];
}

/// Classes from the likeliest on.
inline std::vector<Index> by_confidence(const Explanation& sample) {
  return largest(sample.confidences, static_cast<Index>(sample.confidences.size()));
}

inline const Layer& layer_of(const Units& units, Index unit) {
  return units.layers()[static_cast<std::size_t>(units.unit(unit).layer)];
}

inline std::vector<std::size_t> indices(const std::vector<Index>& units) {
  return {units.begin(), units.end()};
}

}  // namespace detail

/// The table of one sample for a terminal.
inline void print(std::ostream& out, const Explanation& sample, const ExplanationContext& context) {
  const auto class_line = [&](std::string_view role, Index label) {
    out << "  " << padded(std::string(role), 12)
        << padded(context.names.name(label) + " (" + std::to_string(label) + ')', 28)
        << padded(figures::percent(detail::confidence(sample, label)), 8) << '\n';
  };
  out << sample.path << '\n';
  class_line("true", sample.label);
  class_line("predicted", sample.prediction);
  out << "  " << padded("loss", 12) << formatted("%.4g", sample.loss) << "\n\n";

  std::size_t width = 5;
  const std::vector<RankedUnit> top = sample.saliency.profile.top(blamed);
  for (const RankedUnit& unit : top) width = std::max(width, unit.layer.size());
  out << "  rank  " << padded("layer", width) << "  channel  " << padded("       z", 10)
      << padded("      raw", 12) << "batch norm\n";
  for (std::size_t i = 0; i < top.size(); ++i) {
    const RankedUnit& unit = top[i];
    const std::string& batch_norm = detail::layer_of(context.baseline.units(), unit.unit).batch_norm;
    out << formatted("  %4zu  ", i + 1) << padded(unit.layer, width)
        << formatted("  %7lld  ", static_cast<long long>(unit.channel)) << formatted("%8.2f  ", unit.value)
        << formatted("%9.2e   ", sample.raw[unit.unit]) << (batch_norm.empty() ? "-" : batch_norm) << '\n';
  }
}

namespace detail {

inline void write_csv(const std::filesystem::path& file, const Explanation& sample,
                      const Baseline& baseline) {
  io::write_atomically(file, [&](std::ostream& out) {
    io::CsvWriter table(out, {"unit", "layer", "channel", "raw", "mean", "std", "z"});
    for (Index k = 0; k < baseline.units().size(); ++k) {
      const UnitStatistics usual = baseline.statistics(k);
      table.row(k, layer_of(baseline.units(), k).name, baseline.units().unit(k).channel, sample.raw[k],
                usual.mean, usual.stddev, sample.saliency.profile[k]);
    }
  });
}

inline io::Json numbers(const Profile& profile) {
  return io::Json::array({profile.values().begin(), profile.values().end()});
}

inline std::string confusion(const Explanation& sample, const ExplanationContext& context) {
  const std::string truth = context.names.name(sample.label);
  return sample.label == sample.prediction ? truth + " (correct)"
                                           : context.names.name(sample.prediction) + " instead of " + truth;
}

/// The names of the boosted units, "layer:channel", the first few of many.
inline std::string boosted_names(const Explanation& sample, const Units& units) {
  constexpr std::size_t most = 10;
  const std::vector<Index>& boosted = sample.saliency.boosted;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, boosted.size()); ++i) {
    text += (i == 0 ? "" : ", ") + figures::short_name(layer_of(units, boosted[i]).name) + ':' +
            std::to_string(units.unit(boosted[i]).channel);
  }
  return boosted.size() > most ? text + ", ..." : text;
}

/// The scale of each sample's heat map: its own, or with --shared-scale that of all together.
inline std::vector<HeatScale> heat_scales(std::span<const Explanation> samples,
                                          const ExplanationContext& context) {
  std::vector<at::Tensor> saliencies;
  for (const Explanation& sample : samples) saliencies.push_back(pixel_saliency(sample.saliency.gradient));
  if (context.options.shared_scale) return {samples.size(), context.heat_map.scale(saliencies)};
  std::vector<HeatScale> scales;
  for (const at::Tensor& each : saliencies) scales.push_back(context.heat_map.scale({&each, 1}));
  return scales;
}

inline io::Json saliency_to_json(const Explanation& sample, const HeatScale& scale,
                                 const ExplanationContext& context) {
  const Options& options = context.options;
  const std::vector<Index>& boosted = sample.saliency.boosted;
  return io::Json::object({{"filters", options.filters},
                           {"boosted", io::Json::array({boosted.begin(), boosted.end()})},
                           {"with_z_above_0", sample.saliency.salient()},
                           {"boost", options.boost},
                           {"distance", options.distance},
                           {"value", sample.saliency.distance},
                           {"noise_iters", options.noise_iters},
                           {"noise_std", options.noise_std},
                           {"scale", io::Json::object({{"low", scale.low},
                                                       {"high", scale.high},
                                                       {"low_percentile", context.heat_map.low_percentile},
                                                       {"high_percentile", context.heat_map.high_percentile},
                                                       {"shared", options.shared_scale}})}});
}

inline std::string draw_heat_map(const Explanation& sample, const HeatScale& scale,
                                 const ExplanationContext& context, double width) {
  const Options& options = context.options;
  const at::Tensor heat = context.heat_map(pixel_saliency(sample.saliency.gradient), scale).to(at::kFloat);
  figures::HeatValues map{
      .width = sample.picture.width,
      .height = sample.picture.height,
      .values = {heat.const_data_ptr<float>(), heat.const_data_ptr<float>() + heat.numel()},
      .low = scale.low,
      .high = scale.high};
  const std::string these = std::to_string(sample.saliency.boosted.size()) +
                            (options.filters.starts_with("top:")      ? " most salient filters"
                             : options.filters.starts_with("random:") ? " random filters"
                                                                      : " chosen filters");
  const auto percentile = [&](double percent) {
    return figures::fixed(percent, 1) + "th percentile" + (options.shared_scale ? " of all samples" : "");
  };
  const figures::HeatMapSample shown{
      "What the model saw", sample.picture, {{"Input saliency of the " + these, std::move(map)}}};
  figures::HeatMapOptions look{.title =
                                   "Pixels that drive the filters to blame: " + confusion(sample, context)};
  look.value_name = "|gradient of the " + options.distance + " distance|, largest over the channels";
  look.low_name = percentile(context.heat_map.low_percentile);
  look.high_name = percentile(context.heat_map.high_percentile);
  look.note = "Boosted by " + figures::fixed(options.boost, 3) + ": " +
              boosted_names(sample, context.baseline.units());
  look.colours = figures::colour_map(options.colors);
  look.width = width;
  return figures::heat_map_svg({&shown, 1}, look);
}

inline io::Json to_json(const Explanation& sample, const HeatScale& scale,
                        const ExplanationContext& context) {
  const Units& units = context.baseline.units();
  io::Json::Array classes;
  for (const Index label : by_confidence(sample)) {
    classes.push_back(io::Json::object(
        {{"class", label}, {"name", context.names.name(label)}, {"confidence", confidence(sample, label)}}));
  }
  io::Json::Array top;
  for (const RankedUnit& unit : sample.saliency.profile.top(blamed)) {
    const UnitStatistics usual = context.baseline.statistics(unit.unit);
    io::Json entry = io::Json::object({{"rank", top.size() + 1},
                                       {"unit", unit.unit},
                                       {"layer", unit.layer},
                                       {"channel", unit.channel},
                                       {"raw", sample.raw[unit.unit]},
                                       {"mean", usual.mean},
                                       {"std", usual.stddev},
                                       {"z", unit.value}});
    const std::string& batch_norm = layer_of(units, unit.unit).batch_norm;
    entry.set("batch_norm", batch_norm.empty() ? io::Json() : io::Json(batch_norm));
    top.push_back(std::move(entry));
  }
  const std::vector<Index> dead = context.baseline.dead();
  const Options& options = context.options;
  return io::Json::object(
      {{"path", sample.path},
       {"label", sample.label},
       {"prediction", sample.prediction},
       {"loss", sample.loss},
       {"classes", io::Json::array(std::move(classes))},
       {"top", io::Json::array(std::move(top))},
       {"trials", cli::to_json(sample.trials, context.names)},
       {"model", options.model},
       {"data", options.image.empty() ? options.data : options.image},
       {"baseline",
        io::Json::object({{"file", options.baseline},
                          {"samples", context.baseline.count()},
                          {"accuracy", context.accuracy ? io::Json(*context.accuracy) : io::Json()}})},
       {"chosen_from", context.searched == 0 ? io::Json()
                                             : io::Json::object({{"samples", context.searched},
                                                                 {"mistakes", context.mistakes}})},
       {"preprocessing", context.preprocessing},
       {"aggregation", options.aggregate},
       {"standardization", options.standardize},
       {"target", options.target},
       {"dtype", options.dtype},
       {"layers", io::units_to_json(units)},
       {"dead_units", io::Json::array({dead.begin(), dead.end()})},
       {"raw", numbers(sample.raw)},
       {"z", numbers(sample.saliency.profile)},
       {"input_saliency", saliency_to_json(sample, scale, context)}});
}

/// The figures of a sample, for a page of that width.
struct Figures {
  std::string heat_map;
  std::string profile;
  std::string standardized;
};

inline Figures draw(const Explanation& sample, const HeatScale& scale, const ExplanationContext& context,
                    double width) {
  std::vector<figures::LayerSpan> layers;
  for (const Layer& layer : context.baseline.units().layers()) {
    layers.push_back(
        {layer.name, static_cast<std::size_t>(layer.first), static_cast<std::size_t>(layer.count)});
  }
  const auto series = [](const std::string& name, const Profile& profile) {
    return std::vector<figures::Series>{
        {name, {profile.values().data(), static_cast<std::size_t>(profile.size())}}};
  };
  const std::string what = confusion(sample, context);
  figures::ProfileOptions options{.title = "Saliency of every filter: " + what};
  options.value_name = context.options.aggregate == "mean_abs"
                           ? "saliency: mean absolute gradient of the loss over a filter's weights"
                           : "saliency: " + context.options.aggregate + " of the loss's gradient";
  options.width = width;
  for (const RankedUnit& unit : sample.saliency.profile.top(blamed))
    options.marked.push_back(static_cast<std::size_t>(unit.unit));
  options.mark_name = "the " + std::to_string(options.marked.size()) + " with the largest z";
  Figures figures{.heat_map = draw_heat_map(sample, scale, context, width),
                  .profile = figures::profile_svg(layers, series("saliency", sample.raw), options),
                  .standardized = {}};

  options.title = "Standardized saliency: " + what;
  options.value_name = context.options.standardize == "z_score"
                           ? "z: standard deviations above the filter's mean over the baseline"
                           : "saliency by " + context.options.standardize;
  options.left_out = indices(context.baseline.dead());
  options.left_out_name = "dead filters, which no sample of the baseline moves, are left out";
  figures.standardized = figures::layer_profile_svg(layers, series("z", sample.saliency.profile), options);
  return figures;
}

/// "02_dog_0121" for the second sample, dog/0121.jpg.
inline std::string folder_name(std::size_t number, std::string path) {
  constexpr std::size_t longest = 60;
  if (const std::size_t dot = path.rfind('.');
      dot != std::string::npos && path.find('/', dot) == std::string::npos)
    path.resize(dot);
  if (path.size() > longest) path.erase(0, path.size() - longest);
  for (char& symbol : path) {
    if (std::isalnum(static_cast<unsigned char>(symbol)) == 0 && symbol != '-') symbol = '_';
  }
  return formatted("%02zu_", number) + path;
}

}  // namespace detail

/// Writes the files of all samples and the page.
/// @return the folders of the samples
/// @throws Error (io) naming what cannot be written
inline std::vector<std::filesystem::path> write(const std::filesystem::path& folder,
                                                std::span<const Explanation> samples,
                                                const ExplanationContext& context) {
  figures::ReportPage page{.title = samples.size() == 1
                                        ? "Which filters are to blame?"
                                        : "The most confident mistakes, and the filters to blame",
                           .lead =
                               "Parameter-space saliency: the filters whose weights the loss of a sample "
                               "depends on more than usual."};
  const std::vector<HeatScale> scales = detail::heat_scales(samples, context);
  std::vector<std::filesystem::path> folders;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Explanation& sample = samples[i];
    const std::filesystem::path& own =
        folders.emplace_back(samples.size() == 1 ? folder : folder / detail::folder_name(i + 1, sample.path));
    make_folder(own);
    detail::Figures figures = detail::draw(sample, scales[i], context, 960);
    const at::Tensor gradient = sample.saliency.gradient.cpu().contiguous();
    const at::Tensor pixels = pixel_saliency(gradient);
    const std::string png = data::encode_png(figures::enlarged(sample.picture));
    detail::write_csv(own / "profile.csv", sample, context.baseline);
    const io::Json json = detail::to_json(sample, scales[i], context);
    page.facts = facts_of(json);
    write_text(own / "profile.json", io::dump(json) + '\n');
    write_text(own / "input.png", png);
    io::write_npy(own / "input_saliency.npy", view_of(gradient));
    io::write_npy(own / "pixel_saliency.npy", view_of(pixels));
    detail::Figures narrow = detail::draw(sample, scales[i], context, 400);
    figures::ExplainedSample& shown = page.samples.emplace_back(explained_sample(json, png));
    const auto add_figure = [&](const std::string& name, std::string& wide, std::string& small) {
      write_text(own / (name + ".svg"), wide);
      write_text(own / (name + ".narrow.svg"), small);
      shown.figures.push_back({std::move(wide), std::move(small)});
    };
    add_figure("heat_map", figures.heat_map, narrow.heat_map);
    add_figure("profile", figures.profile, narrow.profile);
    add_figure("standardized", figures.standardized, narrow.standardized);
  }
  write_text(folder / "explain.html", figures::report_html(page));
  return folders;
}

}  // namespace culprit::cli
