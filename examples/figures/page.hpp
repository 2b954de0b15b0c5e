// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "figures/markup.hpp"
#include "figures/page_style.hpp"
#include "figures/svg.hpp"

namespace culprit::figures {

/// A figure within a page.
struct PageFigure {
  std::string svg;  ///< a document by this folder's functions
  std::string narrow =
      {};  ///< the same at about 400 pixels, for phones; empty: the wide one scrolls sideways there
  std::string caption = {};
};

/// Name and value of what a page was made from: model, data, baseline, seed.
using PageFacts = std::vector<std::pair<std::string, std::string>>;

namespace detail {

/// Everything up to the facts below the title; the page's header is left open.
inline void open_page(Markup& html, const std::string& title, const std::string& lead,
                      const PageFacts& facts) {
  html.raw("<!DOCTYPE html>\n")
      .open("html", {{"lang", "en"}, {"xmlns", "http://www.w3.org/1999/xhtml"}})
      .open("head");
  html.leaf("meta", {{"charset", "utf-8"}});
  html.leaf("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  html.leaf("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  html.element("title", {}, title).open("style").raw(themed(":root")).raw(page_style);
  html.close().close();
  html.open("body").open("header").element("h1", {}, title).element("p", {{"class", "lead"}}, lead);
  html.open("dl");
  for (const auto& [name, value] : facts) {
    html.open("div").element("dt", {}, name).element("dd", {}, value).close();
  }
  html.close();
}

inline void write_figures(Markup& html, std::span<const PageFigure> figures) {
  for (const PageFigure& one : figures) {
    html.open("figure");
    html.open("div", {{"class", one.narrow.empty() ? "wide scrolls" : "wide"}}).raw(one.svg).close();
    if (!one.narrow.empty()) html.open("div", {{"class", "narrow"}}).raw(one.narrow).close();
    if (!one.caption.empty()) html.element("figcaption", {}, one.caption);
    html.close();
  }
}

}  // namespace detail

}  // namespace culprit::figures
