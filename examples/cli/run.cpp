// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>

#include "cli/experiments/experiment.hpp"
#include "cli/explain.hpp"
#include "cli/neighbors.hpp"
#include "cli/options.hpp"
#include "cli/outputs.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/session.hpp"
#include "cli/text.hpp"
#include "culprit/core/moments.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/tensor.hpp"

namespace culprit::cli {

namespace {

/// LibTorch's warnings, and the library's, on one line each.
class OneLineWarnings final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    constexpr std::string_view own = "culprit: ";
    std::string text = one_line(warning.msg());
    if (text.starts_with(own)) text.erase(0, own.size());
    std::fprintf(stderr, "culprit: warning: %s\n", text.c_str());
  }
};

std::string percent(Index part, Index whole) {
  return formatted("%.2f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

void print_speed(const std::string& name, std::size_t samples, double seconds, const data::Loader& loader) {
  print_row(name, std::to_string(samples) + " samples in " + formatted("%.1f s", seconds) + ", " +
                      formatted("%.0f images/s", static_cast<double>(samples) / seconds) + "; " +
                      formatted("%.1f s", loader.wait_seconds()) + " of it waiting for pictures to be read");
}

/// "layer1.0.conv1.weight:3, ...", the first few of many.
std::string names_of(const Units& units, const std::vector<Index>& list) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, list.size()); ++i) {
    const Unit unit = units.unit(list[i]);
    text += (i == 0 ? "" : ", ") + units.layers()[static_cast<std::size_t>(unit.layer)].name + ':' +
            std::to_string(unit.channel);
  }
  return list.size() > most ? text + ", ..." : text;
}

void print_units(const Baseline& baseline) {
  const Units& units = baseline.units();
  print_row("units",
            std::to_string(units.size()) + " in " + std::to_string(units.layers().size()) + " layers");
  const std::vector<Index> dead = baseline.dead();
  print_row("dead", dead.empty()
                        ? "none"
                        : std::to_string(dead.size()) + " that no sample moves: " + names_of(units, dead));
  Index unused = 0;
  std::string layers;
  for (const Layer& layer : units.layers()) {
    if (layer.uses != 0) continue;
    unused += layer.count;
    layers += (layers.empty() ? "" : ", ") + layer.name;
  }
  if (unused > 0)
    print_row("unused", std::to_string(unused) + " that the model does not use in eval mode: " + layers);
}

Index count_right(const torch::Tensor& outputs, const torch::Tensor& labels) {
  return outputs.argmax(1).cpu().eq(labels).sum().item<Index>();
}

void fit(const Options& options) {
  check_output_file(options.out);
  const Session session(options);
  data::Loader loader = session.loader(session.inputs().indices);
  auto metadata = session.metadata();  // before the long work: it may be refused
  Moments moments(session.units().size());
  std::optional<Quantiles> quantiles;
  if (session.method().needs_quantiles()) quantiles.emplace(session.units().size());
  Index right = 0;
  double seconds = 0;
  {
    Progress progress("fit", loader.size());
    for (const data::Batch& batch : loader) {
      const engine::BatchResult result = session.profile(batch);
      const RowMatrix raw = to_matrix(result.profiles);
      moments.add(raw);
      if (quantiles) quantiles->add(raw);
      right += count_right(result.outputs, batch.labels);
      progress.update(static_cast<std::size_t>(moments.count()));
    }
    seconds = progress.seconds();
  }
  const Baseline baseline(session.shared_units(), std::move(moments), session.fingerprint(),
                          std::move(quantiles));
  metadata["accuracy"] =
      formatted("%.6g", static_cast<double>(right) / static_cast<double>(baseline.count()));
  io::save_baseline(options.out, baseline, std::move(metadata));

  print_speed("fitted", loader.size(), seconds, loader);
  print_row("accuracy", percent(right, baseline.count()) + ", " + std::to_string(right) + " right");
  print_units(baseline);
  print_row("written", options.out);
}

/// Bytes that can be had without swapping, as the kernel estimates them; nothing where it does not say.
std::optional<double> available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  double kibibytes = 0;
  std::string unit;
  while (file >> name >> kibibytes >> unit) {
    if (name == "MemAvailable:") return 1024 * kibibytes;
  }
  return std::nullopt;
}

/// The tensors of a profile file, [N, ...] each, filled from the front.
struct ProfileTable {
  std::vector<std::pair<std::string, torch::Tensor>> columns;

  void put(const std::string& name, Index row, Index rows, const torch::Tensor& values) {
    auto found = std::find_if(columns.begin(), columns.end(),
                              [&](const auto& column) { return column.first == name; });
    if (found == columns.end()) {
      std::vector<std::int64_t> shape = values.sizes().vec();
      shape[0] = rows;
      found = columns.insert(found, {name, torch::empty(shape, values.scalar_type())});
    }
    found->second.narrow(0, row, values.size(0)).copy_(values);
  }
};

torch::Tensor standardized(const Session& session, const torch::Tensor& profiles, const Baseline& baseline) {
  const RowMatrix raw = to_matrix(profiles);
  std::vector<torch::Tensor> rows;
  for (Eigen::Index i = 0; i < raw.rows(); ++i) {
    rows.push_back(
        as_tensor(session.method().standardize(Profile(session.shared_units(), raw.row(i)), baseline)));
  }
  return torch::stack(rows);
}

void profile(const Options& options) {
  check_output_file(options.out);
  const Session session(options);
  std::optional<Baseline> baseline;
  if (!options.baseline.empty()) baseline = session.baseline();
  data::Loader loader = session.loader(session.inputs().indices);

  const auto rows = static_cast<Index>(loader.size());
  const double unit_bytes = (options.dtype == "float64" ? 8.0 : 4.0) + (baseline ? 8.0 : 0.0);
  const double needed = static_cast<double>(rows) * static_cast<double>(session.units().size()) * unit_bytes;
  if (const auto free = available_memory(); free && needed > 0.9 * *free) {
    const auto gigabytes = [](double bytes) { return formatted("%.1f GB", bytes / 1e9); };
    throw Error(
        ErrorCode::argument, "profiles of " + std::to_string(rows) + " samples",
        "at most " + gigabytes(0.9 * *free) + ", nine tenths of the free memory (a smaller --limit helps)",
        gigabytes(needed));
  }

  io::Json::Array paths;
  for (const std::size_t sample : session.inputs().indices) paths.push_back(session.path(sample));
  auto metadata = session.metadata();  // before the long work: it may be refused
  metadata["paths"] = io::dump(io::Json::array(std::move(paths)));
  metadata["units"] = io::dump(io::units_to_json(session.units()));
  metadata["fingerprint"] = io::dump(io::fingerprint_to_json(session.fingerprint()));
  if (baseline) metadata["standardization"] = options.standardize;

  ProfileTable table;
  Index done = 0;
  double seconds = 0;
  Index right = 0;
  {
    Progress progress("profile", loader.size());
    for (const data::Batch& batch : loader) {
      const engine::BatchResult result = session.profile(batch);
      table.put("profile", done, rows, result.profiles);
      if (baseline) table.put("z", done, rows, standardized(session, result.profiles, *baseline));
      table.put("logits", done, rows, result.outputs);
      table.put("label", done, rows, batch.labels);
      table.put("prediction", done, rows, result.outputs.argmax(1));
      table.put("loss", done, rows, result.losses);
      right += count_right(result.outputs, batch.labels);
      done += batch.labels.size(0);
      progress.update(static_cast<std::size_t>(done));
    }
    seconds = progress.seconds();
  }
  std::vector<std::pair<std::string, io::TensorView>> views;
  for (const auto& [name, tensor] : table.columns) views.emplace_back(name, view_of(tensor));
  io::write_safetensors(options.out, views, metadata);

  print_speed("profiled", loader.size(), seconds, loader);
  print_row("accuracy", percent(right, rows) + ", " + std::to_string(right) + " right");
  print_row("units", std::to_string(session.units().size()));
  print_row("written", options.out);
}

}  // namespace

void run(const Options& options) {
  OneLineWarnings warnings;
  const c10::WarningUtils::WarningHandlerGuard handler(&warnings);
  switch (options.command) {
    case Command::fit:
      return fit(options);
    case Command::profile:
      return profile(options);
    case Command::explain:
      return explain(options);
    case Command::experiment:
      return experiment(options);
    case Command::report:
      return report(options);
    case Command::neighbors:
      return neighbors(options);
  }
}

std::string message_of_current_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return one_line(error.what());
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    return reason(error);
  } catch (...) {
    return "unknown";
  }
}

}  // namespace culprit::cli
