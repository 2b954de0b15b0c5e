// SPDX-License-Identifier: MIT
#include "cli/neighbors.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/outputs.hpp"
#include "cli/policies.hpp"
#include "cli/text.hpp"
#include "culprit/io/csv.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/profile_store.hpp"
#include "culprit/neighbors.hpp"
#include "data/classes.hpp"
#include "data/png.hpp"
#include "figures/contact_sheet.hpp"
#include "figures/enlarge.hpp"

namespace culprit::cli {

namespace {

/// A row of the profiles.
struct Sample {
  Index row = 0;
  std::string path;
  Index label = 0;
  Index prediction = 0;
};

Sample sample(const io::ProfileStore& store, Index row) {
  const auto i = static_cast<std::size_t>(row);
  return {row, store.paths()[i], store.labels()[i], store.predictions()[i]};
}

struct Found {
  Sample sample;
  double similarity = 0;
  std::string_view pair;  ///< "same" or "reversed" where its classes are the query's, else ""
};

struct Query {
  Sample sample;
  double confidence = 0;  ///< of the predicted class, a share of 1
  std::vector<Found> neighbors;
};

std::string_view pair_of(const Sample& query, const Sample& other) {
  if (other.label == query.label && other.prediction == query.prediction) return "same";
  if (other.label == query.prediction && other.prediction == query.label) return "reversed";
  return "";
}

/// What --queries says: wrong:N, the surest mistakes first, or rows between commas.
/// @throws Error (argument) for a row that is not there
std::vector<Index> query_rows(const std::string& text, const io::ProfileStore& store) {
  if (const auto count = detail::number_behind(text, "wrong:")) {
    std::vector<std::pair<double, Index>> mistakes;
    for (const Index row : store.wrong()) mistakes.emplace_back(-store.confidence(row), row);
    std::ranges::sort(mistakes);
    std::vector<Index> rows;
    for (const auto& [less, row] : mistakes) {
      if (static_cast<Index>(rows.size()) < *count) rows.push_back(row);
    }
    return rows;
  }
  std::vector<Index> rows;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const auto row = detail::whole_number(item);
    if (!row || *row >= store.size()) {
      throw Error(ErrorCode::argument, "--queries", "samples below " + std::to_string(store.size()), item);
    }
    rows.push_back(*row);
    begin = end + 1;
  }
  return rows;
}

std::vector<Query> search(const Options& options, const io::ProfileStore& store) {
  const std::vector<Index> rows = query_rows(options.queries, store);
  NeighborOptions among{.k = options.k, .leave_out = rows};
  if (options.among == "wrong") among.among = store.wrong();
  const select::LayerRange layers =
      options.layers.empty() ? select::LayerRange{} : layer_range(options.layers);
  const auto found = Neighbors{distance::Cosine{}, layers}(store.rows().subset(rows), store.rows(), among);
  std::vector<Query> queries;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Query query{sample(store, rows[i]), store.confidence(rows[i]), {}};
    for (const Neighbor& each : found[i]) {
      Sample other = sample(store, each.index);
      const std::string_view pair = pair_of(query.sample, other);
      query.neighbors.push_back({std::move(other), 1.0 - each.distance, pair});
    }
    queries.push_back(std::move(query));
  }
  return queries;
}

void write_csv(const std::filesystem::path& file, const std::vector<Query>& queries) {
  io::write_atomically(file, [&](std::ostream& out) {
    io::CsvWriter table(out,
                        {"query", "rank", "sample", "path", "label", "prediction", "similarity", "pair"});
    for (const Query& query : queries) {
      for (std::size_t rank = 1; rank <= query.neighbors.size(); ++rank) {
        const auto& [other, similarity, pair] = query.neighbors[rank - 1];
        table.row(query.sample.row, rank, other.row, other.path, other.label, other.prediction, similarity,
                  pair);
      }
    }
  });
}

void write_json(const std::filesystem::path& file, const std::vector<Query>& queries,
                const Options& options) {
  io::Json::Array all;
  for (const Query& query : queries) {
    io::Json::Array neighbors;
    for (std::size_t rank = 1; rank <= query.neighbors.size(); ++rank) {
      const auto& [other, similarity, pair] = query.neighbors[rank - 1];
      neighbors.push_back(io::Json::object({{"rank", rank},
                                            {"sample", other.row},
                                            {"path", other.path},
                                            {"label", other.label},
                                            {"prediction", other.prediction},
                                            {"similarity", similarity},
                                            {"pair", pair}}));
    }
    all.push_back(io::Json::object({{"row", query.sample.row},
                                    {"path", query.sample.path},
                                    {"label", query.sample.label},
                                    {"prediction", query.sample.prediction},
                                    {"confidence", query.confidence},
                                    {"neighbors", io::Json::array(std::move(neighbors))}}));
  }
  write_text(file, io::dump(io::Json::object(
                       {{"profiles", io::Json::array({options.profiles.begin(), options.profiles.end()})},
                        {"space", options.space},
                        {"among", options.among},
                        {"layers", options.layers},
                        {"k", options.k},
                        {"queries", io::Json::array(std::move(all))}})));
}

std::string name_of(const data::Classes& names, Index label) {
  return names.name(label) + " (" + std::to_string(label) + ')';
}

void print(const Query& query, const data::Classes& names) {
  std::cout << one_line(query.sample.path) << ", sample " << query.sample.row << "\n  " << padded("true", 12)
            << name_of(names, query.sample.label) << "\n  " << padded("predicted", 12)
            << padded(name_of(names, query.sample.prediction), 28)
            << formatted("%.1f %%", 100 * query.confidence) << "\n\n  rank    sample  similarity  "
            << padded("true", 22) << padded("predicted", 22) << "pair\n";
  for (std::size_t rank = 1; rank <= query.neighbors.size(); ++rank) {
    const auto& [other, similarity, pair] = query.neighbors[rank - 1];
    std::cout << formatted("  %4zu", rank) << formatted("  %8lld", static_cast<long long>(other.row))
              << formatted("  %10.4f  ", similarity) << padded(name_of(names, other.label), 22)
              << padded(name_of(names, other.prediction), 22) << (pair.empty() ? "-" : pair) << '\n';
  }
  std::cout << '\n';
}

/// The pictures of the data set by the paths that the profiles know them by.
class Pictures {
 public:
  explicit Pictures(const Inputs& inputs) : inputs_(inputs) {
    for (std::size_t i = 0; i < inputs.set->size(); ++i) samples_.emplace(inputs.set->item(i).path, i);
  }

  /// @throws Error (argument) naming a sample that the data set does not have
  [[nodiscard]] figures::SheetPicture operator()(const Sample& sample, double similarity = 1) const {
    const auto found = samples_.find(sample.path);
    if (found == samples_.end()) {
      throw Error(ErrorCode::argument, "--data", "the data set of the profiles",
                  "one without " + one_line(sample.path));
    }
    const data::Image picture = inputs_.preprocess.geometry(inputs_.set->image(found->second), sample.path);
    return {sample.path, data::encode_png(figures::enlarged(picture)), inputs_.names.name(sample.label),
            inputs_.names.name(sample.prediction), similarity};
  }

 private:
  const Inputs& inputs_;
  std::map<std::string, std::size_t> samples_;
};

std::vector<figures::SheetRow> sheet_rows(const Inputs& inputs, const std::vector<Query>& queries) {
  const Pictures pictures(inputs);
  std::vector<figures::SheetRow> rows;
  for (const Query& query : queries) {
    figures::SheetRow row{pictures(query.sample), {}};
    for (const Found& each : query.neighbors)
      row.neighbours.push_back(pictures(each.sample, each.similarity));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string contact_sheet(const Options& options, const std::vector<figures::SheetRow>& rows, double width) {
  const std::string layers = options.layers.empty() ? "all layers" : "layers " + options.layers;
  return figures::contact_sheet_svg(
      rows, {.title = "Nearest neighbours by " + layers,
             .similarity_name = "cosine similarity of " + options.space,
             .note = options.among == "wrong" ? "Searched among the samples that the model is wrong about."
                                              : "Searched among all samples.",
             .width = width});
}

}  // namespace

void neighbors(const Options& options) {
  check_output_folder(options.out);
  const std::vector<std::filesystem::path> files(options.profiles.begin(), options.profiles.end());
  const io::ProfileStore store = io::ProfileStore::open(files, options.space == "raw" ? "profile" : "z");
  std::optional<Inputs> inputs;
  if (!options.data.empty()) inputs = open_inputs(options);
  data::Classes names;
  if (inputs) {
    names = inputs->names;
  } else if (!options.classes.empty()) {
    names = data::Classes::read(options.classes);
  }

  const std::vector<Query> queries = search(options, store);
  if (queries.empty()) {
    std::cout << "All " << store.size() << " samples are right: nothing to look for.\n";
    return;
  }
  const auto rows = inputs ? sheet_rows(*inputs, queries) : std::vector<figures::SheetRow>{};
  const std::filesystem::path folder(options.out);
  make_folder(folder);
  write_csv(folder / "neighbors.csv", queries);
  write_json(folder / "neighbors.json", queries, options);
  if (inputs) {
    write_text(folder / "neighbors.svg", contact_sheet(options, rows, 960));
    write_text(folder / "neighbors.narrow.svg", contact_sheet(options, rows, 380));
  }

  std::size_t all = 0;
  std::size_t same = 0;
  std::size_t reversed = 0;
  for (const Query& query : queries) {
    print(query, names);
    for (const Found& each : query.neighbors) {
      ++all;
      if (each.pair == "same") ++same;
      if (each.pair == "reversed") ++reversed;
    }
  }
  print_row("pairs", "of " + std::to_string(all) + " neighbours " + std::to_string(same) +
                         " with the query's true and predicted class, " + std::to_string(reversed) +
                         " with the two reversed");
  print_row("written", (folder / (inputs ? "neighbors.svg" : "neighbors.csv")).string());
}

}  // namespace culprit::cli
