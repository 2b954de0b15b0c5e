// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
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
#include "cli/fit.hpp"
#include "cli/memory.hpp"
#include "cli/neighbors.hpp"
#include "cli/options.hpp"
#include "cli/outputs.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/session.hpp"
#include "cli/summary.hpp"
#include "cli/text.hpp"
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
  if (loader.size() == 0) {
    throw Error(
        ErrorCode::argument, "--shard",
        "at least one of the " + std::to_string(session.inputs().chosen.size()) + " samples in a shard",
        "none");
  }

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

  auto metadata = session.metadata();  // before the long work: it may be refused
  metadata["units"] = io::dump(io::units_to_json(session.units()));
  metadata["fingerprint"] = io::dump(io::fingerprint_to_json(session.fingerprint()));
  if (baseline) metadata["standardization"] = options.standardize;

  io::Json::Array paths;
  ProfileTable table;
  Index done = 0, seen = 0;
  double seconds = 0;
  Index right = 0;
  {
    Progress progress("profile", loader.size());
    for (const data::Batch& batch : loader) {
      const engine::BatchResult result = session.profile(batch);
      torch::Tensor kept = finite_samples(result.profiles);
      if (options.non_finite == "keep") kept.fill_(true);
      const auto put = [&](const std::string& name, const torch::Tensor& values) {
        table.put(name, done, rows, values.index({kept}));
      };
      put("profile", result.profiles);
      if (baseline) put("z", standardized(session, result.profiles, *baseline));
      put("logits", result.outputs);
      put("label", batch.labels);
      put("prediction", result.outputs.argmax(1));
      put("loss", result.losses);
      for (Index i = 0; i < kept.size(0); ++i) {
        if (kept[i].item<bool>()) paths.push_back(session.path(batch.indices[static_cast<std::size_t>(i)]));
      }
      right += count_right(result.outputs, batch.labels);
      seen += batch.labels.size(0);
      done = static_cast<Index>(paths.size());
      progress.update(static_cast<std::size_t>(seen));
    }
    seconds = progress.seconds();
  }
  std::vector<std::pair<std::string, io::TensorView>> views;
  for (const auto& [name, tensor] : table.columns)
    views.emplace_back(name, view_of(tensor.narrow(0, 0, done)));
  metadata["paths"] = io::dump(io::Json::array(std::move(paths)));
  if (done < rows) metadata["skipped"] = std::to_string(rows - done);
  io::write_safetensors(options.out, views, metadata);

  print_speed("profiled", seconds, loader);
  print_row("accuracy", percent(right, rows) + ", " + std::to_string(right) + " right");
  if (done < rows)
    print_row("skipped", std::to_string(rows - done) + " with NaN or infinity in their gradients");
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
    case Command::merge:
      return merge(options);
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
