// SPDX-License-Identifier: MIT
#include "cli/report.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/explained.hpp"
#include "cli/outputs.hpp"
#include "cli/text.hpp"
#include "culprit/io/json.hpp"
#include "figures/report_page.hpp"

namespace culprit::cli {

namespace {

namespace fs = std::filesystem;

/// What the page says of an experiment, in the order of the page.
struct Chapter {
  std::string_view name, heading, text;
};

constexpr std::array<Chapter, 5> chapters{{
    {"correctness", "Right and wrong samples",
     "Mean saliency of every filter over the samples that the model gets right and over those that it gets "
     "wrong "
     "(the paper's Figures 1 and 2)."},
    {"neighbors", "Samples with the same culprits",
     "How many of a wrong sample's nearest neighbours, by the cosine of their standardized profiles, share "
     "its pair "
     "of true and predicted class, or have it the other way round; and how many chance alone would give."},
    {"prune", "Switching filters off",
     "Every wrong sample with its most salient filters switched off, as many at random, and its least "
     "salient ones "
     "(the paper's Figure 3). Changes are those of the confidence, in shares of 1."},
    {"finetune", "Nudging filters",
     "One normalized step on the chosen filters of a wrong sample (the paper's Figure 6): the share of "
     "samples then "
     "right, and what the step did to the ten nearest samples of a disjoint set."},
    {"mask", "Masking pixels",
     "Wrong samples with the most salient share of their pixels replaced by the data set's mean, against as "
     "many at "
     "random (the paper's Figures 7 and 8)."},
}};

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw Error(ErrorCode::io, file.string(), "a file that can be read", "none");
  return {std::istreambuf_iterator<char>(stream), {}};
}

io::Json read_json(const fs::path& file) { return io::parse_json(read_text(file), file.string()); }

figures::PageFigure figure(const fs::path& folder, const std::string& name) {
  const fs::path narrow = folder / (name + ".narrow.svg");
  return {.svg = read_text(folder / (name + ".svg")), .narrow = fs::exists(narrow) ? read_text(narrow) : ""};
}

/// A cell as the page shows it: shares and changes with three decimals.
figures::TableCell cell_of(const io::Json& value) {
  if (value.is_string()) return {value.as_string()};
  if (value.is_int()) return {std::to_string(value.as_int()), value.as_double()};
  return {figures::with_minus(formatted("%.3f", value.as_double())), value.as_double()};
}

figures::PageTable table_of(const io::Json& rows, const std::string& caption) {
  figures::PageTable table{.caption = caption, .columns = {}, .rows = {}};
  for (const io::Json& row : rows.items()) {
    std::vector<figures::TableCell> cells;
    for (const auto& [name, value] : row.members()) {
      if (table.rows.empty()) {
        std::string words = name;
        std::replace(words.begin(), words.end(), '_', ' ');
        table.columns.push_back({words, value.is_number()});
      }
      cells.push_back(cell_of(value));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

figures::ReportSection section_of(const Chapter& chapter, const fs::path& folder) {
  const io::Json json = read_json(folder / (std::string(chapter.name) + ".json"));
  figures::ReportSection section{.heading = std::string(chapter.heading)};
  section.paragraphs.emplace_back(chapter.text);
  std::string facts;
  for (const auto& [name, value] : json.members()) {
    if (name == "experiment" || name == "data" || value.is_array()) continue;
    facts +=
        (facts.empty() ? "" : "; ") + name + ": " + (value.is_string() ? value.as_string() : io::dump(value));
  }
  section.paragraphs.push_back(facts + '.');
  for (const io::Json& name : json.at("pictures").items())
    section.figures.push_back(figure(folder, name.as_string()));
  for (const auto& [name, value] : json.members()) {
    if (!value.is_array() || name == "pictures") continue;
    section.tables.push_back(table_of(value, (name == "rows" ? std::string(chapter.name) : name) + ".csv"));
  }
  return section;
}

/// The sample that explain wrote into a folder.
figures::ExplainedSample sample_of(const fs::path& folder) {
  figures::ExplainedSample sample =
      explained_sample(read_json(folder / "profile.json"), read_text(folder / "input.png"));
  for (const char* name : {"heat_map", "standardized"}) sample.figures.push_back(figure(folder, name));
  return sample;
}

/// What culprit neighbors wrote into a folder.
figures::ReportSection neighbor_section(const fs::path& folder) {
  const io::Json json = read_json(folder / "neighbors.json");
  if (!json.contains("queries")) {
    throw Error(ErrorCode::format, (folder / "neighbors.json").string(), "what culprit neighbors wrote",
                "no queries in it");
  }
  figures::ReportSection section{.heading = "The nearest neighbours"};
  section.paragraphs.emplace_back(
      "Samples whose loss depends on the same filters: those with the most similar profiles, by the cosine "
      "of " +
      json.at("space").as_string() + " (the paper's Figures 4 and 5).");
  if (fs::exists(folder / "neighbors.svg")) section.figures.push_back(figure(folder, "neighbors"));
  figures::PageTable table{.caption = "neighbors.csv", .columns = {{"query"}}, .rows = {}};
  for (const io::Json& query : json.at("queries").items()) {
    for (const io::Json& neighbor : query.at("neighbors").items()) {
      std::vector<figures::TableCell> row{{query.at("path").as_string()}};
      for (const auto& [name, value] : neighbor.members()) {
        if (table.rows.empty()) table.columns.push_back({name, value.is_number()});
        row.push_back(cell_of(value));
      }
      table.rows.push_back(std::move(row));
    }
  }
  section.tables.push_back(std::move(table));
  return section;
}

}  // namespace

void report(const Options& options) {
  check_output_file(options.out);
  figures::ReportPage page{.title = "Which filters are to blame?", .lead = ""};
  if (!options.explained.empty()) {
    std::vector<fs::path> folders;
    const fs::path root(options.explained);
    if (fs::exists(root / "profile.json")) folders.push_back(root);
    if (fs::is_directory(root)) {
      for (const auto& entry : fs::directory_iterator(root)) {
        if (fs::exists(entry.path() / "profile.json")) folders.push_back(entry.path());
      }
    }
    if (folders.empty()) {
      throw Error(ErrorCode::io, options.explained, "a folder that culprit explain wrote",
                  "no profile.json in it");
    }
    std::sort(folders.begin(), folders.end());
    for (const fs::path& folder : folders) page.samples.push_back(sample_of(folder));
    page.facts = facts_of(read_json(folders.front() / "profile.json"));
  }
  if (!options.neighbors.empty()) page.sections.push_back(neighbor_section(options.neighbors));
  if (!options.results.empty()) {
    const fs::path folder(options.results);
    const std::size_t before = page.sections.size();
    for (const Chapter& chapter : chapters) {
      if (!fs::exists(folder / (std::string(chapter.name) + ".json"))) continue;
      page.sections.push_back(section_of(chapter, folder));
    }
    if (page.sections.size() == before) {
      throw Error(ErrorCode::io, options.results, "a folder that culprit experiment wrote",
                  "none of its results in it");
    }
  }
  const std::string samples = std::to_string(page.samples.size());
  const std::string explained =
      samples + (samples == "1" ? " sample" : " samples") + " and the filters to blame for each";
  const std::string found = "what changing such filters does over a whole data set";
  page.lead = options.results.empty() ? explained + '.'
              : page.samples.empty()  ? "The filters to blame for mistakes, and " + found + '.'
                                      : explained + ", and " + found + '.';
  write_text(options.out, figures::report_html(page));
  print_row("samples", samples);
  if (!page.sections.empty()) print_row("sections", std::to_string(page.sections.size()));
  print_row("written", options.out);
}

}  // namespace culprit::cli
