// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/axis.hpp"
#include "figures/layer_axis.hpp"

namespace culprit::figures {

/// One profile, or the mean of many, to draw: a value for each unit.
struct Series {
  std::string name;                    ///< in the legend
  std::span<const double> values;      ///< [units], finite
  std::span<const double> lower = {};  ///< [layers] or empty: lower end of a band around the layers' means
  std::span<const double> upper = {};  ///< [layers] or empty, with `lower`
};

/// How a profile figure looks.
struct ProfileOptions {
  std::string title;
  std::string value_name = "saliency";  ///< what the vertical axis shows, with its unit
  double width = 960;                   ///< pixels; from 320, for a phone, upwards
  double height = 400;                  ///< pixels of title, legend and plot; the layers' names come below
  bool log = false;                     ///< logarithmic values, six decades at most
  std::vector<std::size_t> marked{};    ///< units of the first series to mark with dots, most important first
  std::string mark_name = "most salient";  ///< what the dots mean, in the legend
  std::vector<std::size_t> left_out{};     ///< units not to draw nor to average, for instance dead ones
  std::string left_out_name = "left out";  ///< why, in the note below the figure
};

namespace detail {

/// What is left of the options' units in each layer, by series and layer: largest value first, ties by index.
using Orders = std::vector<std::vector<std::vector<std::size_t>>>;

/// Checks the input of a profile figure as profile_svg says. @return the number of units
inline std::size_t check(std::span<const LayerSpan> layers, std::span<const Series> series,
                         const ProfileOptions& options) {
  if (layers.empty() || series.empty()) {
    throw Error(ErrorCode::argument, "profile figure", "at least one layer and one series",
                std::to_string(layers.size()) + " layers and " + std::to_string(series.size()) + " series");
  }
  std::size_t units = 0;
  for (const LayerSpan& layer : layers) {
    if (layer.count == 0) throw Error(ErrorCode::argument, layer.name, "a layer with units", "none");
    units = std::max(units, layer.first + layer.count);
  }
  const auto layer_name = [layers](std::size_t i) { return layers[i].name; };
  const auto unit_name = [layers](std::size_t unit) {
    for (const LayerSpan& layer : layers) {
      if (unit >= layer.first && unit - layer.first < layer.count) {
        return layer.name + ':' + std::to_string(unit - layer.first);
      }
    }
    return "unit " + std::to_string(unit);
  };
  for (const Series& one : series) {
    check_values("series " + one.name, one.values, units, unit_name);
    if (one.lower.empty() && one.upper.empty()) continue;
    check_values("lower end of the band of " + one.name, one.lower, layers.size(), layer_name);
    check_values("upper end of the band of " + one.name, one.upper, layers.size(), layer_name);
  }
  for (const std::vector<std::size_t>& list : {options.marked, options.left_out}) {
    for (const std::size_t unit : list) {
      if (unit < units) continue;
      throw Error(ErrorCode::argument, "unit to mark or leave out", "an index below " + std::to_string(units),
                  std::to_string(unit));
    }
  }
  return units;
}

inline Orders sorted_within_layers(std::span<const LayerSpan> layers, std::span<const Series> series,
                                   std::span<const std::size_t> left_out, std::size_t units) {
  std::vector<bool> drawn(units, true);
  for (const std::size_t unit : left_out) drawn[unit] = false;
  Orders orders;
  for (const Series& one : series) {
    auto& of_series = orders.emplace_back();
    for (const LayerSpan& layer : layers) {
      auto& order = of_series.emplace_back();
      for (std::size_t unit = layer.first; unit < layer.first + layer.count; ++unit) {
        if (drawn[unit]) order.push_back(unit);
      }
      std::stable_sort(order.begin(), order.end(),
                       [&one](std::size_t a, std::size_t b) { return one.values[a] > one.values[b]; });
    }
  }
  return orders;
}

}  // namespace detail

}  // namespace culprit::figures
