// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "figures/markup.hpp"
#include "figures/page.hpp"
#include "figures/sample_section.hpp"

namespace culprit::figures {

/// What an explanation page shows.
struct ExplainPage {
  std::string title;
  std::string lead;  ///< one sentence below the title
  PageFacts facts = {};
  std::vector<ExplainedSample> samples;
  std::vector<PageFigure> figures = {};  ///< of the whole data set, below the samples
};

/// One HTML page that explains some samples: picture, true and predicted class, confidences, the units to
/// blame, and figures. Complete in itself (opens from disk, asks for nothing), light and dark, for wide
/// screens and phones, and well-formed XML; the same bytes for the same input.
/// @throws Error argument when a sample has not exactly one true and one predicted class, numeric for NaN or
/// infinity
inline std::string explain_html(const ExplainPage& page) {
  Markup html;
  detail::open_page(html, page.title, page.lead, page.facts);
  if (page.samples.size() > 1) {
    html.open("nav", {{"aria-label", "Samples"}});
    detail::write_links(html, page.samples);
    html.close();
  }
  html.close().open("main");
  for (std::size_t i = 0; i < page.samples.size(); ++i) detail::write_sample(html, page.samples[i], i);
  if (!page.figures.empty()) {
    html.open("section").element("h2", {}, "The whole data set");
    detail::write_figures(html, page.figures);
    html.close();
  }
  detail::write_reading(html);
  return std::move(html).take();
}

}  // namespace culprit::figures
