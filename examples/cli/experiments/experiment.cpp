// SPDX-License-Identifier: MIT
#include "cli/experiments/experiment.hpp"

#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "cli/outputs.hpp"
#include "cli/text.hpp"
#include "culprit/io/csv.hpp"

namespace culprit::cli {

namespace {

void write_csv(std::ostream& out, const Table& table) {
  io::CsvWriter csv(out, table.columns);
  for (const auto& row : table.rows) {
    for (const io::Json& cell : row) {
      if (cell.is_string()) {
        csv.field(cell.as_string());
      } else if (cell.is_int()) {
        csv.field(cell.as_int());
      } else {
        csv.field(cell.as_double());
      }
    }
    csv.end_row();
  }
}

io::Json to_json(const Table& table) {
  io::Json rows = io::Json::array();
  for (const auto& row : table.rows) {
    io::Json object = io::Json::object();
    for (std::size_t i = 0; i < row.size(); ++i) object.set(table.columns[i], row[i]);
    rows.push_back(std::move(object));
  }
  return rows;
}

io::Json to_json(const Results& results, const Study& study) {
  io::Json json = io::Json::object();
  json.set("experiment", results.name);
  for (const auto& [name, value] : study.session().metadata()) json.set(name, value);
  for (const auto& [name, value] : results.facts) json.set(name, value);
  json.set("rows", to_json(results.table));
  for (const auto& [name, table] : results.further) json.set(name, to_json(table));
  io::Json pictures = io::Json::array();
  for (const Picture& picture : results.pictures) pictures.push_back(picture.name);
  json.set("pictures", std::move(pictures));
  return json;
}

std::string text_of(const io::Json& cell) {
  if (cell.is_string()) return cell.as_string();
  return cell.is_int() ? std::to_string(cell.as_int()) : formatted("%.4f", cell.as_double());
}

void print(std::ostream& out, const Table& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = table.columns[i].size();
    for (const auto& row : table.rows) width = std::max(width, text_of(row[i]).size());
    widths.push_back(width + 2);
  }
  for (std::size_t i = 0; i < widths.size(); ++i) out << padded(table.columns[i], widths[i]);
  out << '\n';
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) out << padded(text_of(row[i]), widths[i]);
    out << '\n';
  }
}

}  // namespace

void experiment(const Options& options) {
  check_output_folder(options.out);
  const std::map<std::string, std::function<Results(const Study&)>> all{
      {"correctness", correctness_experiment},
      {"finetune", finetune_experiment},
      {"mask", mask_experiment},
      {"neighbors", neighbors_experiment},
      {"prune", prune_experiment}};
  const Study study(options);
  const Results results = all.at(options.experiment)(study);

  const std::filesystem::path folder(options.out);
  make_folder(folder);
  const auto write_table = [&](const std::string& name, const Table& table) {
    io::write_atomically(folder / (name + ".csv"), [&](std::ostream& out) { write_csv(out, table); });
  };
  write_table(results.name, results.table);
  for (const auto& [name, table] : results.further) write_table(name, table);
  write_text(folder / (results.name + ".json"), io::dump(to_json(results, study), 2) + "\n");
  for (const Picture& picture : results.pictures) {
    write_text(folder / (picture.name + ".svg"), picture.svg);
    write_text(folder / (picture.name + ".narrow.svg"), picture.narrow_svg);
  }
  Stage::remove_all(options);
  print(std::cout, results.table);
  for (const auto& [name, table] : results.further) {
    std::cout << '\n' << name << '\n';
    print(std::cout, table);
  }
  std::cout << '\n';
  for (const auto& [name, value] : results.facts) print_row(name, text_of(value));
  print_row("written", (folder / results.name).string() + ".csv, .json");
}

}  // namespace culprit::cli
