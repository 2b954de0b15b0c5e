// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "examples/page_parts.hpp"
#include "examples/well_formed.hpp"
#include "figures/report_page.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/not_finite.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace culprit;
using figures::PageTable;
using figures::ReportPage;
using test::error_of;
using test::flaw;
using test::infinity;
using test::not_a_number;
using test::outward_addresses;

figures::ExplainedSample sample() {
  return {.name = "dog/0121.jpg",
          .png = "not looked into",
          .confidences = {{"deer", 0.75, false, true}, {"dog", 0.25, true, false}},
          .units = {{"layer1.0.conv1.weight", 7, 6.25, 0.5}},
          .tables = {{"Trials", {{"Change"}}, {{{"a step & more"}}}}},
          .figures = {}};
}

/// Rows whose order by text differs from that by value.
PageTable table() {
  return {"Layers & filters",
          {{"Layer <name>"}, {"z", true}},
          {{{"layer2"}, {"9 %", 0.09}},
           {{"layer10"}, {"12 %", 0.12}},
           {{"layer1"}, {"−3 %", -0.03}},
           {{"Layer3"}, {"much", infinity}},
           {{"layer4"}, {"little", -infinity}},
           {{"layer5"}, {"9 % again", 0.09}}}};
}

ReportPage page() {
  return {
      .title = "Who <is> it?",
      .lead = "Some words.",
      .facts = {{"Model", "m & n"}},
      .samples = {sample()},
      .sections = {{.heading = "Pruning & more",
                    .paragraphs = {"One <p>.", "Two."},
                    .pictures = {{"picture bytes", "10 % masked", "confidence 70 %"}},
                    .figures = {{"<svg class=\"wide-one\"/>", "<svg class=\"narrow-one\"/>", "a caption"}},
                    .tables = {table()}},
                   {.heading = "Nothing"}}};
}

bool have_chromium() {
  if (std::system("command -v chromium >/dev/null") == 0) return true;
  std::cout << "SKIPPED: needs chromium\n";
  return false;
}

/// What the script leaves in the page's element `pre` after the page has been opened from disk, narrow as on
/// a phone.
std::string seen_in_browser(std::string html, std::string_view script) {
  const test::TemporaryFolder folder;
  const std::size_t end = html.rfind("</body>");
  REQUIRE(end != std::string::npos);
  html.insert(end, "<pre></pre><script>" + std::string{script} + "</script>");
  test::write_bytes(folder / "page.html", html);
  const std::string place = folder.path().string();
  const std::string command =
      "chromium --headless --no-sandbox --disable-gpu --window-size=390,800 "
      "--user-data-dir='" +
      place + "/profile' --dump-dom 'file://" + place + "/page.html' >'" + place + "/seen' 2>/dev/null";
  REQUIRE(std::system(command.c_str()) == 0);
  const std::string seen = test::read_bytes(folder / "seen");
  const std::size_t from = seen.rfind("<pre>");
  REQUIRE(from != std::string::npos);
  return seen.substr(from + 5, seen.find("</pre>", from) - from - 5);
}

}  // namespace

TEST_CASE("a report is one well-formed document that asks the network for nothing", "[figures]") {
  const std::string html = figures::report_html(page());
  CHECK(flaw(html) == "");
  CHECK(html.starts_with("<!DOCTYPE html>\n"));
  CHECK(outward_addresses(html).empty());
  for (const std::string_view part : {"Who &lt;is&gt; it?",
                                      "Some words.",
                                      "m &amp; n",
                                      "deer instead of dog",
                                      "75 %",
                                      "layer1.0.conv1",
                                      "<caption>Trials</caption>",
                                      "<td>a step &amp; more</td>",
                                      "href=\"#section-1\"",
                                      "<h2>Pruning &amp; more</h2>",
                                      "<p class=\"prose\">One &lt;p&gt;.</p>",
                                      "data:image/png;base64,cGljdHVyZSBieXRlcw==",
                                      "title=\"confidence 70 %\"",
                                      "10 % masked</figcaption>",
                                      "<svg class=\"wide-one\"/>",
                                      "<svg class=\"narrow-one\"/>",
                                      "a caption",
                                      "<caption>Layers &amp; filters</caption>",
                                      ">Layer &lt;name&gt;</th>",
                                      "<td>layer10</td>",
                                      "<td class=\"number\" data-value=\"0.12\">12 %</td>",
                                      "<h2>Nothing</h2>",
                                      "href=\"#reading\"",
                                      "How to read this",
                                      "prefers-color-scheme: dark",
                                      "name=\"viewport\""}) {
    CAPTURE(part);
    CHECK(html.find(part) != std::string::npos);
  }
  const std::string bare = figures::report_html({.title = "t", .lead = "l"});
  CHECK(flaw(bare) == "");
  CHECK(bare.find("How to read this") == std::string::npos);
}

TEST_CASE("a report has the same bytes for the same input", "[figures]") {
  CHECK(figures::report_html(page()) == figures::report_html(page()));
}

TEST_CASE("numbers in tables are sorted by their exact values", "[figures]") {
  ReportPage one = page();
  const double third = 1.0 / 3;
  one.sections[0].tables[0].rows = {{{"a"}, {"", third}}, {{"b"}, {"", 5e-324}}, {{"c"}, {"", -1e300}}};
  const std::string html = figures::report_html(one);
  CHECK(html.find("data-value=\"0.3333333333333333\"") != std::string::npos);
  CHECK(html.find("data-value=\"5e-324\"") != std::string::npos);
  CHECK(html.find("data-value=\"-1e+300\"") != std::string::npos);
}

TEST_CASE("a report refuses tables that do not fit together and empty pictures", "[figures]") {
  const auto error = [](const auto& change) {
    ReportPage broken = page();
    change(broken);
    return error_of([&] { figures::report_html(broken); });
  };
  const Error columns = error([](ReportPage& broken) { broken.sections[0].tables[0].columns.clear(); });
  CHECK(columns.code() == ErrorCode::argument);
  CHECK(columns.place() == "table Layers & filters");
  const Error cells = error([](ReportPage& broken) { broken.sections[0].tables[0].rows[1].pop_back(); });
  CHECK(cells.code() == ErrorCode::shape);
  CHECK(cells.place() == "table Layers & filters, row 2");
  const Error value =
      error([](ReportPage& broken) { broken.sections[0].tables[0].rows[2][1].value = not_a_number; });
  CHECK(value.code() == ErrorCode::numeric);
  CHECK(value.place() == "table Layers & filters, row 3, z");
  const Error picture = error([](ReportPage& broken) { broken.sections[0].pictures[0].png.clear(); });
  CHECK(picture.code() == ErrorCode::argument);
  CHECK(picture.place() == "10 % masked");
  const Error two = error([](ReportPage& broken) { broken.samples[0].confidences[1].is_predicted = true; });
  CHECK(two.place() == "dog/0121.jpg");
}

TEST_CASE("a browser sorts a report's tables by a click on a column's head", "[figures]") {
  if (!have_chromium()) return;
  const std::string seen = seen_in_browser(figures::report_html(page()), R"(
    const table = document.querySelectorAll("table.sortable")[1];
    const buttons = table.querySelectorAll("thead button");
    const log = [];
    function note() {
      const heads = Array.from(table.tHead.rows[0].cells);
      log.push(heads.map(function (head) { return head.getAttribute("aria-sort") || "-"; }).join(" ") + ": " +
               Array.from(table.tBodies[0].rows).map(function (row) { return row.cells[0].textContent; }).join(" "));
    }
    note();
    [0, 0, 1, 1].forEach(function (column) { buttons[column].click(); note(); });
    document.querySelector("pre").textContent = log.join("\n");
  )");
  CHECK(seen ==
        "- -: layer2 layer10 layer1 Layer3 layer4 layer5\n"
        "ascending -: layer1 layer2 Layer3 layer4 layer5 layer10\n"
        "descending -: layer10 layer5 layer4 Layer3 layer2 layer1\n"
        "- descending: Layer3 layer10 layer5 layer2 layer1 layer4\n"
        "- ascending: layer4 layer1 layer5 layer2 layer10 Layer3");
}

TEST_CASE("a report fits a phone's width and its heads are within reach of the keyboard", "[figures]") {
  if (!have_chromium()) return;
  ReportPage wide = page();
  for (int i = 0; i < 12; ++i) {
    wide.sections[0].tables[0].columns.push_back({"a column with quite a long name"});
    const figures::TableCell words{"some words that take room"};
    for (auto& row : wide.sections[0].tables[0].rows) row.push_back(words);
  }
  wide.sections[0].pictures[0].caption = std::string(200, 'x');
  const std::string seen = seen_in_browser(figures::report_html(wide), R"(
    const button = document.querySelector("table.sortable thead button");
    button.focus();
    document.querySelector("pre").textContent =
        (document.documentElement.scrollWidth > innerWidth ? "too wide" : "fits") + ", " +
        (document.activeElement === button ? "focused" : "not focused");
  )");
  CHECK(seen == "fits, focused");
}
