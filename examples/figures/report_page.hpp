// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/base64.hpp"
#include "figures/markup.hpp"
#include "figures/page.hpp"
#include "figures/page_style.hpp"
#include "figures/page_table.hpp"
#include "figures/sample_section.hpp"

namespace culprit::figures {

/// A picture in a row of them.
struct PagePicture {
  std::string png;  ///< its PNG file, large enough to look at
  std::string caption;
  std::string hover;  ///< shown while the pointer rests on it
};

/// A part of a report, in this order: text, pictures, figures, tables.
struct ReportSection {
  std::string heading;
  std::vector<std::string> paragraphs = {};
  std::vector<PagePicture> pictures = {};
  std::vector<PageFigure> figures = {};
  std::vector<PageTable> tables = {};
};

/// What a report shows.
struct ReportPage {
  std::string title;
  std::string lead;  ///< one sentence below the title
  PageFacts facts = {};
  std::vector<ExplainedSample> samples = {};
  std::vector<ReportSection> sections = {};  ///< below the samples
};

namespace detail {

inline void write_pictures(Markup& html, std::span<const PagePicture> pictures) {
  if (pictures.empty()) return;
  html.open("div", {{"class", "pictures"}});
  for (const PagePicture& one : pictures) {
    if (one.png.empty()) throw Error(ErrorCode::argument, one.caption, "a picture", "none");
    html.open("figure");
    html.leaf("img", {{"src", png_address(one.png)}, {"alt", one.caption}, {"title", one.hover}});
    html.element("figcaption", {}, one.caption).close();
  }
  html.close();
}

inline std::string section_address(std::size_t section) { return "section-" + std::to_string(section + 1); }

inline void write_section(Markup& html, const ReportSection& section, std::size_t number) {
  html.open("section", {{"id", section_address(number)}}).element("h2", {}, section.heading);
  for (const std::string& paragraph : section.paragraphs) html.element("p", {{"class", "prose"}}, paragraph);
  write_pictures(html, section.pictures);
  write_figures(html, section.figures);
  for (const PageTable& table : section.tables) write_table(html, table);
  html.close();
}

}  // namespace detail

/// One HTML page that reports what was found: samples, each with its picture, true and predicted class,
/// confidences, units to blame, tables and figures, and sections of text, pictures, figures and tables; a
/// click on a column's head sorts. Complete in itself (opens from disk, asks for nothing), light and dark,
/// for wide screens and phones, and well-formed XML; the same bytes for the same input.
/// @throws Error argument when a sample has not exactly one true and one predicted class, for a table without
///         columns and for an empty picture, shape for a row with other than the table's number of cells,
///         numeric for NaN or infinity (tables: for NaN in a column of numbers, naming row and column)
inline std::string report_html(const ReportPage& page) {
  Markup html;
  detail::open_page(html, page.title, page.lead, page.facts);
  if (page.samples.size() + page.sections.size() > 1) {
    html.open("nav", {{"aria-label", "Contents"}});
    detail::write_links(html, page.samples);
    for (std::size_t i = 0; i < page.sections.size(); ++i) {
      html.open("a", {{"href", '#' + detail::section_address(i)}, {"class", "section"}});
      html.text(page.sections[i].heading).close();
    }
    if (!page.samples.empty())
      html.open("a", {{"href", "#reading"}, {"class", "section"}}).text("How to read this").close();
    html.close();
  }
  html.close().open("main");
  for (std::size_t i = 0; i < page.samples.size(); ++i) detail::write_sample(html, page.samples[i], i);
  for (std::size_t i = 0; i < page.sections.size(); ++i) detail::write_section(html, page.sections[i], i);
  if (!page.samples.empty()) detail::write_reading(html);
  html.close().open("script").raw(sorting_script);
  return std::move(html).take();
}

}  // namespace culprit::figures
