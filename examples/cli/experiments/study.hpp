// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/checkpoints.hpp"
#include "cli/experiments/stage.hpp"
#include "cli/options.hpp"
#include "cli/session.hpp"
#include "culprit/core/baseline.hpp"
#include "culprit/core/statistics.hpp"
#include "culprit/io/json.hpp"
#include "culprit/tensor.hpp"

namespace culprit::cli {

/// A table whose columns only run time knows: cells are numbers and text.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<io::Json>> rows;
};

/// A picture to be written beside the table.
struct Picture {
  std::string name;  ///< of its files, without folder and ending
  std::string title;
  std::string svg, narrow_svg;  ///< for wide screens and for phones
};

/// What an experiment found.
struct Results {
  std::string name;
  Table table;
  std::vector<std::pair<std::string, Table>> further{};  ///< by name, for experiments that need more than one
  std::vector<std::pair<std::string, io::Json>> facts;   ///< what the table rests on: samples, settings
  std::vector<Picture> pictures;
};

/// What a model says of one sample.
struct Verdict {
  std::size_t sample;  ///< index in the data set
  Index label;
  Index predicted;
};

/// What all experiments start from: the session, its baseline, and what the model says of every sample.
class Study {
 public:
  explicit Study(const Options& options)
      : options_(options), session_(options), baseline_(session_.baseline()), job_(job()) {
    if (options.fresh) Stage::remove_all(options);
    const std::vector<std::size_t>& samples = session_.inputs().indices;
    Stage stage = this->stage("verdicts", "looking for mistakes", samples.size());
    for (const data::Batch& batch : session_.loader(stage.left_of(samples)))
      stage.put(torch::stack({batch.labels, session_.forward(batch).argmax(1).cpu()}, 1));
    const torch::Tensor verdicts = stage.all().to(torch::kLong);
    for (Index i = 0; i < verdicts.size(0); ++i) {
      verdicts_.push_back(
          {samples[static_cast<std::size_t>(i)], verdicts[i][0].item<Index>(), verdicts[i][1].item<Index>()});
    }
  }

  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] const Session& session() const { return session_; }
  [[nodiscard]] const Baseline& baseline() const { return baseline_; }
  [[nodiscard]] const std::vector<Verdict>& verdicts() const { return verdicts_; }
  /// What must be the same for another run to go on with what this one has done.
  [[nodiscard]] const io::Job& shared_job() const { return job_; }

  /// @param task  for the progress @param total  rows
  [[nodiscard]] Stage stage(const std::string& name, const std::string& task, std::size_t total) const {
    return {options_, job_, name, task, total};
  }

  [[nodiscard]] std::uint64_t seed() const { return options_.seed.value_or(0); }

  /// The samples that the model gets wrong, in the data set's order.
  /// @throws Error (argument) when there is none
  [[nodiscard]] std::vector<std::size_t> mistakes() const {
    std::vector<std::size_t> samples;
    for (const Verdict& verdict : verdicts_) {
      if (verdict.label != verdict.predicted) samples.push_back(verdict.sample);
    }
    if (samples.empty()) {
      throw Error(ErrorCode::argument, "experiment", "samples that the model gets wrong",
                  std::to_string(verdicts_.size()) + " that it gets right");
    }
    return samples;
  }

  /// The --sizes, else these: ascending, each once, none above the number of units.
  [[nodiscard]] std::vector<Index> sizes(std::vector<Index> otherwise) const {
    std::vector<Index> sizes = options_.sizes.empty() ? std::move(otherwise) : options_.sizes;
    for (Index& size : sizes) size = std::clamp<Index>(size, 1, session_.units().size());
    std::ranges::sort(sizes);
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    return sizes;
  }

  /// Standardized profiles of a batch.
  [[nodiscard]] std::vector<Profile> profiles(const engine::BatchResult& result) const {
    const RowMatrix raw = to_matrix(result.profiles);
    std::vector<Profile> all;
    for (Index row = 0; row < raw.rows(); ++row) {
      all.push_back(
          session_.method().standardize(Profile(session_.shared_units(), row_of(raw, row)), baseline_));
    }
    return all;
  }

  /// A seed for one random choice on one sample: another for each, the same in every run.
  [[nodiscard]] std::uint64_t seed_of(std::size_t sample, std::size_t choice) const {
    return seed() + 1000003U * static_cast<std::uint64_t>(sample) +
           7919U * static_cast<std::uint64_t>(choice);
  }

  /// 95 % bootstrap interval of the mean.
  [[nodiscard]] Interval interval(const std::vector<double>& values) const {
    return bootstrap_mean(values, {.seed = seed()});
  }

 private:
  [[nodiscard]] io::Job job() const {
    io::Job job = session_.job("experiment " + options_.experiment);
    job["baseline"] = io::hash_of_file(options_.baseline);
    job["boxes"] = options_.boxes.empty() ? "none" : io::hash_of_file(options_.boxes);
    const auto list = [](const auto& values) {
      return io::dump(io::Json::array({values.begin(), values.end()}));
    };
    job["sizes"] = list(options_.sizes);
    job["shares"] = list(options_.shares);
    job["eta"] = io::dump(options_.eta);
    job["repeats"] = std::to_string(options_.repeats);
    job["filters"] = options_.filters;
    job["boost"] = io::dump(options_.boost);
    job["distance"] = options_.distance;
    job["noise"] = io::dump(io::Json::array({options_.noise_iters, options_.noise_std}));
    return job;
  }

  const Options& options_;
  Session session_;
  Baseline baseline_;
  io::Job job_;
  std::vector<Verdict> verdicts_;
};

}  // namespace culprit::cli
