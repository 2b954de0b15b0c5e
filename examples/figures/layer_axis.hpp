// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "figures/svg.hpp"

namespace culprit::figures {

/// Consecutive units of one layer within a profile.
struct LayerSpan {
  std::string name;       ///< the parameter's name
  std::size_t first = 0;  ///< index of the layer's first value
  std::size_t count = 0;  ///< number of values
};

/// A layer's name without the ".weight" that all of them carry.
inline std::string short_name(std::string_view name) {
  constexpr std::string_view suffix = ".weight";
  if (name.ends_with(suffix)) name.remove_suffix(suffix.size());
  return std::string{name};
}

/// Where the layers lie on the horizontal axis, and their names below it: groups (the first part of dotted
/// names that several neighbours share) in words under a bracket, the rest of each name turned upright, as
/// many as have room.
class LayerAxis {
 public:
  /// @param equal_width  each layer gets the same width instead of one proportional to its filters
  LayerAxis(std::span<const LayerSpan> layers, double left, double right, bool equal_width) {
    double total = 0;
    for (const LayerSpan& layer : layers) total += equal_width ? 1 : static_cast<double>(layer.count);
    double before = 0;
    for (const LayerSpan& layer : layers) {
      edges_.push_back(left + (right - left) * before / total);
      before += equal_width ? 1 : static_cast<double>(layer.count);
      names_.push_back(short_name(layer.name));
    }
    edges_.push_back(right);
    strip_common_start();
    group();
    place_labels();
  }

  [[nodiscard]] double left(std::size_t layer) const { return edges_[layer]; }
  [[nodiscard]] double width(std::size_t layer) const { return edges_[layer + 1] - edges_[layer]; }
  [[nodiscard]] double centre(std::size_t layer) const { return (edges_[layer] + edges_[layer + 1]) / 2; }

  /// Whether the layer starts another group than its left neighbour's.
  [[nodiscard]] bool starts_group(std::size_t layer) const {
    return std::any_of(groups_.begin(), groups_.end(), [layer](const Group& g) { return g.first == layer; });
  }

  /// Pixels that the names take below the plot.
  [[nodiscard]] double height() const { return 8 + upright_height_ + (bracketed_ ? 28 : 0); }

  /// Draws the names below `top`, the lower edge of the plot.
  void draw(Svg& svg, double top) const {
    for (const Label& label : labels_) {
      svg.line("edge", label.x, top, label.x, top + 4);
      svg.vertical_text(label.x + 0.36 * Svg::label_size, top + 8, label.text);
    }
    const double bracket = top + 8 + upright_height_ + 8;
    for (const Group& g : groups_) {
      if (!g.bracketed) continue;
      const double from = edges_[g.first] + 2;
      const double to = edges_[g.end] - 2;
      svg.path("bracket", "M" + fixed(from, 1) + ' ' + fixed(bracket - 4, 1) + 'V' + fixed(bracket, 1) + 'H' +
                              fixed(to, 1) + "v-4");
      svg.text((from + to) / 2, bracket + 16, g.name, "value", "middle");
    }
  }

 private:
  struct Group {
    std::string name;
    std::size_t first, end;
    bool bracketed;
  };
  struct Label {
    double x;
    std::string text;
  };

  static std::string first_part(const std::string& name) { return name.substr(0, name.find('.')); }

  /// Leaves out what all names begin with, as long as what follows still tells groups: "features.0" and
  /// "features.3" stay what they are.
  void strip_common_start() {
    for (;;) {
      const std::string start = first_part(names_.front()) + '.';
      std::set<std::string> next;
      for (const std::string& name : names_) {
        if (!name.starts_with(start)) return;
        next.insert(first_part(name.substr(start.size())));
      }
      if (next.size() == names_.size()) return;
      for (std::string& name : names_) name.erase(0, start.size());
    }
  }

  void group() {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const std::string name = first_part(names_[i]);
      if (groups_.empty() || groups_.back().name != name) groups_.push_back({name, i, i, false});
      groups_.back().end = i + 1;
    }
    for (Group& g : groups_) {
      const double room = edges_[g.end] - edges_[g.first];
      g.bracketed = g.end - g.first > 1 && text_width(g.name, Svg::label_size) <= room;
      bracketed_ = bracketed_ || g.bracketed;
      if (!g.bracketed) continue;
      for (std::size_t i = g.first; i < g.end; ++i) names_[i].erase(0, g.name.size() + 1);
    }
  }

  /// Names that begin a group come first, then the others from the left, wherever one line of text has room.
  void place_labels() {
    constexpr double room = 1.2 * Svg::label_size;
    constexpr std::size_t longest = 20;
    const auto place = [&](std::size_t layer) {
      const double x = centre(layer);
      const bool free = std::all_of(labels_.begin(), labels_.end(),
                                    [x](const Label& label) { return std::abs(label.x - x) >= room; });
      if (!free || names_[layer].empty()) return;
      std::string text = names_[layer];
      if (text.size() > longest) text = "…" + text.substr(text.size() - longest + 1);
      upright_height_ = std::max(upright_height_, text_width(text, Svg::label_size));
      labels_.push_back({x, std::move(text)});
    };
    for (const Group& g : groups_) place(g.first);
    for (std::size_t i = 0; i < names_.size(); ++i) place(i);
  }

  std::vector<double> edges_;
  std::vector<std::string> names_;
  std::vector<Group> groups_;
  std::vector<Label> labels_;
  double upright_height_ = 0;
  bool bracketed_ = false;
};

}  // namespace culprit::figures
