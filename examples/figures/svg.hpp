// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "figures/markup.hpp"

namespace culprit::figures {

/// The colours of figures and pages, light and dark. Series use Okabe and Ito's colour-blind-safe set (Color
/// Universal Design, 2008), on dark ground their lighter members. `@` stands for the selector that gets them.
inline std::string themed(std::string_view selector) {
  constexpr std::string_view light =
      "{--surface:#fff;--band:#f3f5f8;--grid:#dfe3e9;--edge:#b4bcc8;--ink:#1b1f24;--muted:#59626e;"
      "--series-0:#d55e00;--series-1:#0072b2;--series-2:#009e73;--series-3:#a8527f}\n";
  constexpr std::string_view dark =
      "{--surface:#14171c;--band:#1c2128;--grid:#2d343e;--edge:#566070;--ink:#e8eaed;--muted:#a5aebb;"
      "--series-0:#ff9d4d;--series-1:#56b4e9;--series-2:#2fc99b;--series-3:#e3a0c4}\n";
  std::string css{selector};
  css += light;
  css += "@media (prefers-color-scheme: dark){";
  css += selector;
  css += dark;
  css += "}\n";
  return css;
}

/// Colours and dash patterns repeat after this many series.
inline constexpr std::size_t series_styles = 4;

/// Width of text set in system-ui, in units of its font size: an estimate on the wide side, so that what is
/// laid out by it does not collide.
inline double text_width(std::string_view text, double font_size) {
  const auto characters = std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return 0.6 * font_size * static_cast<double>(characters);
}

/// The text broken at spaces into lines that fit; a single longer word stays whole. Sentences have more
/// narrow letters than names, so they are taken to be a tenth narrower.
inline std::vector<std::string> wrapped(std::string_view text, double font_size, double width) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string word{text.substr(0, space)};
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    if (lines.empty() || 0.9 * text_width(lines.back() + ' ' + word, font_size) > width) {
      lines.push_back(word);
    } else {
      lines.back() += ' ' + word;
    }
  }
  return lines;
}

/// As wrapped, but a word longer than a line, such as a path, goes on in the next.
inline std::vector<std::string> wrapped_anywhere(std::string_view text, double font_size, double width) {
  std::vector<std::string> lines;
  for (const std::string& line : wrapped(text, font_size, width)) {
    const bool fits = 0.9 * text_width(line, font_size) <= width;
    lines.emplace_back();
    for (const char byte : line) {
      const bool starts_character = (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
      if (!fits && starts_character && text_width(lines.back() + byte, font_size) > width)
        lines.emplace_back();
      lines.back() += byte;
    }
  }
  return lines;
}

/// An SVG figure that stands alone as a file and can be put into an HTML page as it is: its style sheet
/// touches only elements inside `svg.culprit-figure`, and no ids are used, so several share a page.
class Svg {
 public:
  /// @param title, description  for screen readers; the title is the figure's name
  Svg(double width, double height, std::string_view title, std::string_view description) {
    markup_.open("svg", {{"xmlns", "http://www.w3.org/2000/svg"},
                         {"class", "culprit-figure"},
                         {"viewBox", "0 0 " + fixed(width, 2) + ' ' + fixed(height, 2)},
                         {"width", width},
                         {"height", height},
                         {"role", "img"},
                         {"aria-label", title}});
    markup_.element("desc", {}, description);
    markup_.open("style").raw(themed("svg.culprit-figure")).raw(style).close();
    markup_.leaf("rect", {{"class", "surface"}, {"width", width}, {"height", height}});
  }

  [[nodiscard]] Markup& markup() { return markup_; }

  /// @param style_class  heading, note, label, value (see the style sheet)
  /// @param anchor       start, middle or end
  Svg& text(double x, double y, std::string_view content, std::string_view style_class = "label",
            std::string_view anchor = "start") {
    markup_.element("text", {{"class", style_class}, {"x", x}, {"y", y}, {"text-anchor", anchor}}, content);
    return *this;
  }

  /// Text on several lines from `top` down. @return where it ends
  double paragraph(double x, double top, std::span<const std::string> lines, std::string_view style_class,
                   std::string_view anchor = "start", double line = text_line) {
    for (const std::string& words : lines) {
      text(x, top + 12, words, style_class, anchor);
      top += line;
    }
    return top;
  }

  /// Text that reads from bottom to top and ends at (x, y).
  Svg& vertical_text(double x, double y, std::string_view content) {
    const std::string turn = "translate(" + fixed(x, 2) + ' ' + fixed(y, 2) + ") rotate(-90)";
    markup_.element("text", {{"class", "label"}, {"transform", turn}, {"text-anchor", "end"}}, content);
    return *this;
  }

  Svg& line(std::string_view style_class, double x1, double y1, double x2, double y2) {
    markup_.leaf("line", {{"class", style_class}, {"x1", x1}, {"y1", y1}, {"x2", x2}, {"y2", y2}});
    return *this;
  }

  Svg& path(std::string_view style_class, std::string_view data) {
    if (!data.empty()) markup_.leaf("path", {{"class", style_class}, {"d", data}});
    return *this;
  }

  /// A rectangle with a text that shows while the pointer rests on it.
  Svg& rectangle(std::string_view style_class, double x, double y, double width, double height,
                 std::string_view hover = {}) {
    markup_.open("rect", {{"class", style_class}, {"x", x}, {"y", y}, {"width", width}, {"height", height}});
    if (!hover.empty()) markup_.element("title", {}, hover);
    markup_.close();
    return *this;
  }

  Svg& dot(std::string_view style_class, double x, double y, double radius, std::string_view hover = {}) {
    markup_.open("circle", {{"class", style_class}, {"cx", x}, {"cy", y}, {"r", radius}});
    if (!hover.empty()) markup_.element("title", {}, hover);
    markup_.close();
    return *this;
  }

  [[nodiscard]] std::string take() && { return std::move(markup_).take(); }

  static constexpr double heading_size = 17;
  static constexpr double note_size = 13;
  static constexpr double label_size = 12;
  static constexpr double heading_line = 22;
  static constexpr double text_line = 16;

 private:
  static constexpr std::string_view style =
      "svg.culprit-figure{font-family:system-ui,sans-serif;color-scheme:light "
      "dark;max-width:100%;height:auto}\n"
      "svg.culprit-figure text{fill:var(--muted);font-size:12px}\n"
      "svg.culprit-figure text.heading{fill:var(--ink);font-size:17px;font-weight:600}\n"
      "svg.culprit-figure text.note{font-size:13px}\n"
      "svg.culprit-figure text.value{fill:var(--ink);font-variant-numeric:tabular-nums}\n"
      "svg.culprit-figure "
      "text.halo{fill:var(--ink);stroke:var(--surface);stroke-width:4;paint-order:stroke}\n"
      ".culprit-figure .surface{fill:var(--surface)}\n"
      ".culprit-figure .odd{fill:var(--band)}\n"
      ".culprit-figure .even{fill:var(--surface)}\n"
      ".culprit-figure .grid{stroke:var(--grid)}\n"
      ".culprit-figure .edge,.culprit-figure .bracket{fill:none;stroke:var(--edge)}\n"
      ".culprit-figure .zero{stroke:var(--muted);stroke-width:1.25}\n"
      ".culprit-figure .curve,.culprit-figure .fine,.culprit-figure "
      ".mean{fill:none;stroke-linejoin:round;pointer-events:none}\n"
      ".culprit-figure .curve{stroke-width:1.4}\n"
      ".culprit-figure .fine{stroke-opacity:.6}\n"
      ".culprit-figure .mean{stroke-width:2.5}\n"
      ".culprit-figure .area{stroke:none;fill-opacity:.18;pointer-events:none}\n"
      ".culprit-figure .dot{stroke:var(--surface);stroke-width:1.5}\n"
      ".culprit-figure .line-0{stroke:var(--series-0)}.culprit-figure .fill-0{fill:var(--series-0)}\n"
      ".culprit-figure .line-1{stroke:var(--series-1);stroke-dasharray:5 2}"
      ".culprit-figure .fill-1{fill:var(--series-1)}\n"
      ".culprit-figure .line-2{stroke:var(--series-2);stroke-dasharray:1.5 2}"
      ".culprit-figure .fill-2{fill:var(--series-2)}\n"
      ".culprit-figure .line-3{stroke:var(--series-3);stroke-dasharray:9 2 2 2}"
      ".culprit-figure .fill-3{fill:var(--series-3)}\n";

  Markup markup_;
};

/// As wrapped, for a title: bold letters take the tenth that is granted to sentences.
inline std::vector<std::string> wrapped_heading(std::string_view text, double width) {
  return wrapped(text, Svg::heading_size, 0.9 * width);
}

/// A figure as high as its drawing: draws twice, and the first time only learns the height.
/// @param draw  takes the Svg and gives back where the drawing ends
template <class Draw>
std::string drawn(double width, std::string_view title, std::string_view description, const Draw& draw) {
  Svg measured(width, 0, {}, {});
  Svg svg(width, draw(measured), title, description);
  draw(svg);
  return std::move(svg).take();
}

/// The style classes of the series at that position.
inline std::string line_class(std::size_t series) { return "line-" + std::to_string(series % series_styles); }
inline std::string fill_class(std::size_t series) { return "fill-" + std::to_string(series % series_styles); }

}  // namespace culprit::figures
