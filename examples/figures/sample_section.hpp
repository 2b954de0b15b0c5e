// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/axis.hpp"
#include "figures/base64.hpp"
#include "figures/markup.hpp"
#include "figures/page.hpp"
#include "figures/page_table.hpp"
#include "figures/top_units.hpp"

namespace culprit::figures {

/// How sure the model is of a class.
struct ClassConfidence {
  std::string name;
  double confidence = 0;  ///< share of 1
  bool is_true = false;
  bool is_predicted = false;
};

/// One explained sample.
struct ExplainedSample {
  std::string name;  ///< path or synthetic name
  std::string png;   ///< the picture's PNG file, large enough to look at; empty: none
  std::vector<ClassConfidence>
      confidences;                ///< in drawing order, with exactly one true and one predicted class
  std::vector<BlamedUnit> units;  ///< most salient first
  std::vector<PageTable> tables = {};
  std::vector<PageFigure> figures = {};
};

namespace detail {

inline const ClassConfidence& only_class(const ExplainedSample& sample, bool ClassConfidence::*role,
                                         std::string_view role_name) {
  const auto has_role = [role](const ClassConfidence& one) { return one.*role; };
  const auto count = std::count_if(sample.confidences.begin(), sample.confidences.end(), has_role);
  if (count != 1) {
    throw Error(ErrorCode::argument, sample.name, "one " + std::string{role_name} + " class",
                std::to_string(count));
  }
  return *std::find_if(sample.confidences.begin(), sample.confidences.end(), has_role);
}

/// A bar that fills that share of its cell.
inline void write_bar(Markup& html, std::string_view tone, double share) {
  const std::string width = "width:" + fixed(100 * std::clamp(share, 0.0, 1.0), 1) + '%';
  html.open("span", {{"class", "track"}});
  html.element("span", {{"class", "bar " + std::string{tone}}, {"style", width}}, "").close();
}

inline void write_confidences(Markup& html, const ExplainedSample& sample) {
  html.open("table", {{"class", "confidences"}}).element("caption", {}, "How sure the model is");
  html.open("tbody");
  for (const ClassConfidence& one : sample.confidences) {
    check_finite(one.confidence, sample.name + ", confidence of " + one.name);
    const std::string_view tone = one.is_true ? "true" : one.is_predicted ? "predicted" : "other";
    html.open("tr").open("th", {{"scope", "row"}}).text(one.name);
    if (one.is_predicted) html.element("span", {{"class", "tag predicted"}}, "predicted");
    if (one.is_true) html.element("span", {{"class", "tag true"}}, "true class");
    html.close().open("td", {{"class", "graph"}});
    write_bar(html, tone, one.confidence);
    html.close().element("td", {{"class", "number"}}, percent(one.confidence)).close();
  }
  html.close().close();
}

inline void write_units(Markup& html, const ExplainedSample& sample) {
  double largest = 0;
  for (const BlamedUnit& unit : sample.units) {
    check_finite(unit.z, sample.name + ", z of " + unit.label());
    check_finite(unit.saliency, sample.name + ", saliency of " + unit.label());
    largest = std::max(largest, unit.z);
  }
  html.open("table", {{"class", "units"}})
      .element("caption", {}, "Filters to blame")
      .open("thead")
      .open("tr");
  for (const std::string_view head : {"#", "Layer", "Channel"}) html.element("th", {{"scope", "col"}}, head);
  html.element("th", {{"scope", "col"}, {"class", "number"}}, "z").element("th", {{"class", "graph"}}, "");
  html.element("th", {{"scope", "col"}, {"class", "number"}}, "Saliency").close().close().open("tbody");
  for (std::size_t i = 0; i < sample.units.size(); ++i) {
    const BlamedUnit& unit = sample.units[i];
    html.open("tr").element("td", {{"class", "rank"}}, std::to_string(i + 1));
    html.element("td", {{"class", "layer"}}, short_name(unit.layer))
        .element("td", {}, std::to_string(unit.channel));
    html.element("td", {{"class", "number"}}, readable(unit.z)).open("td", {{"class", "graph"}});
    write_bar(html, "predicted", largest > 0 ? unit.z / largest : 0);
    html.close().element("td", {{"class", "number"}}, readable(unit.saliency)).close();
  }
  html.close().close();
}

inline std::string address(std::size_t sample) { return "sample-" + std::to_string(sample + 1); }

inline void write_sample(Markup& html, const ExplainedSample& sample, std::size_t number) {
  const ClassConfidence& truth = only_class(sample, &ClassConfidence::is_true, "true");
  const ClassConfidence& predicted = only_class(sample, &ClassConfidence::is_predicted, "predicted");
  const bool right = &truth == &predicted;
  html.open("section", {{"class", "sample"}, {"id", address(number)}});
  html.open("h2");
  if (right) {
    html.element("span", {{"class", "verdict true"}}, truth.name).text("(correct)").close();
  } else {
    html.element("span", {{"class", "verdict predicted"}}, predicted.name).text("instead of ");
    html.element("span", {{"class", "verdict true"}}, truth.name).close();
  }
  html.element("p", {{"class", "name"}}, sample.name).open("div", {{"class", "columns"}});
  html.open("div", {{"class", "look"}});
  if (!sample.png.empty())
    html.leaf("img", {{"src", png_address(sample.png)}, {"alt", "The sample: " + truth.name}});
  write_confidences(html, sample);
  html.close().open("div", {{"class", "blame"}});
  write_units(html, sample);
  html.close().close();
  for (const PageTable& table : sample.tables) write_table(html, table);
  write_figures(html, sample.figures);
  html.close();
}

/// A link to each sample's section.
inline void write_links(Markup& html, std::span<const ExplainedSample> samples) {
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const ClassConfidence& predicted = only_class(samples[i], &ClassConfidence::is_predicted, "predicted");
    const ClassConfidence& truth = only_class(samples[i], &ClassConfidence::is_true, "true");
    const bool right = &predicted == &truth;
    html.open("a", {{"href", '#' + address(i)}});
    if (!samples[i].png.empty()) html.leaf("img", {{"src", png_address(samples[i].png)}, {"alt", ""}});
    html.element("span", {}, right ? truth.name + " (correct)" : predicted.name + " instead of " + truth.name)
        .close();
  }
}

/// What the numbers in the samples' sections mean.
inline void write_reading(Markup& html) {
  html.open("section", {{"class", "reading"}, {"id", "reading"}}).element("h2", {}, "How to read this");
  html.element(
      "p", {},
      "A filter's saliency is the mean size of the loss's gradient with respect to its weights: how much a "
      "small change of the filter would change this sample's loss. Its z says how many standard deviations "
      "that lies above the filter's own mean over the baseline's samples. Filters with a large z are "
      "unusually involved in this sample's loss: they are the ones to blame when it is large.");
  html.element("p", {},
               "Filters that are off give 0 for every position. A step moves the weights of filters against "
               "the gradient "
               "of this sample's loss, all together by that length (the square root of the sum of their "
               "squared changes), "
               "and changes nothing else; it is the shortest of 0.001, 0.002, 0.004, ... that corrects the "
               "sample. Random "
               "filters, as many, show what any change would do.");
  html.element(
      "p", {},
      "The heat map shows which pixels would make the filters to blame stand out more. In a second, boosted, "
      "profile these filters are that many times as salient; the colour is the gradient, by pixel, of the "
      "distance between the two. Pixels below the lower end of the scale are not coloured.");
  html.close();
}

}  // namespace detail

}  // namespace culprit::figures
